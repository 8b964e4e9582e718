"""What a model can do and how much it takes, from data. Nobody is asked, nothing is inferred from a name's look.

The invariant: True and False are facts with a source; everything else is None, "unknown". The facts are in
`capabilities.json`: of a kind of provider (its wire format) and of models, by exact name or by the longest pattern
"prefix*". A model's own facts come before those of its kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one target can do; None: not known."""

    tools: bool | None = None
    """Functions that the model may call."""
    parallel_tools: bool | None = None
    """May parallel calls be asked for?"""
    forced_tools: bool | None = None
    """May the model be made to call a tool (tool choice "required", or one tool by name)?"""
    images: bool | None = None
    documents: bool | None = None
    audio_input: bool | None = None
    prefill: bool | None = None
    """Does it go on from an assistant's turn at the end of the conversation?"""
    prefill_with_reasoning: bool | None = None
    """Does it do so while it is asked to reason?"""
    structured_output: bool | None = None
    """Answers that fit a JSON schema."""
    json_object: bool | None = None
    """Answers that are any JSON object."""
    reasoning: bool | None = None
    reasoning_budget: bool | None = None
    """May thinking be given a budget in tokens?"""
    reasoning_off: bool | None = None
    """May thinking be turned off?"""
    sampling: bool | None = None
    """May temperature, top_p and top_k be set to other than their defaults?"""
    logprobs: bool | None = None
    several_choices: bool | None = None
    system_prompt: bool | None = None
    streaming: bool | None = None
    embeddings: bool | None = None
    context_window_tokens: int | None = None
    """The longest prompt; with vendors that count so, prompt and answer together."""
    max_output_tokens: int | None = None


LIMITS: Final = ("context_window_tokens", "max_output_tokens")
"""The fields that are numbers."""
UNKNOWN: Final = Capabilities()


SAME_MODELS: Final = {"vertex": "gemini"}
"""Kinds that offer another one's models in the same wire format."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a fact was read and on which day (ISO 8601)."""

    url: str
    date: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of a target, and from where."""

    capabilities: Capabilities
    sources: tuple[Source, ...]


def capabilities_of(kind: str, model: str | None) -> Capabilities:
    """What `model` of a provider of this kind can do. `model` None gives what holds for the kind's wire format."""
    return knowledge_of(kind, model).capabilities


@lru_cache(maxsize=1024)
def knowledge_of(kind: str, model: str | None) -> Knowledge:
    """The same, with the sources."""
    known = _facts().get(SAME_MODELS.get(kind, kind))
    if known is None:
        return Knowledge(UNKNOWN, ())
    entries = [known["wire"]] if "wire" in known else []
    entry = None if model is None else _entry_of(known.get("models", {}), model)
    if entry is not None:
        entries.append(entry)
    fields = {name: value for facts in entries for name, value in _fields(facts).items()}
    return Knowledge(Capabilities(**fields), tuple(Source(facts["source"], facts["date"]) for facts in entries))


def _entry_of(models: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    """The entry under the model's exact name, else under the longest pattern that it fits."""
    if model in models and not model.endswith("*"):
        return models[model]  # type: ignore[no-any-return]
    patterns = [name for name in models if name.endswith("*") and model.startswith(name[:-1])]
    return models[max(patterns, key=len)] if patterns else None


def _fields(facts: Mapping[str, Any]) -> dict[str, Any]:
    limits = {name: facts[name] for name in LIMITS if name in facts}
    return {**dict.fromkeys(facts.get("can", ()), True), **dict.fromkeys(facts.get("cannot", ()), False), **limits}


@cache
def _facts() -> Mapping[str, Any]:
    """The data file: of each kind `wire`, and `models` from each name or pattern to its entry."""
    text = files("waypost.catalogue").joinpath("capabilities.json").read_text(encoding="utf-8")
    kinds: dict[str, dict[str, Any]] = json.loads(text)
    for known in kinds.values():
        known["models"] = {name: entry for entry in known.get("models", ()) for name in entry["names"]}
    return kinds
