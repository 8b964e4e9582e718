"""catalogue/capabilities.py: facts with a source, and nothing but facts."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date
from importlib.resources import files
from typing import Any

import pytest

from waypost.catalogue import Capabilities, Need, capabilities_of
from waypost.catalogue.capabilities import LIMITS, knowledge_of
from waypost.gateway.router import model_names
from waypost.local.catalogue import CATALOGUE
from waypost.providers.vendors import VENDORS

DATA: dict[str, Any] = json.loads(files("waypost.catalogue").joinpath("capabilities.json").read_text(encoding="utf-8"))
ENTRIES = [
    (kind, entry)
    for kind, known in DATA.items()
    for entry in [*([known["wire"]] if "wire" in known else []), *known.get("models", ())]
]
NAMES = {item.name for item in fields(Capabilities)}


@pytest.mark.parametrize(("kind", "entry"), ENTRIES, ids=lambda value: value if isinstance(value, str) else "")
def test_each_entry_says_what_it_knows_and_from_where(kind: str, entry: dict[str, Any]) -> None:
    can, cannot = entry.get("can", []), entry.get("cannot", [])
    assert {*can, *cannot} <= NAMES - set(LIMITS)
    assert len({*can, *cannot}) == len(can) + len(cannot)
    assert entry.keys() <= {"names", "can", "cannot", "source", "date", *LIMITS}
    assert entry["source"].startswith("https://")
    assert date(2025, 1, 1) < date.fromisoformat(entry["date"])
    assert all(isinstance(entry[name], int) and entry[name] > 0 for name in LIMITS if name in entry)


@pytest.mark.parametrize("kind", DATA)
def test_each_name_stands_once_and_each_pattern_is_a_prefix(kind: str) -> None:
    names = [name for entry in DATA[kind].get("models", ()) for name in entry["names"]]
    assert len(set(names)) == len(names)
    assert all("*" not in name.removesuffix("*") for name in names)


def test_every_ability_can_be_needed_and_every_need_is_an_ability() -> None:
    assert {need.value for need in Need} == NAMES - set(LIMITS)


@pytest.mark.parametrize(
    ("kind", "model", "name", "expected"),
    [
        ("anthropic", "claude-sonnet-4-5", "prefill", True),
        ("anthropic", "claude-sonnet-4-5-20250929", "prefill", True),
        ("anthropic", "claude-sonnet-4-5", "prefill_with_reasoning", False),
        ("anthropic", "claude-sonnet-4-6", "prefill", False),
        ("anthropic", "claude-sonnet-5-5", "prefill", False),
        ("anthropic", "claude-opus-5-5", "forced_tools", False),
        ("anthropic", "claude-opus-4-7", "sampling", False),
        ("anthropic", "claude-sonnet-5-5", "several_choices", False),
        ("openai", "gpt-5.4", "prefill", False),
        ("openai", "gpt-4o", "logprobs", True),
        ("openai", "o3-mini", "logprobs", False),
        ("openai", "o3-mini", "images", False),
        ("openai", "text-embedding-3-small", "embeddings", True),
        ("openai", "text-embedding-3-small", "tools", False),
        ("gemini", "gemini-2.5-flash", "several_choices", True),
        ("gemini", "gemini-3-flash-preview", "several_choices", False),
        ("gemini", "gemini-2.5-flash", "prefill", None),
        ("gemini", "gemini-3.8-flash", "prefill", False),
        ("llama_cpp", "smollm2-135m-instruct", "prefill", True),
    ],
)
def test_facts(kind: str, model: str, name: str, expected: bool | None) -> None:
    assert getattr(capabilities_of(kind, model), name) is expected


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-5.4", 1_050_000),
        ("gpt-5.4-2026-03-05", 1_050_000),
        ("gpt-5.4-mini", 400_000),
        ("gpt-5.4-mini-2026-03-17", 400_000),
        ("gpt-5.4-unheard-of", None),
        ("gpt-4o-2024-05-13", 128_000),
    ],
)
def test_a_pattern_fits_dated_names_and_never_another_model(model: str, window: int | None) -> None:
    assert capabilities_of("openai", model).context_window_tokens == window


def test_an_exact_name_comes_before_a_pattern_that_fits() -> None:
    assert capabilities_of("openai", "gpt-4o-2024-05-13").structured_output is False
    assert capabilities_of("openai", "gpt-4o-2024-08-06").structured_output is True


def test_of_an_unheard_of_model_only_the_wire_format_is_known() -> None:
    capabilities = capabilities_of("anthropic", "claude-unheard-of")
    assert capabilities == capabilities_of("anthropic", None)
    assert capabilities.several_choices is False
    assert capabilities.tools is None
    assert capabilities.context_window_tokens is None


@pytest.mark.parametrize("kind", ["openai_compatible", "a-plugin"])
def test_of_other_kinds_nothing_is_known(kind: str) -> None:
    assert capabilities_of(kind, "gpt-5.4") == Capabilities()
    assert knowledge_of(kind, "gpt-5.4").sources == ()


def test_both_sources_are_told_where_two_entries_speak() -> None:
    assert len(knowledge_of("anthropic", "claude-opus-5-5").sources) == 2


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_the_local_models_are_told_as_their_own_catalogue_does(model: Any) -> None:
    capabilities = capabilities_of("llama_cpp", model.name)
    assert capabilities.context_window_tokens == model.context_window_tokens
    assert (capabilities.tools, capabilities.images) == (model.tools, model.images)
    assert (capabilities.documents, capabilities.audio_input) == (False, False)


def test_the_models_that_waypost_itself_names_are_known() -> None:
    """Defaults of vendors, and what the short names lead to."""
    named = {(kind, vendor.default_model) for kind, vendor in VENDORS.items() if vendor.default_model}
    named |= {(name.kind, name.target.partition("/")[2]) for name in model_names().values()}
    for kind, model in named:
        assert capabilities_of(kind, model).context_window_tokens, f"{kind}/{model}"
