"""Whole answers, both ways, and what whole and streamed answers share: usage and the top-level fields on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from waypost.chat import (
    Choice,
    Citation,
    Json,
    Part,
    Reasoning,
    Refusal,
    Response,
    Text,
    ToolCall,
    Unknown,
    Usage,
)
from waypost.codecs.codec import Encoded, ResponseSight
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply
from waypost.codecs.openai_chat.dialect import FAMILY, WIRE, Losses, opaque_of
from waypost.codecs.openai_chat.errors import error_in_body
from waypost.codecs.openai_chat.parts import encode_tool_call
from waypost.codecs.openai_chat.request import REPAIRED
from waypost.codecs.openai_chat.wire import (
    KNOWN_FIELDS,
    SERVICE_TIERS,
    Completion,
    WireChoice,
    WireFunction,
    WireMessage,
    WireToolCall,
    decode_usage,
    finish_reason,
    wire_reason,
)
from waypost.errors import IncompleteStream, MalformedResponse, ProviderError, ProviderServerError

ORDER: Final[tuple[type[Part], ...]] = (Reasoning, Text, Refusal, Unknown, ToolCall)
"""A message's parts as the format has them: one of each kind, then the tool calls."""


_COMPLETIONS: Final = msgspec.json.Decoder(Completion)


def decode_response(body: bytes) -> Response:
    """Raises MalformedResponse, or the typed error if the body is an error after all."""
    completion = _read(body)
    try:
        fields = provider_fields(parse_reply(body))
    except JsonError as problem:
        raise _malformed(str(problem)) from problem
    return Response(
        id=completion.id or "",
        model=completion.model or "",
        created=created(completion),
        choices=tuple(_decode_choice(choice, at, completion) for at, choice in enumerate(completion.choices or ())),
        usage=usage_of(completion),
        provider_fields=fields,
    )


def watch_response(body: bytes) -> ResponseSight:
    """What a whole answer that is passed on says. Raises as `decode_response` does.

    But for a number out of range in a member that is not read: passed on, it is the caller's to judge.
    """
    completion = _read(body)
    reason = completion.choices[0].finish_reason if completion.choices else None
    return ResponseSight(completion.id or "", completion.model or "", usage_of(completion), finish_reason(reason))


def _read(body: bytes) -> Completion:
    """The typed answer, once it is known to be whole."""
    try:
        # The typed decoder steps over what it does not read, without a look at its characters.
        body.decode()
    except UnicodeDecodeError as problem:
        raise _malformed(f"it is not UTF-8 (byte {problem.start})") from problem
    try:
        completion = parse_reply(body, _COMPLETIONS)
    except JsonError as problem:
        _raise_error(body)
        raise _malformed(str(problem)) from problem
    if completion.error or completion.object == "error":
        # vLLM and others answer with status 200 and an error now and then.
        _raise_error(body)
    if not completion.choices:
        raise _malformed("it has no choices")
    whole = True
    for choice in completion.choices:
        _check_choice(choice)
        whole = whole and bool(choice.finish_reason)
    if not whole:
        # The same answer as a stream would be incomplete.
        raise IncompleteStream("The response has no finish_reason: the provider did not say that it was finished.")
    return completion


def _raise_error(body: bytes) -> None:
    """Raises the typed error that the body tells of, if it does."""
    try:
        value = parse_reply(body)
    except JsonError as problem:
        raise _malformed(str(problem)) from problem
    if isinstance(value, dict) and (error := error_in_body(value)) is not None:
        raise error


def _malformed(problem: str) -> MalformedResponse:
    return MalformedResponse(f"The response is not a chat completion: {problem}.")


def _check_choice(choice: WireChoice) -> None:
    if (error := failure_of(choice)) is not None:
        raise error
    calls = None if choice.message is None else choice.message.tool_calls
    if calls and any(call.function is None and call.custom is None for call in calls):
        raise _malformed("a tool call has neither function nor custom")


def created(completion: Completion) -> int | None:
    """Unix seconds, None where the server gave none."""
    return None if completion.created is None else int(completion.created)


def usage_of(completion: Completion) -> Usage:
    """The counts, wherever in the answer the server put them."""
    wire = completion.usage
    if wire is None and completion.x_groq is not None:
        wire = completion.x_groq.usage
    for choice in completion.choices or ():
        wire = wire or choice.usage
    return decode_usage(wire, completion.service_tier)


def provider_fields(value: Mapping[str, Json]) -> dict[str, dict[str, Json]]:
    """The top-level members that no canonical field holds."""
    fields = {name: item for name, item in value.items() if name not in KNOWN_FIELDS and item is not None}
    return {FAMILY: fields} if fields else {}


def logprobs_of(choice: WireChoice) -> dict[str, Json] | None:
    """The log-probabilities without the members that are null."""
    present = {name: value for name, value in (choice.logprobs or {}).items() if value is not None}
    return present or None


