"""providers/vendors.py: which vendor a model's name belongs to."""

from __future__ import annotations

import pytest

from waypost.providers.vendors import VENDORS, serves


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
        ("a-plugin", "anything", None),
    ],
)
def test_serves(kind: str, model: str, answer: bool | None) -> None:
    assert serves(kind, model) is answer


def test_each_vendors_default_model_is_its_own() -> None:
    for kind, vendor in VENDORS.items():
        assert vendor.kind == kind
        if vendor.default_model:
            assert serves(kind, vendor.default_model)
