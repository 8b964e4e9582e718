"""providers/vendors.py: which vendor a model's name belongs to."""

from __future__ import annotations

import pytest

from waypost.providers.vendors import VENDORS, serves
from waypost.settings.providers import HTTP_TAGS


@pytest.mark.parametrize(
    ("kind", "model", "answer"),
    [
        ("anthropic", "claude-sonnet-5-5", True),
        ("anthropic", "gpt-5", False),
        ("anthropic", "qwen3", False),
        ("openai", "o3-mini", True),
        ("openai", "gpt-4o", True),
        ("openai", "claude-sonnet-5-5", False),
        ("openai_compatible", "anything", None),
        ("azure_openai", "our-deployment", None),
        ("vertex", "gemini-2.5-pro", True),
        ("vertex", "claude-sonnet-5-5", False),
        ("bedrock", "anthropic.claude-haiku-4-5", None),
        ("a-plugin", "anything", None),
    ],
)
def test_serves(kind: str, model: str, answer: bool | None) -> None:
    assert serves(kind, model) is answer


def test_every_kind_over_http_has_its_row() -> None:
    assert set(VENDORS) == set(HTTP_TAGS)


def test_each_vendors_default_model_is_its_own() -> None:
    for kind, vendor in VENDORS.items():
        assert vendor.kind == kind
        if vendor.default_model:
            assert serves(kind, vendor.default_model)
