"""JSON at the border: what is read is sound for every later step, what is written is valid UTF-8.

Requests are read strictly (`parse_request`): a key given twice, a lone surrogate, NaN or deep nesting is refused, since
a provider might read such a body otherwise than we do; so is a body of more values than any real one has, whose reading
would hold up everyone else. Replies were paid for and are read leniently (`parse_reply`): a
lone surrogate becomes U+FFFD. The invariant: any bytes give a value or a JsonError, never another exception.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn, TypeVar, overload

import msgspec

from waypost.chat import Json

MAX_DEPTH: Final = 128
"""Arrays and objects within each other. Far under Python's recursion limit, so that no later step can hit that."""

MAX_VALUES: Final = 300_000
"""Values in a request's body. Long text and images cost next to nothing, as each is one value; but a list of a million
empty lists takes seconds, and Python's interpreter lock with it."""
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Target = TypeVar("Target")


class JsonError(ValueError):
    """The bytes are not the JSON that was expected; the message says what and where, without a full stop."""


def parse_request(body: bytes) -> Json:
    """The value of a caller's body. Raises JsonError."""
    if body.startswith(BYTE_ORDER_MARK):
        raise JsonError("it begins with a byte order mark, which must be left out")
    _check_count(body)
    try:
        value = _read_strictly(body.decode())
        if b"\\ud" in body or b"\\uD" in body:
            msgspec.json.decode(body)  # knows a lone surrogate, which `json` lets through
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} (line {error.lineno}, column {error.colno})") from error
    except UnicodeDecodeError as error:
        raise JsonError(f"it is not UTF-8 (byte {error.start})") from error
    except msgspec.DecodeError as error:
        raise JsonError("a \\u escape is half of a surrogate pair") from error
    except RecursionError as error:
        raise JsonError(_TOO_DEEP) from error
    except JsonError:
        raise
    except ValueError as error:
        raise JsonError("a number has too many digits") from error
    _check_depth(value, body)
    return value


@overload
def parse_reply(body: bytes) -> Json: ...
@overload
def parse_reply(body: bytes, decoder: msgspec.json.Decoder[Target]) -> Target: ...
def parse_reply(body: bytes, decoder: msgspec.json.Decoder[Any] | None = None) -> Any:
    """The value of a provider's reply or event, in the decoder's type if one is given. Raises JsonError."""
    try:
        value = msgspec.json.decode(body) if decoder is None else decoder.decode(body)
    except msgspec.ValidationError as error:
        raise JsonError(str(error)) from error
    except RecursionError as error:
        raise JsonError(_TOO_DEEP) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if b"\\ud" not in body and b"\\uD" not in body:
            raise JsonError(str(error)) from error
        value = _parse_repaired(body, decoder)
    if decoder is None:
        _check_depth(value, body)
    elif may_be_deep(body):
        parse_reply(body)
    return value


def may_be_deep(body: bytes) -> bool:
    """Has it enough brackets to be nested deeper than the limit?"""
    return len(body) > 2 * MAX_DEPTH and body.count(b"[") + body.count(b"{") > MAX_DEPTH


def _parse_repaired(body: bytes, decoder: msgspec.json.Decoder[Any] | None) -> Any:
    """The slow path for a reply with lone surrogates, which msgspec refuses."""
    try:
        value, _ = repair(json.loads(body.decode(), parse_float=_finite, parse_constant=_refuse))
        return value if decoder is None else msgspec.convert(value, decoder.type)
    except RecursionError as error:
        raise JsonError(_TOO_DEEP) from error
    except (ValueError, msgspec.ValidationError) as error:
        raise JsonError(str(error)) from error


def dump(value: Json) -> tuple[bytes, bool]:
    """The value as UTF-8 JSON, and whether text had to be repaired: lone surrogates become U+FFFD."""
    try:
        return msgspec.json.encode(value), False
    except UnicodeEncodeError:
        repaired, _ = repair(value)
        return msgspec.json.encode(repaired), True


def repair(value: Json) -> tuple[Json, bool]:
    """The value with every lone surrogate as U+FFFD (halves that meet become one character), and was there any?"""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), True
        return value, False
    if isinstance(value, dict):
        pairs = [(repair(key), repair(item)) for key, item in value.items()]
        return {key[0]: item[0] for key, item in pairs}, any(key[1] or item[1] for key, item in pairs)
    if isinstance(value, list | tuple):
        items = [repair(item) for item in value]
        return [item[0] for item in items], any(item[1] for item in items)
    return value, False


_TOO_DEEP = f"arrays and objects are nested deeper than the limit of {MAX_DEPTH}"


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonError(f"the key {twice[:100]!r} is given twice in one object")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonError(f"the number {text[:40]} is out of range")
    return number


def _refuse(name: str) -> NoReturn:
    raise JsonError(f"{name} is not a JSON number")


# Made once: `json.loads` with hooks builds a decoder for each call.
_STRICT: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse)


def _read_strictly(text: str) -> Any:
    """As the decoder's own, which looks for white space around the value first: most bodies have none."""
    if text.startswith("{"):
        value, end = _STRICT.raw_decode(text)
        if end == len(text):
            return value
    return _STRICT.decode(text)


def _check_count(body: bytes) -> None:
    """Counts what separates and opens values. Only calls on whole `bytes`, a few hundredths of a second for 20 MB."""
    if len(body) < MAX_VALUES or _separators(body) < MAX_VALUES:
        return
    # Some of those may stand in strings, which are every second piece between quotes once escaped ones are gone.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A value has at most two strings, its key and itself, of two quotes each: beyond that there is no need to split.
    if plain.count(b'"') > 4 * MAX_VALUES or _separators(b"".join(plain.split(b'"')[::2])) >= MAX_VALUES:
        raise JsonError(f"it has more values (members of objects, entries of lists) than the limit of {MAX_VALUES}")


def _separators(body: bytes) -> int:
    return sum(body.count(mark) for mark in (b",", b"[", b"{"))


def _check_depth(value: Json, body: bytes) -> None:
    if not may_be_deep(body):
        return
    layer: list[Json] = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not layer:
            return
    raise JsonError(_TOO_DEEP)
