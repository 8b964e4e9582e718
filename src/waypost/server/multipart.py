"""Decodes `multipart/form-data` as it comes, within bounds. No I/O: bytes in, parts out. Source: RFC 7578, RFC 2046.

The invariant: never more is held than the limits allow and one piece; a body that is cut off is refused, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from waypost.errors import InvalidRequest

MOST_PARTS: Final = 64
MOST_HEAD_BYTES: Final = 8 * 1024
MOST_PADDING_BYTES: Final = 128
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PARAMETER: Final = re.compile(r';\s*([A-Za-z*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_HINT: Final = "Send it as HTML forms and curl's --form do."
PLAIN: Final = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class FormPart:
    """One field. A file has a filename, which may be empty."""

    name: str
    data: bytes
    filename: str | None = None
    media_type: str | None = None


def parameters_of(value: str) -> Mapping[str, str]:
    """The parameters of a header's value, by their names in small letters."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(value):
        quoted, token = match[2], match[3]
        found.setdefault(match[1].lower(), token if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    return found


def boundary_of(content_type: str) -> bytes:
    """What stands between the parts. Raises InvalidRequest."""
    boundary = parameters_of(content_type).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequest("The content type names no boundary of its parts.", hint=_HINT, param="Content-Type")
    return boundary.encode("ascii")


class FormDecoder:
    """Feed it all of a body, then take the parts. `limit_of` says how many bytes the part of that head may have.

    `too_large` makes the error for one that has more, of its name and limit. Raises InvalidRequest, and that.
    """

    def __init__(
        self,
        boundary: bytes,
        limit_of: Callable[[FormPart], int],
        too_large: Callable[[FormPart, int], Exception],
    ) -> None:
        self._delimiter = b"\r\n--" + boundary
        # So that the first delimiter, which has no line before it, is like the others.
        self._held = bytearray(b"\r\n")
        self._state: Callable[[], bool] = self._preamble
        self._limit_of = limit_of
        self._too_large = too_large
        self._head: FormPart | None = None
        self._body = bytearray()
        self._parts: list[FormPart] = []

    def feed(self, data: bytes) -> None:
        """The next bytes of the body."""
        self._held += data
        while self._state():
            pass

    def finish(self) -> Sequence[FormPart]:
        """The parts, once all of the body was fed."""
        if self._state != self._epilogue:
            raise InvalidRequest("The form is cut off: its last boundary has not come.", hint=_HINT)
        return self._parts

    def _preamble(self) -> bool:
        return self._to_delimiter(keeps=False)

    def _content(self) -> bool:
        return self._to_delimiter(keeps=True)

    def _to_delimiter(self, *, keeps: bool) -> bool:
        at = self._held.find(self._delimiter)
        # What may be the beginning of a delimiter waits for its end.
        end = at if at >= 0 else max(0, len(self._held) - len(self._delimiter) + 1)
        if keeps:
            self._body += self._held[:end]
            self._check_size()
        if at < 0:
            del self._held[:end]
            return False
        del self._held[: at + len(self._delimiter)]
        if keeps:
            self._add_part()
        self._state = self._after_delimiter
        return True

    def _after_delimiter(self) -> bool:
        if len(self._held) < 2:
            return False
        if self._held.startswith(b"--"):
            self._state = self._epilogue
            return True
        at = self._held.find(b"\r\n")
        if at > MOST_PADDING_BYTES or (at < 0 and len(self._held) > MOST_PADDING_BYTES) or self._held[:at].strip():
            raise InvalidRequest("After a boundary of the form comes what does not belong there.", hint=_HINT)
        if at < 0:
            return False
        # The line's end stays: without any header it is the empty line's beginning.
        del self._held[:at]
        self._state = self._headers
        return True

    def _headers(self) -> bool:
        at = self._held.find(b"\r\n\r\n")
        if at < 0 and len(self._held) <= MOST_HEAD_BYTES:
            return False
        if not 0 <= at <= MOST_HEAD_BYTES:
            raise InvalidRequest(f"The head of a part has more than {MOST_HEAD_BYTES} bytes.", hint=_HINT)
        if len(self._parts) >= MOST_PARTS:
            raise InvalidRequest(f"The form has more than {MOST_PARTS} parts.", hint=_HINT)
        self._head = _head_of(bytes(self._held[2:at]))
        # Its last line's end stays: an empty part is followed by its delimiter at once.
        del self._held[: at + 2]
        self._body.clear()
        self._state = self._first_of_content
        return True

    def _first_of_content(self) -> bool:
        if self._held.startswith(self._delimiter):
            self._state = self._content
            return True
        if len(self._held) < len(self._delimiter) and self._delimiter.startswith(bytes(self._held)):
            return False
        del self._held[:2]
        self._state = self._content
        return True

    def _epilogue(self) -> bool:
        self._held.clear()
        return False

    def _check_size(self) -> None:
        if self._head is not None and len(self._body) > self._limit_of(self._head):
            raise self._too_large(self._head, self._limit_of(self._head))

    def _add_part(self) -> None:
        if self._head is not None:
            head = self._head
            self._parts.append(FormPart(head.name, bytes(self._body), head.filename, head.media_type))
        self._head = None
        self._body = bytearray()


def _head_of(lines: bytes) -> FormPart:
    """A part without its data. Raises InvalidRequest."""
    try:
        text = lines.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("The head of a part is not UTF-8.", hint=_HINT) from None
    headers: dict[str, str] = {}
    for line in filter(None, text.split("\r\n")):
        name, colon, value = line.partition(":")
        if not colon or name.strip().lower() in headers:
            raise InvalidRequest("The head of a part cannot be read.", hint=_HINT)
        headers[name.strip().lower()] = value.strip()
    disposition = headers.get("content-disposition", "")
    parameters = parameters_of(disposition)
    if disposition.partition(";")[0].strip().lower() != "form-data" or "name" not in parameters:
        raise InvalidRequest("A part of the form has no name.", hint=_HINT)
    encoding = headers.get("content-transfer-encoding", "binary").lower()
    if encoding not in PLAIN:
        raise InvalidRequest(f'The part is encoded as "{encoding[:60]}", which is not read here.', hint=_HINT)
    return FormPart(parameters["name"], b"", _filename(parameters), headers.get("content-type"))


def _filename(parameters: Mapping[str, str]) -> str | None:
    """Source: RFC 8187; some clients write names beyond ASCII so."""
    extended = parameters.get("filename*")
    if extended is None:
        return parameters.get("filename")
    charset, _, rest = extended.partition("'")
    if charset.lower() not in ("utf-8", "iso-8859-1"):
        return parameters.get("filename")
    return unquote_to_bytes(rest.partition("'")[2]).decode(charset, "replace")
