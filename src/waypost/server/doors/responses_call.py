"""The ASGI applications at /v1/responses, and where its tokens are counted: requests may lean on stored answers.

A request that neither does nor has its own stored passes straight to its door, as all do where nothing is stored.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from waypost.codecs.openai_responses.retelling import Identity
from waypost.doors.going_on import Wish, going_on
from waypost.doors.keeping import Keeper, Keeping
from waypost.doors.responses import needs_storage, references_items
from waypost.ledger.stored_responses import StoredResponses
from waypost.providers.asked import Asked
from waypost.server.application import served_in
from waypost.server.body import off_loop_if_large, read_whole
from waypost.server.callers import caller_of
from waypost.server.doors.background_responses import answer_in_background, made_whole, shelf_of, wants_background
from waypost.server.doors.counts import COUNT_RESPONSES
from waypost.server.doors.inquiry import InquiryCall, members_of
from waypost.server.doors.keeping import KeepingSend
from waypost.server.doors.openai_responses import OPENAI_RESPONSES
from waypost.server.doors.serve import DoorCall
from waypost.server.ids import new_response_id

_DOOR: Final = DoorCall(OPENAI_RESPONSES)
_COUNT: Final = InquiryCall(COUNT_RESPONSES)


class ResponsesCall:
    """See DoorCall."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what went wrong before the first bytes of the answer."""
        try:
            body = await read_whole(receive)
        except ClientDisconnect:
            return
        asked = await off_loop_if_large(len(body), lambda: OPENAI_RESPONSES.read(scope, body))
        caller_of(scope).demand(asked.model)
        if asked.written is not None and wants_background(asked):
            await answer_in_background(asked, asked.written, scope, receive, send)
            return
        store = served_in(scope).stores.responses
        keeping = None if store is None else await _keeping(asked, store, scope)
        if keeping is None:
            await _DOOR.answer(asked, scope, receive, send)
        else:
            asked, kept = keeping
            await _DOOR.answer(asked, scope, receive, KeepingSend(send, kept))


async def _keeping(asked: Asked, store: StoredResponses, scope: Scope) -> tuple[Asked, Keeping] | None:
    """What to ask in the request's place, and what to do with the answer. None: nothing is or was to be stored."""
    written = asked.written
    if written is None:
        return None
    members = written.seen.members
    wish = Wish.of(members, by_default=store.by_default)
    if not wish.keeps and wish.previous is None and not references_items(members):
        return None
    made = await made_whole(asked, written, wish, store, scope)
    caller, signatures = caller_of(scope), served_in(scope).stores.signatures
    if signatures is not None:
        for known in made.signatures:
            signatures.put_back(caller.name, known)
    identity = Identity(new_response_id(), wish.previous, wish.keeps, wish.sealed)
    return made.asked, Keeping(Keeper(store, caller.account.project_id, caller.name, signatures), identity, made)


class ResponsesCountCall:
    """See InquiryCall. A prompt that leans on stored answers is counted whole."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what went wrong."""
        try:
            body = await read_whole(receive)
        except ClientDisconnect:
            return
        store = served_in(scope).stores.responses
        if store is not None and needs_storage(await off_loop_if_large(len(body), lambda: members_of(body))):
            body = await _whole_prompt(body, store, scope)
        message: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def receive_read() -> Message:
            nonlocal message
            first, message = message, None
            return await receive() if first is None else first

        await _COUNT(scope, receive_read, send)


async def _whole_prompt(body: bytes, store: StoredResponses, scope: Scope) -> bytes:
    asked = await off_loop_if_large(len(body), lambda: OPENAI_RESPONSES.read(scope, body))
    caller_of(scope).demand(asked.model)
    if asked.written is None:
        return body
    wish = Wish.of(asked.written.seen.members, by_default=False)
    made = await going_on(asked, asked.written, wish, shelf_of(scope, store))
    return body if made.asked.written is None else made.asked.written.body
