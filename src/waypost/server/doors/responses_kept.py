"""Stored answers by their ids: GET and DELETE /v1/responses/{id}, its input items, and the cancelling of what is over.

To any project but the one that stored it, an answer is not there. What is told is OpenAI's form, whoever answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from waypost.chat import Json
from waypost.codecs.jsonbytes import parse_reply
from waypost.codecs.openai_responses.continuing import items_of, listed, with_ids
from waypost.codecs.openai_responses.replay import replayed
from waypost.codecs.openai_responses.retelling import Identity, told_form, unsealed
from waypost.doors.background import told_of
from waypost.doors.turns import Turn
from waypost.errors import InvalidRequest, UnknownResponse, UnsupportedFeature
from waypost.jobs.job import Job
from waypost.ledger.stored_responses import PREVIOUS, StoredResponse, StoredResponses
from waypost.providers.stateless_responses import ENCRYPTED
from waypost.server.application import served_by
from waypost.server.body import off_loop_if_large
from waypost.server.callers import caller_of
from waypost.server.doors.background_responses import cancel_job, delete_both, find_both, stream_reply
from waypost.server.jsonwire import json_bytes
from waypost.server.live_reply import HEADERS as STREAM_HEADERS

DEFAULT_LIMIT: Final = 20
MOST_AT_ONCE: Final = 100
_ORDERS: Final = ("asc", "desc")
_FLAGS: Final = {"true": True, "false": False}


async def get_response(request: Request) -> Response:
    """GET /v1/responses/{id}, as JSON, or with `stream=true` as the events that tell it."""
    query = request.query_params
    as_stream, after = _flag(query, "stream"), _number(query, "starting_after")
    shows_seals = ENCRYPTED in _included(query)
    stored, job = await _found(request)
    if job is not None and (stored is not None or job.state != "succeeded"):
        if as_stream:
            return stream_reply(request.scope, job, after)
        if stored is None:
            return _json(json_bytes(told_of(job)))
    if stored is None:
        raise _not_found(request.path_params["id"])

    def told() -> bytes:
        turn = Turn.of(stored)
        identity = Identity(stored.id, stored.previous_response_id, sealed=turn.request.sealed or shows_seals)
        body = told_form(stored.response.encode(), identity, store=True)
        if not as_stream:
            return body
        if after is not None and turn.request.streamed:
            raise InvalidRequest(
                "This response was streamed, and the numbers of its events are not kept.",
                hint="Leave starting_after out: all of it comes again, in fewer events.",
                param="starting_after",
            )
        return b"".join(replayed(msgspec.json.decode(body), -1 if after is None else after))

    content = await off_loop_if_large(len(stored.response), told)
    if as_stream:
        return Response(content, media_type="text/event-stream", headers=dict(STREAM_HEADERS))
    return _json(content)


async def delete_response(request: Request) -> Response:
    """DELETE /v1/responses/{id}."""
    response_id = request.path_params["id"]
    _store(request)
    if not await delete_both(request.scope, response_id):
        raise _not_found(response_id)
    return _json(json_bytes({"id": response_id, "object": "response", "deleted": True}))


async def cancel_response(request: Request) -> Response:
    """POST /v1/responses/{id}/cancel: only what is made in the background can be cancelled, as often as one likes."""
    stored, job = await _found(request)
    if job is not None and (stored is not None or job.state != "succeeded"):
        return await cancel_job(request, job)
    if stored is None:
        raise _not_found(request.path_params["id"])
    raise InvalidRequest("Cannot cancel a synchronous response.", hint="To end one, close its connection.")


async def list_input_items(request: Request) -> Response:
    """GET /v1/responses/{id}/input_items: all that the answer was made from, earlier turns too, as far as stored."""
    page = _Page.of(request.query_params)
    shows_seals = ENCRYPTED in _included(request.query_params)
    response_id = request.path_params["id"]
    limit_bytes = served_by(request).settings.server.max_body_bytes
    turns = await _store(request).conversation(_project(request), response_id, limit_bytes, whole=False)
    own: Sequence[Json] | None = None
    if not turns:
        turns, own = await _unfinished(request, response_id, limit_bytes)

    def told() -> bytes:
        before = [Turn.of(each) for each in turns]
        items = [_shown(item, shows_seals) for item in (*_input_of(before, is_whole=own is not None), *(own or ()))]
        return msgspec.json.encode(page.of_items(items))

    size_bytes = sum(len(each.request) + len(each.response) for each in turns)
    return _json(await off_loop_if_large(size_bytes, told))


@dataclass(frozen=True, slots=True)
class _Page:
    """Which of the items a caller wants to see."""

    limit: int
    newest_first: bool
    after: str | None
    before: str | None

    @classmethod
    def of(cls, query: QueryParams) -> _Page:
        """Raises InvalidRequest."""
        limit = _number(query, "limit")
        if limit is not None and not 1 <= limit <= MOST_AT_ONCE:
            raise InvalidRequest(f"limit must be from 1 to {MOST_AT_ONCE}.", param="limit")
        order = query.get("order", "desc")
        if order not in _ORDERS:
            raise InvalidRequest(f"order must be one of {', '.join(_ORDERS)}.", param="order")
        return cls(limit or DEFAULT_LIMIT, order == "desc", query.get("after"), query.get("before"))

    def of_items(self, items: Sequence[dict[str, Any]]) -> dict[str, Json]:
        """The page, as OpenAI's lists are. Raises InvalidRequest if there is no such item to begin at."""
        ordered = list(reversed(items)) if self.newest_first else list(items)
        if self.after is not None:
            ordered = ordered[_place(ordered, self.after, "after") + 1 :]
        if self.before is not None:
            ordered = ordered[: _place(ordered, self.before, "before")]
        # Before an item, its neighbours are the page.
        from_end = self.before is not None and self.after is None
        shown = ordered[-self.limit :] if from_end else ordered[: self.limit]
        return {
            "object": "list",
            "data": shown,
            "first_id": shown[0].get("id") if shown else None,
            "last_id": shown[-1].get("id") if shown else None,
            "has_more": len(shown) < len(ordered),
        }


