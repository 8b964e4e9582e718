"""A response as the caller of a gateway that stores it gets it: under the gateway's id, and that of the one before it.

Whoever answered has another id for it, if any, and was asked for encrypted reasoning that the caller may not have asked
for. Works on bytes, whoever wrote them: all that is not named here keeps its own. Storing is not done here, no I/O is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from waypost.codecs.jsonbytes import dump, parse_reply
from waypost.codecs.sse import Frame, SseDecoder, encode_event

Members = dict[str, Any]
"""A JSON object whose values are bytes as they came, or new values."""
SEAL: Final = "encrypted_content"
TERMINAL: Final = frozenset({"response.completed", "response.incomplete"})
"""Events after which there is an answer that can be stored."""
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MARKS: Final = (b'"response"', b'"item"')
"""An event without one of these is not changed. Within a JSON string the quotes would be escaped."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What is told of an answer. `store`: is it to be stored? `sealed`: does its caller get encrypted reasoning?

    `background`: is it made in the background, whatever its provider says?
    """

    id: str
    previous_response_id: str | None
    store: bool = True
    sealed: bool = False
    background: bool = False


class Ending(NamedTuple):
    """The event that ends a stream, not told yet, and its response with all that is to be stored."""

    kind: str
    event: Members
    response: bytes


def stored_form(response: bytes, identity: Identity) -> bytes:
    """The response as it is stored: said to be, and with its encrypted reasoning."""
    members = _identified(members_of(response), identity, store=True)
    return msgspec.json.encode(members)


def told_form(response: bytes, identity: Identity, *, store: bool) -> bytes:
    """The response as the caller gets it. `store`: is it stored?"""
    members = _identified(members_of(response), identity, store=store)
    return msgspec.json.encode(members if identity.sealed else without_seals(members))


class Retelling:
    """One stream, retold."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._decoder = SseDecoder()

    def feed(self, raw: bytes) -> Iterator[bytes | Ending]:
        """What to tell, in order. An Ending is to be told with `ended`, once it is known whether it is stored."""
        whole = self._decoder.between_events and raw.endswith(b"\n\n")
        if whole and not any(mark in raw for mark in _MARKS):
            yield raw
            return
        passed: list[bytes] = []
        for frame in self._decoder.frames(raw):
            retold = self._retold(frame)
            if isinstance(retold, Ending):
                yield b"".join(passed)
                yield retold
                passed = []
            else:
                passed.append(retold)
        yield b"".join(passed)

    def ended(self, ending: Ending, *, store: bool) -> bytes:
        """The event that ends the stream. `store`: is the answer stored?"""
        response = msgspec.Raw(told_form(ending.response, self._identity, store=store))
        return _event(ending.kind, {**ending.event, "response": response})

    def _retold(self, frame: Frame) -> bytes | Ending:
        if frame.event is None or not any(mark in frame.event.data for mark in _MARKS):
            return frame.raw
        members: Members = members_of(frame.event.data)
        kind = frame.event.event or _text(members.get("type"))
        if "item" in members and not self._identity.sealed:
            members["item"] = _unsealed(members["item"])
        if "response" not in members:
            return _event(kind, members)
        if kind in TERMINAL:
            return Ending(kind, members, stored_form(bytes(members["response"]), self._identity))
        # What failed is not stored; what has only begun is told as it is wished.
        store = self._identity.store and kind != "response.failed"
        members["response"] = msgspec.Raw(told_form(bytes(members["response"]), self._identity, store=store))
        return _event(kind, members)


def members_of(body: bytes) -> Members:
    """The object's members, each as its bytes. Raises JsonError."""
    try:
        return dict(_MEMBERS.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return dict(_MEMBERS.decode(dump(parse_reply(body))[0]))


def without_seals(response: Members) -> Members:
    """The response without encrypted reasoning."""
    output = response.get("output")
    if not isinstance(output, msgspec.Raw) or SEAL.encode() not in bytes(output):
        return response
    return {**response, "output": [_unsealed(item) for item in _LIST.decode(output)]}


def unsealed(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item, as values, without encrypted reasoning."""
    is_thought = item.get("type") == "reasoning"
    return {name: value for name, value in item.items() if not (is_thought and name == SEAL)}


def _unsealed(item: msgspec.Raw) -> msgspec.Raw | Members:
    if SEAL.encode() not in bytes(item):
        return item
    members: Members = members_of(bytes(item))
    if _text(members.get("type")) == "reasoning":
        members.pop(SEAL, None)
    return members


def _identified(response: Members, identity: Identity, *, store: bool) -> Members:
    told = {"id": identity.id, "previous_response_id": identity.previous_response_id, "store": store}
    return {**response, **told, **({"background": True} if identity.background else {})}


def _event(kind: str, members: Mapping[str, Any]) -> bytes:
    return encode_event(msgspec.json.encode(members), event=kind)


def _text(value: msgspec.Raw | None) -> str:
    found = None if value is None else msgspec.json.decode(value)
    return found if isinstance(found, str) else ""
