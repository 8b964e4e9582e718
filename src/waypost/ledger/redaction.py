"""What may be kept of a body: its secrets and media taken out, and cut to a length. No I/O.

The invariant: no key, token or password of a known shape or name is in what comes out, also if it was spread over the
events of a stream. The time it takes grows with the length of the body and not faster, whatever the body holds. It is
work of milliseconds for each hundred kilobytes: for large bodies, do it in a thread.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from waypost.telemetry.secret_shapes import find_secrets, is_secret_name

LIMIT_BYTES: Final = 64 * 1024
SECRET: Final = "[redacted]"  # noqa: S105 - what stands in its place
MEDIA_CHARACTERS: Final = 256
"""From this length on, text of base64's characters alone is media."""
MOST_LEVELS: Final = 100
TOO_DEEP: Final = "[more levels]"

_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n"
_EMBEDDED: Final = re.compile(
    r"data:[\w.+/;=-]{0,100};base64,[A-Za-z0-9+/=_-]+"
    # It begins where a run of such characters does, so that no run is looked at twice.
    rf"|(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{4 * MEDIA_CHARACTERS},}}=*"
)
_TELLING: Final = ("type", "index", "output_index", "content_index", "item_id")
"""Members by which the events of a stream say what their text belongs to."""

_Place = tuple[Any, ...]
_Piece = tuple[Any, Any, str]
"""The list or map that holds a text, its place in there, and the text."""


def redacted(body: bytes, limit: int = LIMIT_BYTES) -> str:
    """The body as text of at most `limit` bytes of UTF-8. JSON stays JSON, and streams stay streams, unless cut."""
    value = _decoded(body)
    if value is not None:
        _clean_across(value if isinstance(value, list) else [])
        text = _encoded(_clean(value, 0))
    else:
        text = _clean_stream(body.decode("utf-8", "replace"))
    # PostgreSQL's texts hold no NUL.
    return _cut(text.replace("\x00", "\ufffd"), limit)


def _decoded(text: bytes | str) -> dict[str, Any] | list[Any] | None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut(text: str, limit: int) -> str:
    whole = text.encode("utf-8", "replace")
    if len(whole) <= limit:
        return whole.decode()
    mark = f"… [cut: {len(whole)} bytes in all]"
    kept = whole[: max(0, limit - len(mark.encode()))].decode("utf-8", "ignore")
    return kept + mark if len(mark.encode()) <= limit else whole[:limit].decode("utf-8", "ignore")


def _clean(value: Any, level: int) -> Any:
    """The value without its secrets."""
    if level > MOST_LEVELS:
        return TOO_DEEP
    if isinstance(value, str):
        return _clean_text(value, level)
    if isinstance(value, list):
        return [_clean(item, level + 1) for item in value]
    if isinstance(value, dict):
        return {
            _clean_text(name, level): SECRET if is_secret_name(name) and held is not None else _clean(held, level + 1)
            for name, held in value.items()
        }
    return value


def _clean_text(text: str, level: int) -> str:
    if len(text) >= MEDIA_CHARACTERS and _is_media(text):
        return _told_media(text)
    if text[:1] in ("{", "["):
        # Arguments of tools and the like: JSON as text, whose members have names too.
        inner = _decoded(text)
        if inner is not None:
            before = _encoded(inner)
            after = _encoded(_clean(inner, level + 1))
            return text if after == before else after
    return _without_secrets(_without_media(text))


def _without_secrets(text: str) -> str:
    spans = find_secrets(text)
    return "".join(_replaced(text, spans)) if spans else text


def _replaced(text: str, spans: list[tuple[int, int]]) -> Iterator[str]:
    at = 0
    for begin, end in spans:
        yield text[at:begin]
        yield SECRET
        at = end
    yield text[at:]


def _is_media(text: str) -> bool:
    return text.isascii() and not text.encode().translate(None, _BASE64)


def _without_media(text: str) -> str:
    if len(text) < MEDIA_CHARACTERS and "base64," not in text:
        return text
    return _EMBEDDED.sub(lambda found: _told_embedded(found[0]), text)


def _told_embedded(text: str) -> str:
    head, comma, encoded = text.rpartition("base64,")
    return f"{head}{comma}{_told_media(encoded)}"


def _told_media(encoded: str) -> str:
    """Its size and hash, which are the file's own."""
    plain = encoded.translate({0x2D: "+", 0x5F: "/", 0x0A: None, 0x0D: None}).rstrip("=")
    try:
        data = binascii.a2b_base64(plain + "=" * (-len(plain) % 4))
    except binascii.Error:
        data = encoded.encode()
    return f"[{len(data)} bytes, sha256 {sha256(data).hexdigest()}]"


def _clean_stream(text: str) -> str:
    """Events as the web sends them, if that is what they are: their data is JSON, line by line."""
    lines = text.split("\n")
    events = {number: _event(line) for number, line in enumerate(lines) if line.startswith(("data:", "{"))}
    read = {number: event for number, event in events.items() if event is not None}
    if not read:
        return _without_secrets(_without_media(text))
    _clean_across(list(read.values()))
    cleaned = [
        f"{'data: ' if line.startswith('data:') else ''}{_encoded(_clean(read[number], 0))}" if number in read else line
        for number, line in enumerate(lines)
    ]
    # What is no event of JSON may go on over several lines.
    return _outside(cleaned, read, lambda rest: _without_secrets(_without_media(rest)))


def _outside(lines: list[str], read: Mapping[int, Any], clean: Callable[[str], str]) -> str:
    parts: list[str] = []
    rest: list[str] = []
    for number, line in enumerate(lines):
        if number not in read:
            rest.append(line)
            continue
        if rest:
            parts.append(clean("\n".join(rest)))
            rest = []
        parts.append(line)
    if rest:
        parts.append(clean("\n".join(rest)))
    return "\n".join(parts)


def _event(line: str) -> dict[str, Any] | list[Any] | None:
    return _decoded(line.removeprefix("data:").strip())


def _clean_across(events: list[Any]) -> None:
    """Take out, in place, the secrets that are spread over the texts at one place of several events."""
    pieces: dict[_Place, list[_Piece]] = {}
    for event in events:
        for place, piece in _pieces(event, (), 0):
            pieces.setdefault(place, []).append(piece)
    for spread in pieces.values():
        if len(spread) > 1:
            _clean_pieces(spread)


def _pieces(value: Any, place: _Place, level: int) -> Iterator[tuple[_Place, _Piece]]:
    if level > MOST_LEVELS or not isinstance(value, dict | list):
        return
    if isinstance(value, dict):
        place = (*place, *(value[name] for name in _TELLING if isinstance(value.get(name), str | int)))
    for name, held in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(held, str):
            yield (*place, name), (value, name, held)
        else:
            yield from _pieces(held, (*place, name), level + 1)


def _clean_pieces(pieces: list[_Piece]) -> None:
    spans = find_secrets("".join(text for _, _, text in pieces))
    if not spans:
        return
    at, next_span = 0, 0
    for holder, name, text in pieces:
        kept, done, end = [], 0, at + len(text)
        while next_span < len(spans) and spans[next_span][0] < end:
            begin, over = spans[next_span]
            kept.append(text[done : max(begin - at, done)])
            if begin >= at:
                kept.append(SECRET)
            done = min(over, end) - at
            if over > end:
                break
            next_span += 1
        kept.append(text[done:])
        holder[name] = "".join(kept)
        at = end
