"""The content of messages and of tool results, both ways: a string, or a list of parts."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Sequence
from typing import Final

from waypost.chat import Citation, FileId, InlineData, Json, Media, Part, Refusal, Text, Unknown, Url
from waypost.codecs.openai_chat.dialect import OFFICIAL, graft
from waypost.codecs.openai_chat.fields import Fields, refuse
from waypost.codecs.openai_chat.media import data_url, encode_media, is_data_url
from waypost.codecs.openai_responses.wire import WIRE, Losses, keep


def _text(part: Fields) -> Text:
    annotations = part.array_or_none("annotations") or []
    for number, annotation in enumerate(annotations):
        Fields(annotation, f"{part.at('annotations')}[{number}]")
    citations = tuple(Citation(WIRE, annotation) for annotation in annotations)
    return Text(part.text("text"), citations, keep(part.rest()))


def _refusal(part: Fields) -> Refusal:
    return Refusal(part.text("refusal"), keep(part.rest()))


def _image(part: Fields) -> Media:
    file_id, url = part.text_or_none("file_id"), part.text_or_none("image_url")
    source: FileId | InlineData | Url
    if file_id is not None:
        source = FileId(file_id)
    elif url is None:
        refuse(part.path, "must have image_url or file_id")
    else:
        source = data_url(url, part.at("image_url")) if is_data_url(url) else Url(url)
    detail = part.text_or_none("detail")
    # The format requires a detail: auto says the same as none.
    return Media("image", source, detail=None if detail == "auto" else detail, opaque=keep(part.rest()))


def _file(part: Fields) -> Media:
    name, file_id, url, data = (part.text_or_none(key) for key in ("filename", "file_id", "file_url", "file_data"))
    source: FileId | InlineData | Url
    if file_id is not None:
        source = FileId(file_id)
    elif url is not None:
        source = Url(url)
    elif data is None:
        refuse(part.path, "must have file_id, file_url or file_data")
    else:
        guessed = mimetypes.guess_type(name or "")[0] or "application/pdf"
        whole = data if is_data_url(data) else f"data:{guessed};base64,{data}"
        source = data_url(whole, part.at("file_data"))
    return Media("document", source, name=name, opaque=keep(part.rest()))


READERS: Final[dict[str, Callable[[Fields], Text | Refusal | Media]]] = {
    "input_text": _text,
    "output_text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
}


def decode_content(value: Json, path: str) -> list[Text | Refusal | Media | Unknown]:
    """The parts in `content` or `output`. A part of a kind this version does not know is kept whole."""
    if isinstance(value, str):
        return [Text(value)]
    if not isinstance(value, list):
        refuse(path, "must be a string or a list")
    parts = [Fields(item, f"{path}[{number}]") for number, item in enumerate(value)]
    readers = [READERS.get(part.text("type")) for part in parts]
    found = zip(value, readers, parts, strict=True)
    return [Unknown(WIRE, item) if read is None else read(part) for item, read, part in found]


def encode_content(parts: Sequence[Part], losses: Losses) -> str | list[Json]:
    """What a user, a system or a tool says; one plain text is a string, all else a list."""
    encoded = [encode_input_part(part, losses) for part in parts]
    wire = [part for part in encoded if part is not None]
    if len(wire) == 1 and wire[0].keys() == {"type", "text"}:
        return str(wire[0]["text"])
    return list(wire)


def encode_input_part(part: Part, losses: Losses) -> dict[str, Json] | None:
    """The part as an entry of `content`. None, and a loss noted, if that has no place for it."""
    wire: dict[str, Json] | None = None
    match part:
        case Text():
            if part.citations:
                losses.add("Text.citations", "only an assistant's text carries citations")
            wire = {"type": "input_text", "text": part.text}
        case Media():
            wire = _encode_media(part, losses)
        case Unknown() if part.wire == WIRE:
            return dict(part.data)
        case Unknown():
            losses.add(f"Unknown.{part.wire}", f"only {part.wire} has such a part")
            return None
        case _:
            losses.add(f"{type(part).__name__} in another role's message", "the format has no place for it there")
            return None
    return wire and graft(wire, losses.own(part.opaque))


def _encode_media(media: Media, losses: Losses) -> dict[str, Json] | None:
    source = media.source
    if media.kind == "image":
        image: dict[str, Json] = {"type": "input_image", "detail": media.detail or "auto"}
        if isinstance(source, FileId):
            return {**image, "file_id": source.file_id}
        found = encode_media(media, OFFICIAL, losses)
        return found and {**image, "image_url": found["image_url"]["url"]}
    if media.kind == "document":
        file: dict[str, Json] = {"type": "input_file"}
        if isinstance(source, Url):
            name = {} if media.name is None else {"filename": media.name}
            return {**file, **name, "file_url": source.url}
        found = encode_media(media, OFFICIAL, losses)
        return found and {**file, **found["file"]}
    losses.add("Media.audio", "the format takes no audio")
    return None


def encode_output_text(part: Text, losses: Losses) -> dict[str, Json]:
    """The model's own text. Citations that another format wrote are noted as lost."""
    return {"type": "output_text", "text": part.text, "annotations": encode_citations(part.citations, losses)}


def encode_citations(citations: Sequence[Citation], losses: Losses) -> list[Json]:
    """The annotations that this format wrote; others are noted as lost."""
    for citation in citations:
        if citation.wire != WIRE:
            losses.add(f"Text.citations.{citation.wire}", f"only {citation.wire} writes citations so")
    return [citation.data for citation in citations if citation.wire == WIRE]
