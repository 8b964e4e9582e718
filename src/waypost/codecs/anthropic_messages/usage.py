"""Token counts, both ways.

Anthropic's `input_tokens` leaves out what was read from and written to the cache; the canonical count is the whole
prompt. The invariant: a count not reported is None here and absent there, but for the two the format requires.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from waypost.chat import Json, Usage
from waypost.codecs.anthropic_messages.wire import Losses
from waypost.codecs.reading import optional, required, rest

KNOWN: Final = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "server_tool_use",
    "service_tier",
    "output_tokens_details",
)
_CALLS: Final = "_requests"
_REQUIRED_CALLS: Final = ("web_search", "web_fetch")
"""Counts the official SDK's type requires once there is any."""
_TIERS: Final = ("standard", "priority", "batch")
_FAST: Final = "fast"
"""Told as a speed, and charged as a tier of service."""


def decode_usage(wire: Mapping[str, Json], path: str) -> Usage:
    """The canonical counts. Raises WireError."""
    fresh = optional(wire, "input_tokens", int, path)
    read = optional(wire, "cache_read_input_tokens", int, path)
    written = optional(wire, "cache_creation_input_tokens", int, path)
    by_ttl = optional(wire, "cache_creation", dict, path) or {}
    written_5m = optional(by_ttl, "ephemeral_5m_input_tokens", int, f"{path}.cache_creation")
    written_1h = optional(by_ttl, "ephemeral_1h_input_tokens", int, f"{path}.cache_creation")
    if written_5m is None and written_1h is None:
        written_5m = written  # five minutes is the default lifetime
    elif written is None:
        written = (written_5m or 0) + (written_1h or 0)
    details = optional(wire, "output_tokens_details", dict, path) or {}
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
        input_cache_read_tokens=read,
        input_cache_write_5m_tokens=written_5m,
        input_cache_write_1h_tokens=written_1h,
        output_tokens=optional(wire, "output_tokens", int, path),
        output_reasoning_tokens=optional(details, "thinking_tokens", int, f"{path}.output_tokens_details"),
        server_tool_calls=_decode_calls(optional(wire, "server_tool_use", dict, path) or {}, path),
        service_tier=_decode_tier(wire, path),
    )


def _decode_tier(wire: Mapping[str, Json], path: str) -> str | None:
    return _FAST if _is_fast(wire) else optional(wire, "service_tier", str, path)


def _is_fast(wire: Mapping[str, Json]) -> bool:
    """At another tier its price is that tier's, whatever the speed."""
    return wire.get("speed") == _FAST and wire.get("service_tier") in (None, "standard")


def _decode_calls(wire: dict[str, Any], path: str) -> dict[str, int]:
    counts = {
        name.removesuffix(_CALLS): required(wire, name, int, f"{path}.server_tool_use")
        for name, count in wire.items()
        if count is not None
    }
    # The format lists every tool; one that was not called says nothing.
    return {name: count for name, count in counts.items() if count}


def usage_extras(wire: Mapping[str, Json]) -> dict[str, Json]:
    """Members of a usage object that are no counts (inference_geo, speed, …)."""
    return rest(wire, *KNOWN, "speed") if _is_fast(wire) else rest(wire, *KNOWN)


def encode_usage(usage: Usage, losses: Losses, extras: Mapping[str, Json]) -> dict[str, Json]:
    """The usage object of an answer. Both required counts are always integers: SDKs fail without them."""
    _note_losses(usage, losses)
    read = usage.input_cache_read_tokens
    short, long = usage.input_cache_write_5m_tokens, usage.input_cache_write_1h_tokens
    written = None if short is None and long is None else (short or 0) + (long or 0)
    fresh = (usage.input_tokens or 0) - (read or 0) - (written or 0)
    wire: dict[str, Json] = {"input_tokens": max(0, fresh)}
    if written is not None:
        wire["cache_creation_input_tokens"] = written
    if read is not None:
        wire["cache_read_input_tokens"] = read
    if long is not None:
        wire["cache_creation"] = {"ephemeral_5m_input_tokens": short or 0, "ephemeral_1h_input_tokens": long}
    wire["output_tokens"] = usage.output_tokens or 0
    if usage.output_reasoning_tokens is not None:
        wire["output_tokens_details"] = {"thinking_tokens": usage.output_reasoning_tokens}
    if usage.server_tool_calls:
        counts = {**dict.fromkeys(_REQUIRED_CALLS, 0), **usage.server_tool_calls}
        wire["server_tool_use"] = {f"{name}{_CALLS}": count for name, count in counts.items()}
    if usage.service_tier in _TIERS:
        wire["service_tier"] = usage.service_tier
    if usage.service_tier == _FAST:
        wire |= {"service_tier": "standard", "speed": _FAST}
    return {**extras, **wire}


def _note_losses(usage: Usage, losses: Losses) -> None:
    for name in ("input_audio_tokens", "output_audio_tokens"):
        if getattr(usage, name) is not None:
            losses.add(f"usage.{name}", "Anthropic's usage has no audio count.")
    if usage.service_tier is not None and usage.service_tier not in (*_TIERS, _FAST):
        losses.add("usage.service_tier", f"{usage.service_tier!r} is no tier of Anthropic's.")
