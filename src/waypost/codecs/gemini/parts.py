"""Parts of a content, both ways: a table from the member that holds the data to a small function, and one back.

Members beside the data (thoughtSignature, videoMetadata, …) ride in the part's opaque data and are written back on
the very part they came with. A part with data of a kind not listed becomes `Unknown` and goes back unchanged. The
invariant: decoding gives a part or raises WireError; encoding gives a part, or None after noting the loss.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from waypost.chat import (
    FileId,
    InlineData,
    Json,
    Media,
    Part,
    Reasoning,
    Refusal,
    ServerTool,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Url,
)
from waypost.codecs.arguments import arguments_object
from waypost.codecs.gemini.calls import CallIds, compact, decode_result, encode_result, wire_id
from waypost.codecs.gemini.wire import FAMILY, NAME, Losses, Members, graft, keep, own, repeated
from waypost.codecs.reading import WireError, an_object, join, optional, required, rest

Kind: TypeAlias = Literal["image", "audio", "document"]

SERVER_TOOLS: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")


def decode_part(value: Json, path: str, ids: CallIds) -> Part:
    """The canonical part. Raises WireError."""
    part = an_object(value, path)
    for name, decode in _DECODERS.items():
        if part.get(name) is not None:
            return decode(part, path, ids)
    # A signature may come in a part of its own.
    return Unknown(NAME, part) if rest(part, "thought", "thoughtSignature") else _decode_text(part, path, ids)


def _decode_text(part: Members, path: str, _ids: CallIds) -> Part:
    text = optional(part, "text", str, path) or ""
    if optional(part, "thought", bool, path):
        return Reasoning(text, keep(part, "text", "thought"))
    return Text(text, opaque=keep(part, "text", "thought"))


def _decode_call(part: Members, path: str, ids: CallIds) -> Part:
    call = required(part, "functionCall", dict, path)
    at = join(path, "functionCall")
    name = optional(call, "name", str, at)
    if not name or "willContinue" in call:
        return Unknown(NAME, part)  # a piece of a call, which only some models give and only if asked to
    call_id = ids.of_call(optional(call, "id", str, at), name)
    opaque = _opaque(part, "functionCall", rest(call, "id", "name", "args"))
    return ToolCall(call_id, name, compact(optional(call, "args", dict, at) or {}), opaque=opaque)


def _decode_result(part: Members, path: str, ids: CallIds) -> Part:
    result = required(part, "functionResponse", dict, path)
    at = join(path, "functionResponse")
    name = required(result, "name", str, at)
    text, failed = decode_result(optional(result, "response", dict, at) or {})
    parts: list[Text | Media | Unknown] = [] if text is None else [Text(text)]
    for index, item in enumerate(repeated(result, "parts", at)):
        inner = decode_part(item, f"{at}.parts.{index}", ids)
        parts.append(inner if isinstance(inner, Media) else Unknown(NAME, item))
    opaque = _opaque(part, "functionResponse", rest(result, "id", "name", "response", "parts"))
    return ToolResult(ids.of_result(optional(result, "id", str, at), name), tuple(parts), name, failed, opaque)


def _decode_inline(part: Members, path: str, _ids: CallIds) -> Part:
    blob = required(part, "inlineData", dict, path)
    at = join(path, "inlineData")
    media_type = required(blob, "mimeType", str, at)
    kind = _kind(media_type)
    if kind is None:
        return Unknown(NAME, part)
    source = InlineData(_base64(required(blob, "data", str, at), join(at, "data")), media_type)
    opaque = _opaque(part, "inlineData", rest(blob, "mimeType", "data", "displayName"))
    return Media(kind, source, optional(blob, "displayName", str, at), opaque=opaque)


def _decode_file(part: Members, path: str, _ids: CallIds) -> Part:
    data = required(part, "fileData", dict, path)
    at = join(path, "fileData")
    uri = required(data, "fileUri", str, at)
    media_type = optional(data, "mimeType", str, at)
    kind = _kind(media_type or _guess(uri) or "")
    if kind is None:
        return Unknown(NAME, part)
    extra = rest(data, "fileUri", "displayName", *(["mimeType"] if media_type == _guess(uri) else []))
    source = FileId(uri) if _is_stored(uri) else Url(uri)
    return Media(kind, source, optional(data, "displayName", str, at), opaque=_opaque(part, "fileData", extra))


def _decode_server_tool(part: Members, _path: str, _ids: CallIds) -> Part:
    extra = [name for name in part if name not in SERVER_TOOLS]
    return ServerTool(NAME, rest(part, *extra), keep(part, *SERVER_TOOLS))


_DECODERS: Final[Mapping[str, Callable[[Members, str, CallIds], Part]]] = {
    "text": _decode_text,
    "functionCall": _decode_call,
    "functionResponse": _decode_result,
    "inlineData": _decode_inline,
    "fileData": _decode_file,
    **dict.fromkeys(SERVER_TOOLS, _decode_server_tool),
}


def _opaque(part: Members, data: str, nested: Members) -> dict[str, Members]:
    members = {**rest(part, data), **({data: nested} if nested else {})}
    return {FAMILY: members} if members else {}


def _base64(text: str, path: str) -> bytes:
    """Both alphabets, padded or not, as protobuf's JSON has bytes."""
    plain = text.translate(_STANDARD).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(path, "Input should be base64") from error


