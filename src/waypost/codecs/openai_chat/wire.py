"""The answers of the wire format as msgspec Structs, for whole bodies and for chunks of a stream.

Only what is read is declared; unknown members are skipped by the decoder. Types are as lenient as real servers
demand (null where a string belongs, a missing index) and no further: a wrong type is a malformed response.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from waypost.chat import FinishReason, Usage
from waypost.codecs.openai_chat.dialect import Losses

FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""OpenAI's words; any other is "other", with the word kept."""

WIRE_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "pause": "stop",
    "other": "stop",
}

SERVICE_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})


class PromptDetails(msgspec.Struct, gc=False):
    """How the prompt's tokens divide."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """How the generated tokens divide."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class WireUsage(msgspec.Struct, gc=False):
    """`usage`, with the names that DeepSeek and Moonshot have for cached tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None


class WireFunction(msgspec.Struct, gc=False):
    """`function` of a tool call. Some servers give the arguments as an object instead of a string."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class WireCustom(msgspec.Struct, gc=False):
    """`custom` of a tool call."""

    name: str | None = None
    input: str | None = None


class WireToolCall(msgspec.Struct):
    """A tool call, whole or the next piece of one. Google's servers put signatures into `extra_content`."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: WireFunction | None = None
    custom: WireCustom | None = None
    extra_content: Any = None


class WireAudio(msgspec.Struct, gc=False):
    """Spoken output, whole or the next piece of it."""

    id: str | None = None
    data: str | None = None
    expires_at: int | None = None
    transcript: str | None = None


class WireMessage(msgspec.Struct):
    """`message` of a choice, or `delta` of a chunk's: what was answered. Mistral gives a list as content."""

    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[WireToolCall] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = None
    audio: WireAudio | None = None
    function_call: WireFunction | None = None


class WireChoice(msgspec.Struct):
    """One choice of a whole answer (`message`) or of a chunk (`delta`)."""

    index: int | None = None
    delta: WireMessage | None = None
    message: WireMessage | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    """The stop sequence that was hit, or a token's number (vLLM)."""
    logprobs: dict[str, Any] | None = None
    error: Any = None
    usage: WireUsage | None = None


class GroqExtension(msgspec.Struct):
    """Where Groq puts a stream's usage."""

    usage: WireUsage | None = None


class Completion(msgspec.Struct):
    """A whole answer, or one chunk of a stream."""

    id: str | None = None
    object: str | None = None
    created: int | float | None = None
    model: str | None = None
    choices: list[WireChoice] | None = None
    usage: WireUsage | None = None
    service_tier: str | None = None
    error: Any = None
    x_groq: GroqExtension | None = None


class PlainDelta(msgspec.Struct):
    """A delta that only adds content; each type is that of WireMessage, or narrower."""

    content: str | None = None
    tool_calls: list[WireToolCall] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    annotations: None = None
    audio: WireAudio | None = None
    function_call: None = None


class PlainChoice(msgspec.Struct):
    """A choice that goes on; each type is that of WireChoice, or narrower."""

    index: int | None = None
    delta: PlainDelta | None = None
    message: None = None
    finish_reason: None = None
    stop_reason: None = None
    logprobs: dict[str, Any] | None = None
    error: None = None
    usage: None = None


class PlainChunk(msgspec.Struct):
    """A chunk that only adds content, nearly all of a stream; each type is that of Completion, or narrower.

    What fits this fits Completion, and says neither an end nor counts nor an error.
    """

    id: str | None = None
    object: str | None = None
    created: int | float | None = None
    model: str | None = None
    choices: list[PlainChoice] | None = None
    usage: None = None
    service_tier: str | None = None
    error: None = None
    x_groq: None = None


KNOWN_FIELDS: Final = frozenset({"id", "object", "created", "model", "choices", "usage", "error", "obfuscation"})
"""Top-level members that are no provider's own fields. `obfuscation` is padding against traffic analysis."""


def finish_reason(raw: str | None) -> FinishReason:
    """The canonical word for a wire one."""
    return FINISH_REASONS.get(raw, "other") if raw else "other"


def wire_reason(reason: FinishReason, raw: str | None, losses: Losses) -> str:
    """The wire word: the provider's own if it is one of OpenAI's for this reason, else the table's."""
    if raw is not None and FINISH_REASONS.get(raw) == reason:
        return raw
    if reason in ("pause", "other"):
        losses.add(f"reason.{reason}", "the format has no word for it: written as stop")
    return WIRE_REASONS[reason]


_NO_PROMPT_DETAILS: Final = PromptDetails()
_NO_COMPLETION_DETAILS: Final = CompletionDetails()


def decode_usage(wire: WireUsage | None, service_tier: str | None = None) -> Usage:
    """Canonical counts."""
    if wire is None:
        return Usage(service_tier=service_tier)
    prompt = wire.prompt_tokens_details or _NO_PROMPT_DETAILS
    completion = wire.completion_tokens_details or _NO_COMPLETION_DETAILS
    cached = prompt.cached_tokens
    if cached is None:
        cached = wire.cached_tokens if wire.prompt_cache_hit_tokens is None else wire.prompt_cache_hit_tokens
    return Usage(
        input_tokens=wire.prompt_tokens,
        input_cache_read_tokens=cached,
        input_cache_write_5m_tokens=prompt.cache_write_tokens,
        input_audio_tokens=prompt.audio_tokens,
        output_tokens=_output_tokens(wire, completion.reasoning_tokens),
        output_reasoning_tokens=completion.reasoning_tokens,
        output_audio_tokens=completion.audio_tokens,
        service_tier=service_tier,
    )


def _output_tokens(wire: WireUsage, reasoning: int | None) -> int | None:
    prompt, completion, total = wire.prompt_tokens, wire.completion_tokens, wire.total_tokens
    if prompt is None or completion is None or total is None or not reasoning:
        return completion
    # xAI counts reasoning beside the completion instead of in it, which only the total shows.
    return completion + reasoning if total == prompt + completion + reasoning else completion
