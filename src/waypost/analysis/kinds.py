"""Kinds of analysis: what is asked about a content, and the JSON schema that the answer must fit.

One is built in; the others are the settings'. A kind's version changes with its wording, so that results can be told
apart that were asked for differently.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from waypost.errors import UnknownKind
from waypost.settings import KindSettings, Settings
from waypost.settings.kinds import BUILT_IN_KIND
from waypost.settings.problems import nearest

SENTIMENTS: Final = ("positive", "negative", "neutral", "mixed")
MOST_THEMES: Final = 8
MOST_SUGGESTIONS: Final = 8
LANGUAGE_TAG: Final = "^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$"
"""A language tag of BCP 47, as far as its form goes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of analysis. `model` None: that of the request, else the default route. `version` is of its wording."""

    name: str
    version: str
    prompt: str
    schema: Mapping[str, Any]
    system: str | None = None
    max_output_tokens: int = 2048
    model: str | None = None

    @property
    def is_built_in(self) -> bool:
        """Is it the one that the offline analyzer can stand in for?"""
        return self.name == BUILT_IN_KIND


def _texts(most: int, longest: int) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": longest}, "maxItems": most}


SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "themes": {**_texts(MOST_THEMES, 80), "minItems": 1},
        "topics": {**_texts(MOST_THEMES, 80), "minItems": 1},
        "sentiment": {
            "type": "object",
            "properties": {
                "label": {"type": "string", "enum": list(SENTIMENTS)},
                "score": {"type": "number", "minimum": -1, "maximum": 1},
            },
            "required": ["label", "score"],
            "additionalProperties": False,
        },
        "quality": {
            "type": "object",
            "properties": {
                "score": {"type": "integer", "minimum": 0, "maximum": 100},
                "reasons": {**_texts(6, 300), "minItems": 1},
            },
            "required": ["score", "reasons"],
            "additionalProperties": False,
        },
        "suggestions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "minLength": 1, "maxLength": 500},
                    "quote": {"type": ["string", "null"], "maxLength": 500},
                },
                "required": ["text", "quote"],
                "additionalProperties": False,
            },
            "maxItems": MOST_SUGGESTIONS,
        },
        "language": {"type": "string", "pattern": LANGUAGE_TAG},
    },
    "required": ["themes", "topics", "sentiment", "quality", "suggestions", "language"],
    "additionalProperties": False,
}
"""What a model is asked for by the built-in kind. Results have it too, but for fields that nobody could tell."""

PROMPT: Final = """Analyze the content below.

{content}

Give, as JSON:
- themes: what the content is mainly about, one to eight short phrases in the content's language, the main one first
- topics: the broader subjects that it belongs to, one to eight, each one to three words
- sentiment: how its author feels about what is told: label (positive, negative, neutral or mixed) and score from -1 \
(most negative) over 0 (neutral) to 1 (most positive)
- quality: how well it is written: score from 0 to 100, and one to six reasons (clarity, structure, completeness, tone)
- suggestions: up to eight improvements; quote is a passage copied from the content exactly, at most 300 characters, \
that the suggestion is about, or null
- language: its language as a tag of BCP 47, such as en or pt-BR"""


def _built_in() -> Kind:
    return Kind(BUILT_IN_KIND, _version(PROMPT, None, SCHEMA), PROMPT, SCHEMA, max_output_tokens=4096)


def kinds_of(settings: Settings) -> Mapping[str, Kind]:
    """The built-in kind and the settings' own, by name."""
    configured = {name: _configured(name, kind) for name, kind in settings.kinds.items()}
    return MappingProxyType({BUILT_IN_KIND: _built_in(), **configured})


def _configured(name: str, kind: KindSettings) -> Kind:
    schema = kind.json_schema or {}
    version = kind.version or _version(kind.prompt, kind.system, schema)
    return Kind(name, version, kind.prompt, schema, kind.system, kind.max_output_tokens, kind.model)


def _version(prompt: str, system: str | None, schema: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of a hash over all that an answer depends on."""
    wording = json.dumps([prompt, system, schema], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(wording.encode()).hexdigest()[:12]


def chosen_kinds(kinds: Mapping[str, Kind], names: Iterable[str] | None) -> Sequence[Kind]:
    """The kinds of these names, each once, in their order; without names the built-in one. Raises UnknownKind."""
    wanted = list(dict.fromkeys(names or ())) or [BUILT_IN_KIND]
    for name in wanted:
        if name not in kinds:
            guess = nearest(name, kinds)
            hint = f"Did you mean {guess}?" if guess else f"There are {', '.join(sorted(kinds))}."
            raise UnknownKind(f'There is no kind of analysis named "{name[:100]}".', hint=hint, param="kinds")
    return [kinds[name] for name in wanted]
