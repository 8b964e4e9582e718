"""Whole answers, both ways, and what whole and streamed answers share: usage, the reason of the end, other members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from waypost.chat import Choice, FinishReason, Json, Part, Response, Text, ToolCall, Usage
from waypost.codecs.codec import Encoded
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply
from waypost.codecs.openai_chat.fields import Fields
from waypost.codecs.openai_chat.wire import SERVICE_TIERS
from waypost.codecs.openai_responses.errors import failure_of
from waypost.codecs.openai_responses.items import decode_item
from waypost.codecs.openai_responses.items_out import Item, ItemWriter
from waypost.codecs.openai_responses.wire import (
    INCOMPLETE_REASONS,
    INCOMPLETE_WORDS,
    KNOWN_MEMBERS,
    MADE_ID,
    OWN,
    REPAIRED,
    REQUIRED_MEMBERS,
    Losses,
)
from waypost.errors import InvalidRequest, MalformedResponse

MEMBERS: Final = "response"
"""In `provider_fields`: the members of a response that no canonical field holds, most of them echoes of the request."""

Ending: TypeAlias = tuple[str, str | None]
"""A response's `status`, and the reason in `incomplete_details`."""

TIERS: Final = SERVICE_TIERS | {"ultrafast"}


def decode_response(body: bytes) -> Response:
    """Raises MalformedResponse, or the typed error if the body is an error or a failed response after all."""
    try:
        value = parse_reply(body)
        fields = Fields(value)
        if fields.take("status") == "failed" or value.get("error"):
            raise failure_of(value.get("error"))
        return _decode(fields, value)
    except JsonError as problem:
        raise MalformedResponse(f"The response is not valid JSON: {problem}.") from problem
    except InvalidRequest as problem:
        raise MalformedResponse(f"The response is not in the Responses format: {problem.message}") from problem


def _decode(fields: Fields, value: Mapping[str, Json]) -> Response:
    output = fields.array_or_none("output")
    if output is None:
        raise MalformedResponse("The response is not in the Responses format: it has no output.")
    parts = [part for number, item in enumerate(output) for _, part in decode_item(item, f"output[{number}]")]
    reason, raw = finish_reason(value, called=any(isinstance(part, ToolCall) for part in parts))
    return Response(
        id=fields.text_or_none("id") or "",
        model=fields.text_or_none("model") or "",
        created=created(fields),
        choices=(Choice(0, tuple(parts), reason, raw, logprobs=logprobs_of(parts)),),
        usage=decode_usage(fields),
        provider_fields=provider_fields(value),
    )


def created(response: Fields) -> int | None:
    """Unix seconds, None where the server gave none."""
    seconds = response.number_or_none("created_at")
    return None if seconds is None else int(seconds)


def finish_reason(response: Mapping[str, Json], *, called: bool) -> tuple[FinishReason, str | None]:
    """The canonical reason and the provider's word. `called`: was a tool of the caller's called?"""
    details = response.get("incomplete_details")
    word = details.get("reason") if isinstance(details, dict) else None
    status = response.get("status")
    if isinstance(word, str):
        return INCOMPLETE_REASONS.get(word, "other"), word
    raw = status if isinstance(status, str) else None
    if raw in ("completed", None):
        return ("tool_calls" if called else "stop"), raw
    return "other", raw


def logprobs_of(parts: Sequence[Part]) -> dict[str, Json] | None:
    """The log-probabilities of the texts, which also stay with each text."""
    lists = [part.opaque.get(OWN, {}).get("logprobs") for part in parts if isinstance(part, Text)]
    tokens = [token for found in lists if isinstance(found, list) for token in found]
    return {"content": tokens} if tokens else None


def provider_fields(response: Mapping[str, Json]) -> dict[str, dict[str, Json]]:
    """The members that no canonical field holds, but for those that say what is written without them too."""
    members = {
        name: value
        for name, value in response.items()
        if name not in KNOWN_MEMBERS and value is not None and REQUIRED_MEMBERS.get(name) != value
    }
    return {OWN: {MEMBERS: members}} if members else {}


def decode_usage(response: Fields) -> Usage:
    """Canonical counts."""
    tier = response.text_or_none("service_tier")
    if response.take("usage") is None:
        return Usage(service_tier=tier)
    usage = response.inner("usage")
    details = {name: Fields(usage.mapping_or_none(f"{name}_details") or {}, name) for name in _SIDES}
    return Usage(
        input_tokens=usage.integer_or_none("input_tokens"),
        input_cache_read_tokens=details["input_tokens"].integer_or_none("cached_tokens"),
        input_cache_write_5m_tokens=details["input_tokens"].integer_or_none("cache_write_tokens"),
        output_tokens=usage.integer_or_none("output_tokens"),
        output_reasoning_tokens=details["output_tokens"].integer_or_none("reasoning_tokens"),
        service_tier=tier,
    )


_SIDES: Final = ("input_tokens", "output_tokens")


def encode_response(response: Response, clock: Callable[[], float]) -> Encoded:
    """The body of a whole answer, and what it could not carry. `clock` dates an answer that has no date."""
    losses = Losses()
    if len(response.choices) > 1:
        losses.add("choices", "the format gives one answer a request: the first was written")
    choice = response.choices[0] if response.choices else Choice(0, (), "other")
    writer = ItemWriter(losses, id_maker(response.id))
    spots = [writer.add(part) for part in choice.parts]
    texts = [spot.target for spot in spots if spot is not None and spot.target.get("type") == "output_text"]
    add_logprobs(texts, choice.logprobs, losses)
    mark_cut(writer.items, choice.reason)
    head = Head(response.id, response.model, created_at(response.created, clock))
    head.members = own_members(response.provider_fields, losses)
    body = head.response([item.wire for item in writer.items], ending(choice, losses), response.usage, losses)
    wire, repaired = dump(body)
    if repaired:
        losses.add(*REPAIRED)
    return Encoded(wire, losses.listed())


