"""Images, sounds and documents as content parts, both ways. Nothing is fetched: an address stays an address."""

from __future__ import annotations

import base64
import binascii
import mimetypes
from typing import Final
from urllib.parse import unquote_to_bytes

from waypost.chat import FileId, InlineData, Json, Media, Url
from waypost.codecs.openai_chat.dialect import Dialect, Losses, opaque_of
from waypost.codecs.openai_chat.fields import Fields, refuse

MEDIA_TYPE_OF_FORMAT: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}
FORMAT_OF_MEDIA_TYPE: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
FILE_NAMES: Final = {"application/pdf": "document.pdf", "text/plain": "document.txt"}
"""The API wants a name with inline data; these stand in where the caller gave none."""


def image(part: Fields) -> Media:
    """`image_url`: an address, or a data: URL with the bytes."""
    inner = part.inner("image_url")
    url = inner.text("url")
    source = data_url(url, inner.at("url")) if is_data_url(url) else Url(url)
    detail = inner.text_or_none("detail")
    return Media("image", source, detail=detail, opaque=opaque_of(_extras(part, inner, "image_url")))


def audio(part: Fields) -> Media:
    """`input_audio`: base64 and the name of its format."""
    inner = part.inner("input_audio")
    form = inner.text("format")
    data = _base64(inner.text("data"), inner.at("data"))
    source = InlineData(data, MEDIA_TYPE_OF_FORMAT.get(form, f"audio/{form}"))
    return Media("audio", source, opaque=opaque_of(_extras(part, inner, "input_audio")))


def document(part: Fields) -> Media:
    """`file`: an uploaded file's id, a data: URL, bare base64, or (some servers) an address."""
    inner = part.inner("file")
    name = inner.text_or_none("filename")
    file_id = inner.text_or_none("file_id")
    file_data = inner.text_or_none("file_data")
    source: FileId | InlineData | Url
    if file_id is not None:
        source = FileId(file_id)
    elif file_data is None:
        refuse(part.at("file"), "must have file_id or file_data")
    elif is_data_url(file_data):
        source = data_url(file_data, inner.at("file_data"))
    elif file_data.startswith(("https://", "http://")):
        source = Url(file_data)
    else:
        guessed = mimetypes.guess_type(name or "")[0] or "application/pdf"
        source = InlineData(_base64(file_data, inner.at("file_data")), guessed)
    return Media("document", source, name=name, opaque=opaque_of(_extras(part, inner, "file")))


def _extras(part: Fields, inner: Fields, name: str) -> dict[str, Json]:
    nested = inner.rest()
    return {**part.rest(), **({name: nested} if nested else {})}


def is_data_url(url: str) -> bool:
    """Does the URL carry its bytes with it? Source: RFC 2397."""
    return url[:5].lower() == "data:"


def data_url(url: str, path: str) -> InlineData:
    """The bytes and media type in a data: URL. Raises InvalidRequest. Source: RFC 2397."""
    head, comma, payload = url[5:].partition(",")
    if not comma:
        refuse(path, "must be a data: URL with a comma before the data")
    bare = head.strip()
    if bare[-7:].lower() == ";base64":
        return InlineData(_base64(payload, path), bare[:-7] or "text/plain")
    return InlineData(unquote_to_bytes(payload), bare or "text/plain")


def _base64(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        refuse(path, "must be valid base64")


def encode_media(media: Media, dialect: Dialect, losses: Losses) -> dict[str, Json] | None:
    """The content part, without `opaque`. None, and a loss noted, if the format has no place for it."""
    source = media.source
    match media.kind, source:
        case "image", InlineData() | Url():
            url = source.url if isinstance(source, Url) else _as_data_url(source)
            return {"type": "image_url", "image_url": _without_none(url=url, detail=media.detail)}
        case "audio", InlineData():
            form = FORMAT_OF_MEDIA_TYPE.get(source.media_type) or source.media_type.removeprefix("audio/")
            data = base64.b64encode(source.data).decode()
            return {"type": "input_audio", "input_audio": {"data": data, "format": form}}
        case "document", FileId():
            return {"type": "file", "file": _without_none(file_id=source.file_id, filename=media.name)}
        case "document", InlineData():
            name = media.name or FILE_NAMES.get(source.media_type, "document")
            return {"type": "file", "file": {"filename": name, "file_data": _as_data_url(source)}}
        case "document", Url() if dialect.file_urls:
            return {"type": "file", "file": _without_none(filename=media.name, file_data=source.url)}
        case _:
            losses.add(f"Media.{media.kind}.{type(source).__name__}", "the format cannot carry it in this way")
            return None


def _as_data_url(source: InlineData) -> str:
    return f"data:{source.media_type};base64,{base64.b64encode(source.data).decode()}"


def _without_none(**members: str | None) -> dict[str, Json]:
    return {name: value for name, value in members.items() if value is not None}
