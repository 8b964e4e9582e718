"""Content parts and tool calls of chat messages, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from waypost.chat import Json, Media, Part, Refusal, ServerTool, Text, ToolCall, Unknown
from waypost.codecs.openai_chat.dialect import WIRE, Dialect, Losses, graft, opaque_of
from waypost.codecs.openai_chat.fields import Fields, refuse
from waypost.codecs.openai_chat.media import audio, document, encode_media, image


def _text(part: Fields) -> Text:
    return Text(part.text("text"), opaque=opaque_of(part.rest()))


def _refusal(part: Fields) -> Refusal:
    return Refusal(part.text("refusal"), opaque=opaque_of(part.rest()))


READERS: Final[dict[str, Callable[[Fields], Text | Refusal | Media]]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": image,
    "input_audio": audio,
    "file": document,
}


def decode_content(value: Json, path: str) -> list[Text | Refusal | Media | Unknown]:
    """The parts of a message's `content`: a string, a list of parts, or nothing."""
    if value is None:
        return []
    if isinstance(value, str):
        return [Text(value)]
    if not isinstance(value, list):
        refuse(path, "must be a string or a list")
    return [_decode_part(item, f"{path}[{index}]") for index, item in enumerate(value)]


def _decode_part(value: Json, path: str) -> Text | Refusal | Media | Unknown:
    part = Fields(value, path)
    reader = READERS.get(part.text("type"))
    return Unknown(WIRE, value) if reader is None else reader(part)


def decode_tool_call(value: Json, path: str) -> ToolCall | ServerTool:
    """One entry of a message's `tool_calls`. A type this version does not know is kept whole."""
    call = Fields(value, path)
    kind = call.text_or_none("type") or "function"
    if kind == "function":
        inner = call.inner("function")
        arguments = inner.text_or_none("arguments") or ""
        known = ToolCall(call.text("id"), inner.text("name"), arguments, opaque=opaque_of(call.rest()))
    elif kind == "custom":
        inner = call.inner("custom")
        known = ToolCall(
            call.text("id"), inner.text("name"), inner.text("input"), kind="custom", opaque=opaque_of(call.rest())
        )
    else:
        return ServerTool(WIRE, value)
    return known


def encode_part(part: Part, dialect: Dialect, losses: Losses) -> dict[str, Json] | None:
    """The part as an entry of `content`. None, and a loss noted, if that has no place for it."""
    wire: dict[str, Json] | None
    match part:
        case Text():
            if part.citations:
                losses.add("Text.citations", "a request's text carries no citations")
            wire = {"type": "text", "text": part.text}
        case Refusal():
            wire = {"type": "refusal", "refusal": part.text}
        case Media():
            wire = encode_media(part, dialect, losses)
        case Unknown() if part.wire == WIRE:
            return dict(part.data)
        case Unknown() | ServerTool():
            losses.add(f"{type(part).__name__}.{part.wire}", f"only {part.wire} has such a part")
            return None
        case _:
            losses.add(f"{type(part).__name__} in another role's message", "the format has no place for it there")
            return None
    return wire and graft(wire, losses.own(part.opaque))


def encode_tool_call(call: ToolCall, losses: Losses) -> dict[str, Json]:
    """The call as an entry of `tool_calls`."""
    if call.kind == "custom":
        wire: dict[str, Json] = {"id": call.call_id, "type": "custom"}
        wire["custom"] = {"name": call.name, "input": call.arguments}
    else:
        # A function without arguments is "{}" here: clients give the string to a JSON reader.
        function = {"name": call.name, "arguments": call.arguments or "{}"}
        wire = {"id": call.call_id, "type": "function", "function": function}
    return graft(wire, losses.own(call.opaque))