def _place(items: Sequence[dict[str, Any]], item_id: str, param: str) -> int:
    place = next((number for number, item in enumerate(items) if item.get("id") == item_id), None)
    if place is None:
        raise InvalidRequest(f"{param} names no item of this list.", param=param)
    return place


async def _unfinished(
    request: Request, response_id: str, limit_bytes: int
) -> tuple[Sequence[StoredResponse], Sequence[Json]]:
    """The turns before an answer that is not whole, and what was asked. Raises UnknownResponse if there is none."""
    _, job = await _found(request)
    jobs = served_by(request).jobs
    if job is None or jobs is None or job.state == "succeeded":
        raise _not_found(response_id)
    content = await jobs.content(job.id)
    members = parse_reply(b"{}" if content is None else content.data)
    previous = members.get(PREVIOUS)
    store, project_id = _store(request), _project(request)
    turns = await store.conversation(project_id, previous, limit_bytes, whole=False) if previous else ()
    return turns, with_ids(items_of(members.get("input")), response_id)


def _input_of(turns: Sequence[Turn], *, is_whole: bool) -> list[Json]:
    """What the last of the turns was made from; `is_whole`: and what it said."""
    if is_whole:
        return [item for turn in turns for item in (*turn.request.input, *turn.output)]
    *earlier, last = turns
    before = [item for turn in earlier for item in (*turn.request.input, *turn.output)]
    return [*before, *last.request.input]


def _shown(item: Json, shows_seals: bool) -> dict[str, Any]:
    shown = listed(item)
    return shown if shows_seals else unsealed(shown)


def _store(request: Request) -> StoredResponses:
    store = served_by(request).stores.responses
    if store is None:
        raise UnsupportedFeature(
            "No responses are stored here.", hint="Send the whole conversation in input of POST /v1/responses."
        )
    return store


async def _found(request: Request) -> tuple[StoredResponse | None, Job | None]:
    """The answer, and its job if it is, or was, made in the background. Raises UnknownResponse if there is neither."""
    _store(request)
    response_id = request.path_params["id"]
    stored, job = await find_both(request.scope, response_id)
    if stored is None and job is None:
        raise _not_found(response_id)
    return stored, job


def _not_found(response_id: str) -> UnknownResponse:
    return UnknownResponse(f"Response with id '{response_id[:100]}' not found.")


def _project(request: Request) -> str:
    return caller_of(request.scope).account.project_id


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


def _included(query: QueryParams) -> list[str]:
    """What of the answer the caller wants besides. SDKs write lists in several ways."""
    named = [value for name in ("include", "include[]") for value in query.getlist(name)]
    return [each for value in named for each in value.split(",")]


def _flag(query: QueryParams, name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in _FLAGS:
        raise InvalidRequest(f"{name} must be true or false.", param=name)
    return _FLAGS[value]


def _number(query: QueryParams, name: str) -> int | None:
    value = query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise InvalidRequest(f"{name} must be a whole number.", param=name)
    return int(value)
