"""Token counts, both ways.

Google counts thinking beside the candidates' tokens, and what its own tools put into the prompt beside the prompt;
the canonical counts hold both. The invariant: a count not reported is None here and absent there. Source: Gemini API,
UsageMetadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from waypost.chat import Json, Usage
from waypost.codecs.gemini.wire import Losses, Members, integer, repeated
from waypost.codecs.reading import optional, rest

_TOOL_USE: Final = "toolUsePromptTokenCount"
_COUNTED: Final = (
    "promptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
    "serviceTier",
)
_AUDIO: Final = {"input_audio_tokens": "promptTokensDetails", "output_audio_tokens": "candidatesTokensDetails"}
_TIERS: Final = frozenset({"standard", "flex", "priority"})


def decode_usage(wire: Mapping[str, Json], path: str) -> Usage:
    """The canonical counts. Raises WireError."""
    prompt, cached, candidates, thoughts, total = (integer(wire, name, path) for name in _COUNTED[:5])
    tool_use = integer(wire, _TOOL_USE, path)
    whole = None if prompt is None and tool_use is None else (prompt or 0) + (tool_use or 0)
    output = None if candidates is None and thoughts is None else (candidates or 0) + (thoughts or 0)
    if output is None and whole is not None and total is not None:
        output = max(0, total - whole)  # protobuf's JSON leaves out counts of 0
    return Usage(
        input_tokens=whole,
        input_cache_read_tokens=cached,
        input_audio_tokens=_audio(wire, "promptTokensDetails", path),
        output_tokens=output,
        output_reasoning_tokens=thoughts,
        output_audio_tokens=_audio(wire, "candidatesTokensDetails", path),
        service_tier=optional(wire, "serviceTier", str, path),
    )


def _audio(wire: Mapping[str, Json], name: str, path: str) -> int | None:
    counts = [
        integer(detail, "tokenCount", f"{path}.{name}.{index}") or 0
        for index, detail in enumerate(repeated(wire, name, path))
        if optional(detail, "modality", str, path) == "AUDIO"
    ]
    return sum(counts) if counts else None


def usage_extras(wire: Mapping[str, Json]) -> Members:
    """Members that the canonical counts do not say all of: the details by modality, and what is no count."""
    told = [name for name in _AUDIO.values() if _modalities(wire.get(name)) == ["AUDIO"]]
    return rest(wire, *_COUNTED, *told)


def _modalities(details: Json) -> list[Json]:
    return [detail.get("modality") for detail in details] if isinstance(details, list) else []


def encode_usage(usage: Usage, extras: Mapping[str, Json], losses: Losses) -> Members:
    """`usageMetadata`, empty if nothing was reported. `extras` is what `usage_extras` gave."""
    for name in ("input_cache_write_5m_tokens", "input_cache_write_1h_tokens"):
        if getattr(usage, name) is not None:
            losses.add(f"usage.{name}", "Gemini does not count what is written to the cache.")
    if usage.server_tool_calls:
        losses.add("usage.server_tool_calls", "Gemini does not count them.")
    tier = usage.service_tier
    if tier is not None and tier.lower() not in _TIERS:
        losses.add("usage.service_tier", f"{tier!r} is no tier of Google's.")
        tier = None
    prompt, output, thoughts = usage.input_tokens, usage.output_tokens, usage.output_reasoning_tokens
    wire: Members = {
        "promptTokenCount": None if prompt is None else max(0, prompt - (extras.get(_TOOL_USE) or 0)),
        "cachedContentTokenCount": usage.input_cache_read_tokens,
        "candidatesTokenCount": None if output is None else max(0, output - (thoughts or 0)),
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": None if prompt is None or output is None else prompt + output,
        "serviceTier": tier,
    }
    for field, name in _AUDIO.items():
        if (count := getattr(usage, field)) is not None:
            wire[name] = [{"modality": "AUDIO", "tokenCount": count}]
    return {**{name: value for name, value in wire.items() if value is not None}, **extras}
