"""Content blocks, both ways: a table from wire type to a small function, and one from canonical part to another.

Members without a canonical place (cache_control, signature, caller, …) ride in the part's opaque data and are written
back as they came. A block of a type not listed becomes `Unknown` and goes back unchanged. The invariant: decoding
gives a part or raises WireError; encoding gives a block, or None after noting the loss.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from waypost.chat import (
    Citation,
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
from waypost.codecs.anthropic_messages.wire import NAME, JsonText, Losses, keep, own
from waypost.codecs.arguments import arguments_object
from waypost.codecs.reading import WireError, an_object, join, objects, optional, required

Block: TypeAlias = dict[str, Json]

SERVER_TOOLS: Final = frozenset({
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
})  # fmt: skip


def decode_block(block: Json, path: str) -> Part:
    """The part of one content block. Raises WireError."""
    data = an_object(block, path)
    return _DECODERS.get(required(data, "type", str, path), _decode_unknown)(data, path)


def _decode_unknown(block: Block, _path: str) -> Part:
    return Unknown(NAME, block)


def _decode_server_tool(block: Block, _path: str) -> Part:
    return ServerTool(NAME, block)


def _decode_text(block: Block, path: str) -> Part:
    citations = tuple(Citation(NAME, citation) for citation in objects(block, "citations", path))
    return Text(required(block, "text", str, path), citations, keep(block, "type", "text", "citations"))


def _decode_thinking(block: Block, path: str) -> Part:
    opaque = keep(block, "type", "thinking")
    if not optional(block, "signature", str, path):
        # A stream's content_block_start has an empty one: it says the same as none.
        opaque = keep(block, "type", "thinking", "signature")
    return Reasoning(required(block, "thinking", str, path), opaque)


def _decode_redacted_thinking(block: Block, path: str) -> Part:
    required(block, "data", str, path)
    return Reasoning("", keep(block, "type"))


def _decode_tool_use(block: Block, path: str) -> Part:
    return ToolCall(
        required(block, "id", str, path),
        required(block, "name", str, path),
        input_text(block, path),
        opaque=keep(block, "type", "id", "name", "input"),
    )


def input_text(block: Block, path: str) -> str:
    """The text of a tool_use block's input: as written where `keep_…_input` saw it, else encoded anew."""
    value = block.get("input")
    if isinstance(value, JsonText):
        return str(value)
    return msgspec.json.encode(required(block, "input", dict, path)).decode()


def _decode_tool_result(block: Block, path: str) -> Part:
    content = block.get("content")
    parts: tuple[Text | Media | Unknown, ...]
    if content is None:
        parts = ()
    elif type(content) is str:
        parts = (Text(content),)
    elif type(content) is list:
        parts = tuple(_decode_result_block(item, f"{path}.content.{index}") for index, item in enumerate(content))
    else:
        raise WireError(join(path, "content"), "Input should be a string or a list of content blocks")
    return ToolResult(
        required(block, "tool_use_id", str, path),
        parts,
        is_error=optional(block, "is_error", bool, path) or False,
        opaque=keep(block, "type", "tool_use_id", "content", "is_error"),
    )


def _decode_result_block(block: Json, path: str) -> Text | Media | Unknown:
    part = decode_block(block, path)
    # Other parts have no place inside a result; their block is kept whole.
    return part if isinstance(part, Text | Media | Unknown) else Unknown(NAME, an_object(block, path))


def _decode_image(block: Block, path: str) -> Part:
    source = _decode_source(required(block, "source", dict, path), join(path, "source"))
    if source is None:
        return Unknown(NAME, block)
    return Media("image", source, opaque=keep(block, "type", "source"))


def _decode_document(block: Block, path: str) -> Part:
    source = _decode_source(required(block, "source", dict, path), join(path, "source"))
    if source is None:
        return Unknown(NAME, block)
    title = optional(block, "title", str, path)
    return Media("document", source, name=title, opaque=keep(block, "type", "source", "title"))


def _decode_source(source: Block, path: str) -> InlineData | Url | FileId | None:
    decode = _SOURCES.get(required(source, "type", str, path))
    return None if decode is None else decode(source, path)