def created_at(created: int | None, clock: Callable[[], float]) -> int:
    """The date that is written."""
    return int(clock()) if created is None else created


def id_maker(response_id: str) -> Callable[[str, int], str]:
    """Makes ids for items that have none: the same ones each time the same answer is written."""
    return lambda prefix, number: f"{prefix}{MADE_ID}{response_id[-32:]}_{number}"


def add_logprobs(texts: Sequence[dict[str, Json]], logprobs: Mapping[str, Json] | None, losses: Losses) -> None:
    """Put a choice's log-probabilities with its first text, unless the texts brought theirs."""
    if not logprobs or any("logprobs" in text for text in texts):
        return
    if any(name != "content" for name in logprobs) or not texts:
        losses.add("logprobs", "the format tells them of texts only")
    tokens = logprobs.get("content")
    if texts and isinstance(tokens, list):
        texts[0]["logprobs"] = [encode_token(token) for token in tokens]


def encode_token(token: Json) -> Json:
    """One token's entry, with the members that this format requires and Chat Completions leaves open."""
    if not isinstance(token, dict):
        return token
    tops = [
        {**top, "bytes": top.get("bytes") or []} for top in token.get("top_logprobs") or () if isinstance(top, dict)
    ]
    return {**token, "bytes": token.get("bytes") or [], "top_logprobs": tops}


def mark_cut(items: Sequence[Item], reason: FinishReason) -> None:
    """An answer that was cut ends in an incomplete message."""
    if reason == "length" and items and items[-1].kind == "message":
        items[-1].wire["status"] = "incomplete"


def ending(choice: Choice, losses: Losses) -> Ending:
    """How the answer ended, in the format's words: its own if that means the same, else the nearest."""
    if choice.stop_sequence is not None:
        losses.add("stop_sequence", "the format does not tell it")
    if INCOMPLETE_REASONS.get(choice.raw_reason or "") == choice.reason:
        return "incomplete", choice.raw_reason
    if choice.reason in INCOMPLETE_WORDS:
        return "incomplete", INCOMPLETE_WORDS[choice.reason]
    if choice.reason in ("pause", "other"):
        losses.add(f"reason.{choice.reason}", "the format has no word for it: written as completed")
    return "completed", None


def own_members(fields: Mapping[str, Mapping[str, Json]], losses: Losses) -> Mapping[str, Json]:
    """The members only this format has; every other family's are noted as lost."""
    for family, members in fields.items():
        if family != OWN:
            for name in members:
                losses.add(f"provider_fields.{family}.{name}", f"only {family} has such a field")
    found = fields.get(OWN, {}).get(MEMBERS)
    return found if isinstance(found, Mapping) else {}


class Head:
    """What every form of one response repeats. `members` are those that no canonical field holds."""

    __slots__ = ("created_at", "id", "members", "model")

    def __init__(self, response_id: str, model: str, created_at: int) -> None:
        self.id = response_id
        self.model = model
        self.created_at = created_at
        self.members: Mapping[str, Json] = {}

    def response(
        self, output: Sequence[Json], end: Ending, usage: Usage | None, losses: Losses, error: Json = None
    ) -> dict[str, Json]:
        """The response object. `usage` None: it is not told yet."""
        status, reason = end
        body: dict[str, Json] = {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "error": error,
            "incomplete_details": None if reason is None else {"reason": reason},
            "model": self.model,
            "output": list(output),
            "usage": None if usage is None else encode_usage(usage, losses),
        }
        if usage is not None and usage.service_tier is not None:
            if usage.service_tier in TIERS:
                body["service_tier"] = usage.service_tier
            else:
                losses.add("usage.service_tier", "the format has no such tier")
        return {**REQUIRED_MEMBERS, **{name: self.members[name] for name in self.members if name not in body}, **body}


def encode_usage(usage: Usage, losses: Losses) -> dict[str, Json] | None:
    """The wire's counts. None where a total is not known: readers want numbers there, and none are made up."""
    for name in usage.server_tool_calls:
        losses.add(f"usage.server_tool_calls.{name}", "the format does not count them")
    for name in ("input_cache_write_1h_tokens", "input_audio_tokens", "output_audio_tokens"):
        if getattr(usage, name) is not None:
            losses.add(f"usage.{name}", "the format does not count them apart")
    if usage.input_tokens is None or usage.output_tokens is None:
        if usage.input_tokens is not None or usage.output_tokens is not None:
            losses.add("usage", "the format wants both totals, and one is not known")
        return None
    writes = (usage.input_cache_write_5m_tokens, usage.input_cache_write_1h_tokens)
    written = [count for count in writes if count is not None]
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": _count(usage.input_cache_read_tokens, "input_cache_read_tokens", losses),
            "cache_write_tokens": _count(sum(written) if written else None, "input_cache_write_5m_tokens", losses),
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {
            "reasoning_tokens": _count(usage.output_reasoning_tokens, "output_reasoning_tokens", losses)
        },
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _count(tokens: int | None, name: str, losses: Losses) -> int:
    if tokens is None:
        losses.add(f"usage.{name}", "it was not reported; the format requires a number: written as 0")
    return tokens or 0
