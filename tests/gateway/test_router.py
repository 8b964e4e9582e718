"""gateway/router.py: how a model's name becomes targets, and what is said when it does not."""

from __future__ import annotations

import pytest

from waypost.errors import UnknownModel
from waypost.gateway.router import ConfiguredProvider, Router, model_names
from waypost.providers.vendors import VENDORS, serves
from waypost.settings.references import Target


class Known:
    """A provider that has what its vendor's names say, or just the models listed."""

    def __init__(self, kind: str, *models: str) -> None:
        self.kind = kind
        self.models: tuple[str, ...] | None = models or None

    def serves(self, model: str) -> bool | None:
        return model in self.models if self.models else serves(self.kind, model)


def router(**kinds: str) -> Router:
    providers = {name: ConfiguredProvider(kind, Known(kind)) for name, kind in kinds.items()}
    return Router(providers, {"default": [Target(name) for name in kinds], "cheap": [Target("b", "small")]})


BOTH = {"a": "anthropic", "b": "openai"}


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        (None, [Target("a"), Target("b")]),
        ("", [Target("a"), Target("b")]),
        ("default", [Target("a"), Target("b")]),
        ("cheap", [Target("b", "small")]),
        ("a/claude-opus-5-5", [Target("a", "claude-opus-5-5")]),
        ("b", [Target("b")]),
        ("b/org/model:free", [Target("b", "org/model:free")]),
        ("claude-opus-4-8", [Target("a", "claude-opus-4-8")]),
        ("gpt-5", [Target("b", "gpt-5")]),
        ("o3", [Target("b", "o3")]),
        ("gpt4o", [Target("b", "gpt-4o")]),
        ("claude-3.5-sonnet", [Target("a", "claude-sonnet-5-5")]),
    ],
)
def test_names(name: str | None, targets: list[Target]) -> None:
    assert list(router(**BOTH).plan(name).targets) == targets


def test_a_retired_model_is_replaced_and_the_caller_is_told() -> None:
    (note,) = router(**BOTH).plan("claude-3.5-sonnet").notes
    assert "claude-3.5-sonnet" in note
    assert "2025-10-28" in note
    assert "claude-sonnet-5-5" in note


@pytest.mark.parametrize(
    ("kinds", "name", "hint"),
    [
        (BOTH, "defualt", "Did you mean default?"),
        ({"local": "llama_cpp"}, "claude-3.5-sonnet", "It is a model of anthropic: set ANTHROPIC_API_KEY"),
        ({"local": "llama_cpp"}, "gpt-5", "It is a model of openai: set OPENAI_API_KEY"),
        ({"local": "llama_cpp"}, "gpt4", "It is a model of openai"),
        ({"local": "llama_cpp"}, "defualt", "Did you mean default?"),
        ({"local": "llama_cpp"}, "local/whatever", "It has smollm2."),
        ({"anthropic": "anthropic"}, "antropic/claude", 'Did you mean "anthropic/claude"?'),
        ({"local": "llama_cpp"}, "zzz", "Known here: default, local."),
        ({"one": "openai", "two": "openai"}, "gpt-5", 'Write "one/gpt-5".'),
        ({"one": "openai_compatible", "two": "openai_compatible"}, "qwen3", 'Write "one/qwen3".'),
    ],
)
def test_unknown_and_ambiguous_names_say_what_to_do(kinds: dict[str, str], name: str, hint: str) -> None:
    made = Router(
        {
            provider: ConfiguredProvider(kind, Known(kind, *(["smollm2"] if kind == "llama_cpp" else [])))
            for provider, kind in kinds.items()
        },
        {"default": [Target(provider) for provider in kinds]},
    )
    with pytest.raises(UnknownModel) as caught:
        made.plan(name)
    assert name.partition("/")[2] in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.param == "model"


def test_an_endless_name_is_refused_without_being_compared() -> None:
    with pytest.raises(UnknownModel, match="has 10000000 characters; the limit is 500"):
        router(**BOTH).plan("x" * 10_000_000)


def test_a_provider_that_cannot_tell_is_asked_when_it_is_the_only_one() -> None:
    assert router(a="anthropic", b="openai_compatible").plan("qwen3:8b").targets == (Target("b", "qwen3:8b"),)


def test_a_slip_in_a_routes_name_takes_no_request_to_a_provider_that_may_have_any_model() -> None:
    """A route for private matters is left by nobody's mistyping."""
    made = Router(
        {"open": ConfiguredProvider("openai_compatible", Known("openai_compatible"))}, {"private": [Target("open")]}
    )
    with pytest.raises(UnknownModel) as caught:
        made.plan("privte")
    assert caught.value.hint == 'Did you mean "private"? If it is a model of open, write "open/privte".'
    assert made.plan("open/privte").targets == (Target("open", "privte"),)
    assert made.plan("qwen3:8b").targets == (Target("open", "qwen3:8b"),)


def test_every_well_known_name_points_at_a_built_in_kind() -> None:
    for name, entry in model_names().items():
        kind, _, model = entry.target.partition("/")
        assert kind in {*VENDORS, "llama_cpp"}, name
        assert model, name
        if kind in VENDORS:
            assert serves(kind, model) is True, name