def _decode_base64(source: Block, path: str) -> InlineData:
    try:
        data = base64.b64decode(required(source, "data", str, path), validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(join(path, "data"), "Input should be base64") from error
    return InlineData(data, required(source, "media_type", str, path))


def _decode_plain_text(source: Block, path: str) -> InlineData:
    media_type = optional(source, "media_type", str, path) or "text/plain"
    return InlineData(required(source, "data", str, path).encode(), media_type)


_SOURCES: Final[Mapping[str, Callable[[Block, str], InlineData | Url | FileId]]] = {
    "base64": _decode_base64,
    "text": _decode_plain_text,
    "url": lambda source, path: Url(required(source, "url", str, path)),
    "file": lambda source, path: FileId(required(source, "file_id", str, path)),
}

_DECODERS: Final[Mapping[str, Callable[[Block, str], Part]]] = {
    "text": _decode_text,
    "image": _decode_image,
    "document": _decode_document,
    "thinking": _decode_thinking,
    "redacted_thinking": _decode_redacted_thinking,
    "tool_use": _decode_tool_use,
    "tool_result": _decode_tool_result,
    **dict.fromkeys(SERVER_TOOLS, _decode_server_tool),
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """What encoding depends on: a request is stricter than an answer about empty text and unsigned thinking."""

    losses: Losses
    is_request: bool


def encode_part(part: Part, to: Encoding, what: str) -> Block | None:
    """The block of one part; None if this format has none for it. `what` names the part in losses."""
    return _ENCODERS[type(part)](part, to, what)


def text_block(text: str) -> Block:
    """A plain text block."""
    return {"type": "text", "text": text}


def _with_own(block: Block, part: Any, to: Encoding, what: str) -> Block:
    to.losses.foreign(f"{what}.opaque", part.opaque)
    return {**block, **{name: value for name, value in own(part.opaque).items() if name not in block}}


def _encode_text(part: Text, to: Encoding, what: str) -> Block | None:
    if to.is_request and not part.text.strip():
        # Anthropic refuses text blocks without a visible character.
        if part.text or part.citations or part.opaque:
            to.losses.add(what, "Anthropic takes no text block that is empty or only white space.")
        return None
    block = text_block(part.text)
    if citations := encode_citations(part.citations, to, what):
        block["citations"] = citations
    return _with_own(block, part, to, what)


def encode_citations(citations: tuple[Citation, ...], to: Encoding, what: str) -> list[Json]:
    """The citations that are Anthropic's own; others are noted as lost."""
    if any(citation.wire != NAME for citation in citations):
        to.losses.add(f"{what}.citations", "Citations of another format cannot be written in Anthropic's.")
    return [citation.data for citation in citations if citation.wire == NAME]


def _encode_refusal(part: Refusal, to: Encoding, what: str) -> Block | None:
    to.losses.add(what, "Anthropic has no refusal block: the words are written as text.")
    return _encode_text(Text(part.text, opaque=part.opaque), to, what)


def _encode_reasoning(part: Reasoning, to: Encoding, what: str) -> Block | None:
    signed = own(part.opaque)
    if "data" in signed and not part.text:
        return _with_own({"type": "redacted_thinking", "data": signed["data"]}, part, to, what)
    if "signature" not in signed and to.is_request:
        to.losses.add(what, "Anthropic takes back only thinking that carries its own signature.")
        return None
    # Signature is required in an answer; an empty one says that there is none.
    block = {"type": "thinking", "thinking": part.text, "signature": signed.get("signature", "")}
    return _with_own(block, part, to, what)


def _encode_tool_call(part: ToolCall, to: Encoding, what: str) -> Block:
    block = {
        "type": "tool_use",
        "id": part.call_id,
        "name": part.name,
        "input": arguments_object(part, to.losses.add, what),
    }
    return _with_own(block, part, to, what)


def _encode_tool_result(part: ToolResult, to: Encoding, what: str) -> Block | None:
    if not to.is_request:
        to.losses.add(what, "An answer holds no results of the caller's tools.")
        return None
    if part.name is not None:
        to.losses.add(f"{what}.name", "Anthropic knows a result by the id of its call only.")
    block: Block = {"type": "tool_result", "tool_use_id": part.call_id}
    only = part.parts[0] if len(part.parts) == 1 else None
    if isinstance(only, Text) and not only.citations and not only.opaque:
        block["content"] = only.text
    elif part.parts:
        encoded = [encode_part(item, to, f"{what}.parts[{number}]") for number, item in enumerate(part.parts)]
        block["content"] = [item for item in encoded if item is not None]
    if part.is_error:
        block["is_error"] = True
    return _with_own(block, part, to, what)


def _encode_as_it_was(part: ServerTool | Unknown, to: Encoding, what: str) -> Block | None:
    if part.wire != NAME:
        to.losses.add(what, f"A part only the {part.wire} format knows.")
        return None
    if isinstance(part, ServerTool):
        return _with_own(dict(part.data), part, to, what)
    return dict(part.data)


def _encode_media(part: Media, to: Encoding, what: str) -> Block | None:
    if part.kind == "audio" or not to.is_request:
        to.losses.add(what, f"Anthropic has no block for {part.kind}{'' if to.is_request else ' in an answer'}.")
        return None
    if part.detail is not None:
        to.losses.add(f"{what}.detail", "Anthropic chooses an image's resolution itself.")
    block: Block = {"type": part.kind, "source": _encode_source(part, to, what)}
    if part.name is not None and part.kind == "document":
        block["title"] = part.name
    elif part.name is not None:
        to.losses.add(f"{what}.name", "An image has no title here.")
    return _with_own(block, part, to, what)


def _encode_source(part: Media, to: Encoding, what: str) -> Block:
    match part.source:
        case Url(url=url):
            return {"type": "url", "url": url}
        case FileId(file_id=file_id):
            return {"type": "file", "file_id": file_id}
        case InlineData(data=data, media_type=media_type):
            if part.kind == "document" and media_type.startswith("text/") and (text := _utf8(data)) is not None:
                if media_type != "text/plain":
                    to.losses.add(f"{what}.source.media_type", f"A text document is text/plain, not {media_type}.")
                return {"type": "text", "media_type": "text/plain", "data": text}
            return {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}


def _utf8(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


_ENCODERS: Final[Mapping[type, Callable[[Any, Encoding, str], Block | None]]] = {
    Text: _encode_text,
    Reasoning: _encode_reasoning,
    Refusal: _encode_refusal,
    ToolCall: _encode_tool_call,
    ToolResult: _encode_tool_result,
    ServerTool: _encode_as_it_was,
    Media: _encode_media,
    Unknown: _encode_as_it_was,
}