def stop_sequence_of(choice: WireChoice) -> str | None:
    """The stop sequence that was hit, where the server tells it."""
    return choice.stop_reason if isinstance(choice.stop_reason, str) else None


def failure_of(choice: WireChoice) -> ProviderError | None:
    """The typed error if the provider gave up on this choice (OpenRouter, Mistral), else None."""
    if choice.error:
        return error_in_body({"error": choice.error})
    if choice.finish_reason == "error":
        return ProviderServerError("The provider gave up while it answered.", provider_code="error")
    return None


def synthetic_call_id(response_id: str, choice: int, number: int) -> str:
    """An id for a tool call of a server that gives none; the same one for a whole and a streamed answer."""
    return f"call_{response_id[-20:]}_{choice}_{number}"


def arguments_text(arguments: str | Mapping[str, Any] | None) -> str:
    """A call's arguments as JSON text, also from a server that gives an object."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return dump(arguments)[0].decode()


def content_pieces(content: str | list[dict[str, Any]] | None) -> Sequence[tuple[type[Text | Reasoning], str]]:
    """The text and reasoning in `content`; Mistral's reasoning models give a list of both."""
    if not content:
        return ()
    if isinstance(content, str):
        return ((Text, content),)
    pieces: list[tuple[type[Text | Reasoning], str]] = []
    for item in content:
        if isinstance(text := item.get("text"), str):
            pieces.append((Text, text))
        elif isinstance(thinking := item.get("thinking"), list):
            inner = [piece["text"] for piece in thinking if isinstance(piece, dict) and "text" in piece]
            pieces += [(Reasoning, text) for text in inner if isinstance(text, str)]
    return pieces


def _decode_choice(choice: WireChoice, number: int, completion: Completion) -> Choice:
    index = number if choice.index is None else choice.index
    message = choice.message or WireMessage()
    return Choice(
        index=index,
        parts=tuple(_decode_parts(message, completion.id or "", index)),
        reason=finish_reason(choice.finish_reason),
        raw_reason=choice.finish_reason,
        stop_sequence=stop_sequence_of(choice),
        logprobs=logprobs_of(choice),
    )


def _decode_parts(message: WireMessage, response_id: str, choice: int) -> list[Part]:
    parts: list[Part] = []
    if reasoning := message.reasoning_content or message.reasoning:
        parts.append(Reasoning(reasoning))
    for kind, text in content_pieces(message.content):
        if parts and isinstance(last := parts[-1], kind):
            parts[-1] = kind(last.text + text)
        elif text:
            parts.append(kind(text))
    if message.annotations:
        _annotate(parts, message.annotations)
    if message.refusal:
        parts.append(Refusal(message.refusal))
    if message.audio is not None:
        audio = {name: value for name, value in msgspec.structs.asdict(message.audio).items() if value is not None}
        parts.append(Unknown(WIRE, {"type": "audio", "audio": audio}))
    calls = list(message.tool_calls or ())
    if message.function_call is not None:
        calls.append(WireToolCall(function=message.function_call))
    parts += [_decode_call(call, synthetic_call_id(response_id, choice, at)) for at, call in enumerate(calls)]
    return parts


def _annotate(parts: list[Part], annotations: Sequence[Mapping[str, Json]]) -> None:
    citations = tuple(Citation(WIRE, data) for data in annotations)
    for number, part in enumerate(parts):
        if isinstance(part, Text):
            parts[number] = Text(part.text, citations)
            return
    parts.append(Text("", citations))


def _decode_call(call: WireToolCall, spare_id: str) -> ToolCall:
    opaque = opaque_of({} if call.extra_content is None else {"extra_content": call.extra_content})
    call_id = call.id or spare_id
    if call.custom is not None:
        return ToolCall(call_id, call.custom.name or "", call.custom.input or "", "custom", opaque)
    function = call.function or WireFunction()
    return ToolCall(call_id, function.name or "", arguments_text(function.arguments), opaque=opaque)


def encode_response(response: Response, clock: Callable[[], float]) -> Encoded:
    """The body of a whole answer, and what it could not carry. `clock` dates an answer that has no date."""
    losses = Losses()
    body: dict[str, Json] = {
        "id": response.id,
        "object": "chat.completion",
        "created": int(clock()) if response.created is None else response.created,
        "model": response.model,
        "choices": [_encode_choice(choice, losses) for choice in response.choices],
    }
    usage = encode_usage(response.usage, losses)
    if usage is not None:
        body["usage"] = usage
    for name, value in own_fields(response.provider_fields, losses).items():
        body.setdefault(name, value)
    add_service_tier(body, response.usage, losses)
    wire, repaired = dump(body)
    if repaired:
        losses.add(*REPAIRED)
    return Encoded(wire, losses.listed())


