"""Whole answers, both ways, and the table of stop reasons that streams use too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from waypost.chat import Choice, FinishReason, Json, Refusal, Response, Usage
from waypost.codecs.anthropic_messages.blocks import Block, Encoding, decode_block, encode_part
from waypost.codecs.anthropic_messages.errors import error_of, is_error
from waypost.codecs.anthropic_messages.usage import decode_usage, encode_usage, usage_extras
from waypost.codecs.anthropic_messages.wire import FAMILY, Losses, keep_response_inputs
from waypost.codecs.codec import Encoded
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply
from waypost.codecs.reading import WireError, an_object, optional, required, rest
from waypost.errors import IncompleteStream, MalformedResponse

STOP_REASONS: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "content_filter",
}
_WORDS: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
    # There is no word for it; the answer did end, and SDKs accept only the words above.
    "other": "end_turn",
}

TOP_LEVEL: Final = ("type", "id", "role", "model", "content", "stop_reason", "stop_sequence", "usage")


def finish_reason(stop_reason: str | None) -> FinishReason:
    """The canonical reason; "other" for a word this version does not know."""
    return STOP_REASONS.get(stop_reason or "", "other")


def stop_reason(
    reason: FinishReason, raw: str | None, stop_sequence: str | None, losses: Losses, *, refused: bool
) -> str:
    """Anthropic's word: its own raw one if that means the same, else the nearest."""
    if refused and reason in ("stop", "content_filter"):
        return "refusal"
    if raw is not None and STOP_REASONS.get(raw) == reason:
        return raw
    if reason == "other":
        losses.add("choices[0].reason", f"Anthropic has no word for {raw!r}: written as end_turn.")
    return "stop_sequence" if reason == "stop" and stop_sequence is not None else _WORDS[reason]


def provider_fields(message: Mapping[str, Json]) -> dict[str, dict[str, Json]]:
    """Members only this format has (container, stop_details), with those of usage that are no counts."""
    fields = rest(message, *TOP_LEVEL)
    if extras := usage_extras(message.get("usage") or {}):
        fields["usage"] = extras
    return {FAMILY: fields} if fields else {}


def decode_response(body: bytes) -> Response:
    """Raises MalformedResponse; the typed ProviderError if the body is an error after all."""
    try:
        message = an_object(parse_reply(body), "")
        keep_response_inputs(message, body)
        if is_error(message):
            raise error_of(message)
        return _decode(message)
    except JsonError as error:
        raise MalformedResponse(f"The answer is not valid JSON: {error}.") from error
    except WireError as error:
        raise MalformedResponse(f"The answer is not an Anthropic message: {error}.") from error


def _decode(message: dict[str, Json]) -> Response:
    if (optional(message, "type", str, "") or "message") != "message":
        raise WireError("type", "Input should be 'message'")
    content = required(message, "content", list, "")
    usage = optional(message, "usage", dict, "")
    raw_reason = optional(message, "stop_reason", str, "")
    if raw_reason is None:
        # The same answer as a stream would be incomplete.
        raise IncompleteStream("The response has no stop_reason: the provider did not say that it was finished.")
    choice = Choice(
        index=0,
        parts=tuple(decode_block(block, f"content.{index}") for index, block in enumerate(content)),
        reason=finish_reason(raw_reason),
        raw_reason=raw_reason,
        stop_sequence=optional(message, "stop_sequence", str, ""),
    )
    return Response(
        id=optional(message, "id", str, "") or "",
        model=optional(message, "model", str, "") or "",
        choices=(choice,),
        usage=Usage() if usage is None else decode_usage(usage, "usage"),
        provider_fields=provider_fields(message),
    )


def encode_response(response: Response) -> Encoded:
    """The body of a whole answer."""
    losses = Losses()
    choice = response.choices[0] if response.choices else Choice(0, (), "other")
    note_losses(response, losses)
    refused = any(isinstance(part, Refusal) for part in choice.parts)
    fields = dict(response.provider_fields.get(FAMILY, {}))
    extras = fields.pop("usage", {})
    for name in ("input_tokens", "output_tokens"):
        if getattr(response.usage, name) is None:
            losses.add(f"usage.{name}", "It was not reported; Anthropic's format requires a number: written as 0.")
    body = {
        **message_head(response.id, response.model),
        "content": _encode_parts(choice, losses),
        "stop_reason": stop_reason(choice.reason, choice.raw_reason, choice.stop_sequence, losses, refused=refused),
        "stop_sequence": choice.stop_sequence,
        "usage": encode_usage(response.usage, losses, extras),
        **fields,
    }
    data, repaired = dump(body)
    if repaired:
        losses.add("choices[0].parts", "Halves of surrogate pairs, which are no text, were written as U+FFFD.")
    return Encoded(data, losses.found())


def message_head(identity: str, model: str) -> dict[str, Json]:
    """The members every message begins with."""
    return {"id": identity, "type": "message", "role": "assistant", "model": model}


def _encode_parts(choice: Choice, losses: Losses) -> list[Block]:
    to = Encoding(losses, is_request=False)
    blocks = [encode_part(part, to, f"choices[0].parts[{number}]") for number, part in enumerate(choice.parts)]
    return [block for block in blocks if block is not None]


def note_losses(response: Response, losses: Losses) -> None:
    """What an Anthropic message has no place for."""
    if len(response.choices) > 1:
        losses.add("choices", "Anthropic gives one answer a request: the first was written.")
    if response.choices and response.choices[0].logprobs is not None:
        losses.add("choices[0].logprobs", "Anthropic reports no log-probabilities.")
    if response.created is not None:
        losses.add("created", "Anthropic's messages carry no time.")
    losses.foreign("provider_fields", response.provider_fields)
