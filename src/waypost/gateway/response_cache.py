"""Whole answers to requests that were asked before in the very same words, kept in this process's memory.

A route opts in, and by that says that one answer is as good as another, whatever the temperature. The invariant: only
answers with status 200 that the provider finished are kept, and a tenant sees none but its own.

"The same words" means: the same tenant, route, wire format and `stream`, and the same body but for white space between
tokens, the order of the top-level members, the name in `model`, which only leads to the route, and the members in
`VOLATILE`. The order of members further down stays
significant: models write structured output in the order of the schema. Two identical requests at one time are both
sent; this is a cache, not a queue.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

CACHE_HEADER: Final = b"x-waypost-cache"
MISS: Final = (CACHE_HEADER, b"miss")
_HIT: Final = (CACHE_HEADER, b"hit")

_WHO_ASKS: Final = frozenset({"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})
VOLATILE: Final[Mapping[str, frozenset[str]]] = {
    "openai_chat": _WHO_ASKS | {"metadata"},
    # This format's answers repeat these members; one end user must not be told another's.
    "openai_responses": frozenset(),
    "anthropic_messages": frozenset({"metadata"}),
    "gemini": frozenset({"labels"}),
}
"""Members that say who asks or how it is booked, not what is asked, by wire format. Any other format: none."""
_MODEL: Final = "model"
STORED: Final = "store"
"""Where this member is true the provider keeps the answer, with its metadata: nothing is volatile then."""

KEPT_HEADERS: Final = frozenset({
    b"content-type",
    b"content-length",
    b"content-encoding",
    b"cache-control",
    b"x-accel-buffering",
    b"x-waypost-provider",
    b"x-waypost-model",
    b"x-waypost-warnings",
})  # fmt: skip
"""Headers that belong to an answer. Others belong to the one request: its id, its attempts, its cost, its limits."""

_ENTRY_BYTES: Final = 512
"""What an entry weighs besides its answer, roughly."""
_SHARE_OF_ONE_ANSWER: Final = 8


def cache_key(
    tenant: str, route: str, wire_format: str, *, stream: bool, body: bytes, also: Sequence[str] = ()
) -> bytes | None:
    """What two requests must have in common to share an answer: 32 bytes. None if the body is no JSON object.

    `route` is what the request's model leads to, so that an alias shares its answers. `also` is all else that an answer
    depends on: a method in the path, the query, headers that are passed on.
    The body must have been read strictly before: of a member that stands there twice, the last one counts here.
    """
    try:
        members = msgspec.json.decode(msgspec.json.format(body, indent=-1), type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return None
    stored = members.get(STORED)
    left_out = (
        frozenset() if stored is not None and bytes(stored) == b"true" else VOLATILE.get(wire_format, frozenset())
    )
    digest = hashlib.sha256()
    for piece in (tenant, route, wire_format, "stream" if stream else "whole", str(len(also)), *also):
        _add(digest, piece.encode())
    for name in sorted(members):
        if name not in left_out and name != _MODEL:
            _add(digest, name.encode())
            _add(digest, bytes(members[name]))
    return digest.digest()


def _add(digest: hashlib._Hash, piece: bytes) -> None:
    # With its length, so that no two lists of pieces give the same bytes.
    digest.update(len(piece).to_bytes(8, "big"))
    digest.update(piece)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request's Cache-Control says: may a kept answer be used, how old may it be, may the new one be kept?"""

    reads: bool = True
    writes: bool = True
    max_age_s: float | None = None


def wish_of(cache_control: str | None) -> Wish:
    """Directives this does not know, or cannot read, say nothing. Source: RFC 9111, 5.2.1."""
    directives = {}
    for directive in (cache_control or "").lower().split(","):
        name, _, value = directive.strip().partition("=")
        directives[name.strip()] = value.strip().strip('"')
    age = directives.get("max-age", "")
    return Wish(
        reads=not directives.keys() & {"no-store", "no-cache"},
        writes="no-store" not in directives,
        # Fifteen digits are thirty million years, and more would only be slow to read.
        max_age_s=float(age) if age.isascii() and age.isdigit() and len(age) <= 15 else None,
    )


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that was kept: status 200, these headers (hit and age among them), this body, a stream's as well."""

    headers: Headers
    body: bytes
    age_s: float


@dataclass(frozen=True, slots=True)
class _Kept:
    headers: Headers
    body: bytes
    since_s: float
    until_s: float
    size_bytes: int


class Recording:
    """Takes an answer as it is sent. It is kept if `finish` says that it is complete, and else forgotten."""

    def __init__(self, cache: ResponseCache, key: bytes, ttl_s: float) -> None:
        self._cache = cache
        self._key = key
        self._ttl_s = ttl_s
        self._headers: Headers | None = None
        self._chunks: list[bytes] = []
        self._size_bytes = 0

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """The head of the reply. Only status 200 goes on being recorded."""
        if status == 200:
            self._headers = tuple((name, value) for name, value in headers if name.lower() in KEPT_HEADERS)

    def append(self, data: bytes) -> None:
        """The next bytes of the body. More than may be kept is not held."""
        if self._headers is None:
            return
        self._size_bytes += len(data)
        if self._size_bytes > self._cache.max_answer_bytes:
            self._headers, self._chunks = None, []
        else:
            self._chunks.append(data)

    def finish(self, *, complete: bool) -> bool:
        """The end. `complete`: the provider said that it was finished. True if the answer was kept."""
        headers, self._headers = self._headers, None
        if headers is None or not complete:
            return False
        return self._cache.keep(self._key, headers, b"".join(self._chunks), self._ttl_s)


class ResponseCache:
    """Answers in at most `max_bytes`; the least recently used go first. `clock` is in seconds.

    One answer may have `max_answer_bytes` (an eighth of all, if not given).
    """

    def __init__(
        self, max_bytes: int, clock: Callable[[], float] = time.monotonic, *, max_answer_bytes: int | None = None
    ) -> None:
        self.max_answer_bytes = max_answer_bytes or max_bytes // _SHARE_OF_ONE_ANSWER
        self.size_bytes = 0
        """What all answers weigh, roughly."""
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def look_up(self, key: bytes, *, max_age_s: float | None = None) -> Hit | None:
        """The answer that is kept under this key, if it is not too old for the route nor for the caller."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock() >= kept.until_s:
            self._drop(key)
            return None
        age_s = self._clock() - kept.since_s
        if max_age_s is not None and age_s > max_age_s:
            return None
        self._kept.move_to_end(key)
        return Hit((*kept.headers, _HIT, (b"age", str(int(age_s)).encode())), kept.body, age_s)

    def record(self, key: bytes, ttl_s: float) -> Recording:
        """Begin to record an answer that may be told again for `ttl_s` seconds."""
        return Recording(self, key, ttl_s)

    def keep(self, key: bytes, headers: Headers, body: bytes, ttl_s: float) -> bool:
        """Keep a complete answer with status 200. False if it is too large."""
        size_bytes = _ENTRY_BYTES + len(body) + sum(len(name) + len(value) for name, value in headers)
        if len(body) > self.max_answer_bytes or size_bytes > self._max_bytes:
            return False
        if key in self._kept:
            self._drop(key)
        now_s = self._clock()
        self._kept[key] = _Kept(headers, body, now_s, now_s + ttl_s, size_bytes)
        self.size_bytes += size_bytes
        while self.size_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))
        return True

    def clear(self) -> None:
        """Forget every answer."""
        self._kept.clear()
        self.size_bytes = 0

    def _drop(self, key: bytes) -> None:
        self.size_bytes -= self._kept.pop(key).size_bytes