_STANDARD: Final = str.maketrans("-_", "+/")


def _kind(media_type: str) -> Kind | None:
    """None for videos, which the canonical model does not know."""
    return _KINDS.get(media_type.partition("/")[0].lower(), "document")


_KINDS: Final[Mapping[str, Kind | None]] = {"image": "image", "audio": "audio", "video": None}


def _guess(uri: str) -> str | None:
    """The media type that an address on the web shows by how its path ends."""
    if _is_stored(uri):
        return None
    path = uri.partition("?")[0].partition("#")[0].partition("://")[2].partition("/")[2]
    return mimetypes.guess_type(path)[0]


def _is_stored(uri: str) -> bool:
    """Is it a file that was uploaded to Google before, rather than an address on the web?"""
    return uri.startswith(("https://generativelanguage.googleapis.com/", "files/", "gs://")) or "://" not in uri


@dataclass(frozen=True, slots=True)
class Encoding:
    """What encoding depends on. `names` has the function of each call so far: a result must name it."""

    losses: Losses
    is_request: bool
    names: dict[str, str] = field(default_factory=dict)


def encode_part(part: Part, to: Encoding, what: str) -> Members | None:
    """The part on the wire; None if the format has no place for it. `what` names it in losses."""
    if not isinstance(part, Unknown):
        to.losses.foreign(f"{what}.opaque", part.opaque)
    wire = _ENCODERS[type(part)](part, to, what)
    return wire if wire is None or isinstance(part, Unknown) else graft(wire, own(part.opaque))


def _encode_text(part: Text, to: Encoding, what: str) -> Members | None:
    if part.citations:
        to.losses.add(f"{what}.citations", "Gemini's text carries none: its sources stand beside the whole answer.")
    return {"text": part.text} if part.text or own(part.opaque) else None


def _encode_refusal(part: Refusal, to: Encoding, what: str) -> Members | None:
    to.losses.add(what, "Gemini has no refusal part: the words are written as text.")
    return {"text": part.text} if part.text else None


def _encode_reasoning(part: Reasoning, _to: Encoding, _what: str) -> Members | None:
    return {"text": part.text, "thought": True} if part.text or own(part.opaque) else None


def _encode_call(part: ToolCall, to: Encoding, what: str) -> Members:
    to.names[part.call_id] = part.name
    call = {**wire_id(part.call_id), "name": part.name, "args": arguments_object(part, to.losses.add, what)}
    return {"functionCall": call}


def _encode_result(part: ToolResult, to: Encoding, what: str) -> Members | None:
    if not to.is_request:
        to.losses.add(what, "An answer holds no results of the caller's tools.")
        return None
    name = part.name or to.names.get(part.call_id)
    if name is None:
        to.losses.add(f"{what}.name", "Gemini wants the function's name and no call with this id came before.")
        name = part.call_id
    texts = [item for item in part.parts if isinstance(item, Text)]
    others = [item for item in part.parts if not isinstance(item, Text)]
    if len(texts) > 1 or [*texts, *others] != list(part.parts) or any(text.opaque or text.citations for text in texts):
        to.losses.add(f"{what}.parts", "A result is one text, and then media: borders, order and marks are lost.")
    text = "\n".join(item.text for item in texts) if texts else None
    result = {**wire_id(part.call_id), "name": name, "response": encode_result(text, is_error=part.is_error)}
    encoded = [_encode_inner(item, to, f"{what}.parts[{number}]") for number, item in enumerate(others)]
    if inner := [item for item in encoded if item is not None]:
        result["parts"] = inner
    return {"functionResponse": result}


def _encode_inner(part: Media | Unknown, to: Encoding, what: str) -> Members | None:
    if isinstance(part, Media) and not isinstance(part.source, InlineData):
        to.losses.add(what, "A function's result takes media as bytes only.")
        return None
    return encode_part(part, to, what)


def _encode_media(part: Media, to: Encoding, what: str) -> Members:
    if part.detail is not None:
        to.losses.add(f"{what}.detail", "Gemini's media have a resolution of another kind.")
    name = {} if part.name is None else {"displayName": part.name}
    if isinstance(part.source, InlineData):
        data = base64.b64encode(part.source.data).decode()
        return {"inlineData": {"mimeType": part.source.media_type, "data": data, **name}}
    uri = part.source.url if isinstance(part.source, Url) else part.source.file_id
    known = own(part.opaque).get("fileData")
    media_type = (isinstance(known, Mapping) and known.get("mimeType")) or _guess(uri)
    return {"fileData": {**({"mimeType": media_type} if media_type else {}), "fileUri": uri, **name}}


def _encode_as_it_was(part: ServerTool | Unknown, to: Encoding, what: str) -> Members | None:
    if part.wire != NAME:
        to.losses.add(what, f"A part only the {part.wire} format knows.")
        return None
    return dict(part.data)


_ENCODERS: Final[Mapping[type, Callable[[Any, Encoding, str], Members | None]]] = {
    Text: _encode_text,
    Reasoning: _encode_reasoning,
    Refusal: _encode_refusal,
    ToolCall: _encode_call,
    ToolResult: _encode_result,
    ServerTool: _encode_as_it_was,
    Media: _encode_media,
    Unknown: _encode_as_it_was,
}