def own_fields(fields: Mapping[str, Mapping[str, Json]], losses: Losses) -> Mapping[str, Json]:
    """This family's top-level fields; every other family's are noted as lost."""
    for family, members in fields.items():
        if family != FAMILY:
            for name in members:
                losses.add(f"provider_fields.{family}.{name}", f"only {family} has such a field")
    return {name: value for name, value in fields.get(FAMILY, {}).items() if name not in KNOWN_FIELDS}


def add_service_tier(body: dict[str, Json], usage: Usage, losses: Losses) -> None:
    """Tell the tier that was used, if the format has a word for it."""
    if usage.service_tier is None or "service_tier" in body:
        return
    if usage.service_tier in SERVICE_TIERS:
        body["service_tier"] = usage.service_tier
    else:
        losses.add("usage.service_tier", "the format has no such tier")


def encode_usage(usage: Usage, losses: Losses) -> dict[str, Json] | None:
    """The wire's counts. None where a total is not known: readers want numbers there, and none are made up."""
    for name in usage.server_tool_calls:
        losses.add(f"usage.server_tool_calls.{name}", "the format does not count them")
    if usage.input_tokens is None or usage.output_tokens is None:
        if usage.input_tokens is not None or usage.output_tokens is not None:
            losses.add("usage", "the format wants both totals, and one is not known")
        return None
    if usage.input_cache_write_1h_tokens is not None:
        losses.add("usage.input_cache_write_1h_tokens", "the format counts all cache writes as one")
    writes = [usage.input_cache_write_5m_tokens, usage.input_cache_write_1h_tokens]
    written = [count for count in writes if count is not None]
    prompt = _present(
        cached_tokens=usage.input_cache_read_tokens,
        cache_write_tokens=sum(written) if written else None,
        audio_tokens=usage.input_audio_tokens,
    )
    completion = _present(reasoning_tokens=usage.output_reasoning_tokens, audio_tokens=usage.output_audio_tokens)
    wire: dict[str, Json] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if prompt:
        wire["prompt_tokens_details"] = prompt
    if completion:
        wire["completion_tokens_details"] = completion
    return wire


def _present(**counts: int | None) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count is not None}


def _encode_choice(choice: Choice, losses: Losses) -> dict[str, Json]:
    wire: dict[str, Json] = {
        "index": choice.index,
        "message": _encode_message(choice.parts, losses),
        "logprobs": choice.logprobs,
        "finish_reason": wire_reason(choice.reason, choice.raw_reason, losses),
    }
    if choice.stop_sequence is not None:
        wire["stop_reason"] = choice.stop_sequence
    return wire


def _encode_message(parts: Sequence[Part], losses: Losses) -> dict[str, Json]:
    kept = [part for part in parts if carried(part, losses)]
    kinds = [ORDER.index(type(part)) for part in kept]
    singles = [kind for kind in kinds if ORDER[kind] is not ToolCall]
    if kinds != sorted(kinds) or len(singles) != len(set(singles)):
        losses.add("order and borders of parts", "a message has one text and one reasoning, then its tool calls")
    texts = [part for part in kept if isinstance(part, Text)]
    refusals = [part for part in kept if isinstance(part, Refusal)]
    wire: dict[str, Json] = {
        "role": "assistant",
        "content": "".join(part.text for part in texts) if texts else None,
        "refusal": "".join(part.text for part in refusals) if refusals else None,
    }
    reasoning = "\n\n".join(part.text for part in kept if isinstance(part, Reasoning) and part.text)
    if reasoning:
        wire["reasoning_content"] = reasoning
    annotations = [citation.data for part in texts for citation in own_citations(part.citations, losses)]
    if annotations:
        wire["annotations"] = annotations
    for part in kept:
        if isinstance(part, Unknown):
            wire["audio"] = part.data.get("audio")
    if calls := [encode_tool_call(part, losses) for part in kept if isinstance(part, ToolCall)]:
        wire["tool_calls"] = calls
    return wire


def carried(part: Part, losses: Losses) -> bool:
    """Has an answer of this format a place for the part? If not, a loss is noted; for foreign opaque data too."""
    if isinstance(part, Unknown):
        if part.wire == WIRE and part.data.get("type") == "audio":
            return True
        losses.add(f"Unknown.{part.wire}", "an answer of the format has no place for it")
        return False
    if not isinstance(part, ToolCall):  # a call's own opaque data goes out with it
        losses.own(part.opaque)
    if type(part) in ORDER:
        return True
    losses.add(type(part).__name__, "an answer of the format has no place for it")
    return False


def own_citations(citations: Sequence[Citation], losses: Losses) -> list[Citation]:
    """The citations that this format wrote; others are noted as lost."""
    for citation in citations:
        if citation.wire != WIRE:
            losses.add(f"Text.citations.{citation.wire}", f"only {citation.wire} writes citations so")
    return [citation for citation in citations if citation.wire == WIRE]
