"""Pydantic's findings as sentences for people: the key, what is wrong with it, and the nearest right one.

A sentence shows a value only if it is short and plain, and never one that may be secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from waypost.settings.fields import Part
from waypost.settings.jobs import JobSettings
from waypost.settings.keys import KeySettings
from waypost.settings.kinds import KindSettings
from waypost.settings.ledger import LedgerSettings
from waypost.settings.models import REFERENCE_ERROR, Settings
from waypost.settings.prices import LongerPromptPrices, PriceSettings, TierPrices
from waypost.settings.problems import KeyPath, key_text, listed, nearest
from waypost.settings.providers import BUILT_IN_KINDS, PROVIDER_TAGS, Deadlines, HttpProviderSettings
from waypost.settings.routes import (
    TEXT_TAG,
    WEIGHTED_TAG,
    CacheSettings,
    PolicySettings,
    RouteSettings,
    TargetSettings,
)
from waypost.settings.server import ServerSettings
from waypost.settings.telemetry import TelemetrySettings
from waypost.settings.webhooks import WebhookSettings

SECRET_KEYS = frozenset(
    {"api_key", "api_keys", "headers", "keys", "metrics_token", "options", "previous_secret", "proxy", "secret"}
)
LONGEST_SHOWN = 80
SELF_EXPLAINING = ("value_error", "string_too_short", "too_short", "missing")

PARTS: Mapping[KeyPath, type[Part]] = {
    (): Settings,
    ("server",): ServerSettings,
    ("ledger",): LedgerSettings,
    ("jobs",): JobSettings,
    ("webhooks",): WebhookSettings,
    ("telemetry",): TelemetrySettings,
    ("keys", "*"): KeySettings,
    ("kinds", "*"): KindSettings,
    ("routes", "*"): RouteSettings,
    ("routes", "*", "policy"): PolicySettings,
    ("routes", "*", "cache"): CacheSettings,
    ("routes", "*", "targets", "*", WEIGHTED_TAG): TargetSettings,
    ("prices", "*"): PriceSettings,
    ("prices", "*", "longer_prompts", "*"): LongerPromptPrices,
    ("prices", "*", "tiers", "*"): TierPrices,
    ("prices", "*", "tiers", "*", "longer_prompts", "*"): LongerPromptPrices,
    **{("providers", "*", tag): part for tag, part in PROVIDER_TAGS.items()},
    **{
        ("providers", "*", tag, "deadlines"): Deadlines
        for tag, part in PROVIDER_TAGS.items()
        if issubclass(part, HttpProviderSettings)
    },
}
"""Which class reads which part of the file; "*" is a name of the user's choice, or a number in a list."""

TAGS = frozenset({*PROVIDER_TAGS, TEXT_TAG, WEIGHTED_TAG})


def _too_small(error: Mapping[str, Any]) -> str:
    limit = next(iter(error["ctx"].values()))
    return f"must be {'more than' if error['type'] == 'greater_than' else 'at least'} {limit:g}"


def _too_large(error: Mapping[str, Any]) -> str:
    return f"must be at most {next(iter(error['ctx'].values())):g}"


def _choice(error: Mapping[str, Any]) -> str:
    known = [word.strip("' ") for word in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    guess = nearest(str(error["input"]), known)
    return f"must be {listed(known)}" + (f" (did you mean {guess}?)" if guess else "")


def _own(error: Mapping[str, Any]) -> str:
    return str(error["ctx"]["error"])


def _always(text: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda _: text


WHOLE_NUMBER = _always("must be a whole number")
NUMBER = _always("must be a number")
TEXT = _always("must be text (put it in quotes)")
MAPPING = _always("must hold keys with values")
LIST = _always("must be a list")
YES_OR_NO = _always("must be true or false")

SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "int_type": WHOLE_NUMBER,
    "int_parsing": WHOLE_NUMBER,
    "int_parsing_size": WHOLE_NUMBER,
    "int_from_float": WHOLE_NUMBER,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": NUMBER,
    "bool_type": YES_OR_NO,
    "bool_parsing": YES_OR_NO,
    "string_type": TEXT,
    "path_type": TEXT,
    "literal_error": _choice,
    "tuple_type": LIST,
    "dict_type": MAPPING,
    "model_type": MAPPING,
    "model_attributes_type": MAPPING,
    "greater_than": _too_small,
    "greater_than_equal": _too_small,
    "less_than_equal": _too_large,
    "too_short": _always("needs at least one entry"),
    "string_too_short": _always("is empty"),
    "string_too_long": lambda error: f"is longer than {error['ctx']['max_length']} characters",
    "string_pattern_mismatch": _always("may hold only letters, digits, and . _ : -, at most 64 of them"),
    "value_error": _own,
}


def sentence(error: Mapping[str, Any], shows: Callable[[KeyPath], bool]) -> tuple[KeyPath, str] | None:
    """Where and what, for one of Pydantic's errors; None if `references` speaks about it.

    `shows` tells whether the value at a path may be shown.
    """
    location: KeyPath = tuple(error["loc"])
    path = tuple(step for step in location if step not in TAGS)
    match error["type"]:
        case "extra_forbidden":
            return path, f"unknown key {key_text(path)}; {_right_keys(location)}"
        case "missing":
            return path, f"{key_text(path)} is missing"
        case "union_tag_not_found":
            return path, _no_kind(key_text(path), error["input"])
        case known if known == REFERENCE_ERROR:
            return None
        case known:
            said = SENTENCES[known](error) if known in SENTENCES else error["msg"]
            written = _shown(path, error["input"]) if shows(path) and known not in SELF_EXPLAINING else ""
            return path, f"{key_text(path)} {said}{written}"


def _right_keys(location: KeyPath) -> str:
    steps = ["*" if isinstance(step, int) else step for step in location[:-1]]
    if len(steps) > 1 and steps[0] in ("providers", "routes", "keys", "prices", "kinds"):
        steps[1] = "*"
    if steps[0:1] == ["prices"] and steps[2:3] == ["tiers"]:
        steps[3] = "*"
    known = list(PARTS[tuple(steps)].model_fields)
    guess = nearest(str(location[-1]), known)
    return f"did you mean {guess}?" if guess else f"the keys here are {listed(known, last='and')}"


def _no_kind(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{key}.kind is missing; it is {', '.join(BUILT_IN_KINDS)} or a plugin's"
    return f"{key} must hold keys with values, among them kind"


def _shown(path: KeyPath, value: Any) -> str:
    if SECRET_KEYS & set(path) or not isinstance(value, str | int | float | None):
        return ""
    text = json.dumps(value, ensure_ascii=False)
    return f", not {text}" if len(text) <= LONGEST_SHOWN and text.isprintable() else ""
