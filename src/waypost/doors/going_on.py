"""A request that leans on stored answers, made whole: the turns before it, and the items that it only names.

What providers are asked says nothing of storing: that is done here. Nothing is answered here.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from waypost.chat import Json
from waypost.codecs.jsonbytes import dump
from waypost.codecs.openai_responses import codec
from waypost.codecs.openai_responses.continuing import completed, items_of, lost_thoughts, seals, wanted_ids
from waypost.doors.off_loop import off_loop_if_large
from waypost.doors.turns import Turn
from waypost.errors import BodyTooLarge, InvalidRequest, UnknownResponse
from waypost.ledger.stored_responses import PREVIOUS, StoredResponse, StoredResponses
from waypost.providers.asked import Asked, Written
from waypost.providers.stateless_responses import ENCRYPTED, STORE, StoredHere

THOUGHTS_LOST: Final = "input: reasoning without encrypted content was left out, since no stored answer has it"
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says of stored answers. `wanted` are the ids of items that it does not send whole."""

    keeps: bool
    previous: str | None
    sealed: bool
    """Does the caller ask for encrypted reasoning?"""
    wanted: frozenset[str]

    @classmethod
    def of(cls, members: Mapping[str, Json], *, by_default: bool) -> Wish:
        """Raises InvalidRequest."""
        store, previous, included = (members.get(name) for name in (STORE, PREVIOUS, "include"))
        if store is not None and type(store) is not bool:
            raise InvalidRequest("store must be true or false.", param=STORE)
        if previous is not None and type(previous) is not str:
            raise InvalidRequest(f"{PREVIOUS} must be the id of a response.", param=PREVIOUS)
        keeps = by_default if store is None else bool(store)
        sealed = isinstance(included, list) and ENCRYPTED in included
        return cls(keeps, previous, sealed, frozenset(wanted_ids(items_of(members.get("input")))))


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where one project's answers are stored. `provider_storage`: the names whose provider may store them too."""

    store: StoredResponses
    project_id: str
    max_bytes: int
    provider_storage: Container[str] = ()


@dataclass(frozen=True, slots=True)
class GoingOn:
    """The request as it is put to the gateway, and what of it is to be stored."""

    asked: Asked
    items: Sequence[Json]
    """This turn's input, whole."""
    sealed_by: Mapping[str, str] = field(default_factory=dict)
    """Whose encrypted reasoning is in this turn's input, by items."""
    signatures: Sequence[str] = ()
    """What the signature store knew of the calls of earlier turns."""
    warnings: tuple[str, ...] = ()


async def going_on(asked: Asked, written: Written, wish: Wish, shelf: Shelf) -> GoingOn:
    """The request made whole.

    Raises PreviousResponseUnknown, UnknownResponse for an item that is not there, BodyTooLarge, DatabaseUnavailable.
    """
    store, project_id, limit_bytes = shelf.store, shelf.project_id, shelf.max_bytes
    earlier: Sequence[StoredResponse] = ()
    if wish.previous is not None:
        earlier = await store.conversation(project_id, wish.previous, limit_bytes)
    owners = await store.with_items(project_id, wish.wanted) if wish.wanted else ()
    size_bytes = len(written.body) + sum(len(each.request) + len(each.response) for each in (*earlier, *owners))

    def made() -> GoingOn:
        whole = _Whole(written, wish, [Turn.of(each) for each in earlier], [Turn.of(each) for each in owners])
        return whole.going_on(asked, stored_there=wish.keeps and asked.model in shelf.provider_storage)

    found = await off_loop_if_large(size_bytes, made)
    if found.asked.size_bytes > limit_bytes:
        raise BodyTooLarge(
            f"The conversation is over the limit of {limit_bytes} bytes.",
            hint="Begin another one, with a summary of this one in input.",
            param=PREVIOUS,
        )
    return found


class _Whole:
    """One request with the turns before it, and the answers that have items which it names."""

    def __init__(self, written: Written, wish: Wish, earlier: Sequence[Turn], owners: Sequence[Turn]) -> None:
        self._written = written
        self._wish = wish
        self._earlier = earlier
        self._sent = items_of(written.seen.members.get("input"))
        self._known = {
            item_id: item for turn in owners for item_id, item in turn.items.items() if item_id in wish.wanted
        }
        self._items = completed(self._sent, self._known, _refuse_reference) if wish.wanted else self._sent
        self._sealed_by = {item: provider for turn in (*owners, *earlier) for item, provider in turn.sealed_by.items()}

    def going_on(self, asked: Asked, *, stored_there: bool) -> GoingOn:
        written = self._written
        members, body = self._members()
        sealed_by = self._sealers(items_of(members.get("input")))
        seen = msgspec.structs.replace(written.seen, members=members)
        here = StoredHere(written.wire, body, seen, written.headers, sealed_by, stored_there)
        lost = bool(self._wish.wanted) and lost_thoughts(self._sent, self._known)
        return GoingOn(
            Asked(asked.model, written=here, decode=lambda: codec.decode_request(body).request, stream=asked.stream),
            self._items,
            self._sealers(self._items),
            [each for turn in self._earlier if (each := turn.request.signatures) is not None],
            (THOUGHTS_LOST,) if lost else (),
        )

    def _members(self) -> tuple[dict[str, Json], bytes]:
        """What is asked, as values and as bytes: those that the caller sent, where nothing had to be added."""
        members = _without_storing(self._written.seen.members)
        said: dict[str, Any] = _without_storing(_MEMBERS.decode(self._written.body))
        if self._earlier or self._wish.wanted:
            members["input"] = [item for turn in self._earlier for item in turn.said] + list(self._items)
            said["input"] = msgspec.Raw(dump(members["input"])[0])
        return members, msgspec.json.encode(said)

    def _sealers(self, items: Sequence[Json]) -> dict[str, str]:
        return {item_id: self._sealed_by[item_id] for item_id in seals(items) if item_id in self._sealed_by}


def _without_storing(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in (STORE, PREVIOUS)}


def _refuse_reference(item_id: str) -> None:
    raise UnknownResponse(f"Item with id '{item_id}' not found.", param="input")
