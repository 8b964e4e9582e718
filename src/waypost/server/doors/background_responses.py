"""POST /v1/responses with `background: true`: taken on as a job, and told as OpenAI tells such answers.

The invariants: what is answered with an id is in the database; a stream's events have the same numbers for every
reader, at whichever server; what was told of an answer that began anew is never gone on with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from waypost.chat import Json
from waypost.codecs.openai_responses.errors import error_event
from waypost.codecs.openai_responses.replay import events_of
from waypost.codecs.openai_responses.retelling import Identity, told_form
from waypost.codecs.openai_responses.telling_events import numbered
from waypost.doors.background import BACKGROUND, PRELUDE, RESPONSE, head_of, job_id_of, response_id_of, told_of
from waypost.doors.going_on import GoingOn, Shelf, Wish, going_on
from waypost.doors.turns import Turn
from waypost.errors import (
    AnswerCancelled,
    InvalidRequest,
    JobHasEnded,
    JobNotEnded,
    PreviousResponseUnknown,
    StreamExpired,
    StreamRestarted,
    UnknownResponse,
    UnsupportedFeature,
)
from waypost.gateway.idempotency import KEY_HEADER, checked_key
from waypost.jobs.job import Input, Job, NewJob
from waypost.jobs.reading import StreamReading, Told
from waypost.ledger.stored_responses import PREVIOUS, StoredResponse, StoredResponses
from waypost.providers.asked import Asked, Written
from waypost.server.analyze import demand_budget, demand_jobs
from waypost.server.application import lifecycle_in, served_in
from waypost.server.callers import caller_of
from waypost.server.doors.errors import told_error
from waypost.server.durable_reply import DurableReply
from waypost.server.job_events import wait_for_end
from waypost.server.job_stream import JobStreamReply
from waypost.server.jsonwire import json_bytes
from waypost.server.middleware.headers import header_value
from waypost.server.middleware.tags import TAGS, tags_in

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.store.database import Database

CANCELLED_WITHIN_S: Final = 3.0
"""How long a cancelling waits for the worker to have heeded it; it takes less than two seconds."""


def wants_background(asked: Asked) -> bool:
    """Is the answer not waited for? Raises InvalidRequest."""
    wish = None if asked.written is None else asked.written.seen.members.get(BACKGROUND)
    if wish is not None and type(wish) is not bool:
        raise InvalidRequest("background must be true or false.", param=BACKGROUND)
    return bool(wish)


async def answer_in_background(asked: Asked, written: Written, scope: Scope, receive: Receive, send: Send) -> None:
    """Take it on, and tell that, or tell its stream. Raises what is wrong with it; then nothing is there of it."""
    served = served_in(scope)
    jobs, store = demand_jobs(served), served.stores.responses
    if store is None:
        raise UnsupportedFeature(
            "background needs a server that stores answers, and none are stored here.",
            hint="Leave it out: the answer comes with the reply, whole or as a stream.",
            param=BACKGROUND,
        )
    new = await _new_job(asked, written, scope, store)
    created = await jobs.create(new)
    if asked.stream:
        reply: Response = stream_reply(scope, created.job, None)
    else:
        reply = json_reply(await told_now(scope, created.job))
    await DurableReply(reply)(scope, receive, send)


async def _new_job(asked: Asked, written: Written, scope: Scope, store: StoredResponses) -> NewJob:
    served, caller = served_in(scope), caller_of(scope)
    wish = Wish.of(written.seen.members, by_default=store.by_default)
    if not wish.keeps:
        raise InvalidRequest(
            "An answer that is made in the background has to be stored.",
            hint="Send store: true, or leave background out.",
            param=BACKGROUND,
        )
    made = await made_whole(asked, written, wish, store, scope)
    served.gateway.demand_able(made.asked)
    end_user = _text(written.seen.members, "safety_identifier") or _text(written.seen.members, "user")
    await demand_budget(served, caller.account, end_user)
    key = header_value(scope, KEY_HEADER.encode())
    return NewJob(
        RESPONSE,
        caller.account.project_id,
        caller.account.key_id,
        {"model": asked.model, "stream": asked.stream, "headers": dict(written.headers), "response": head_of(asked)},
        Input(written.body, "application/json"),
        end_user=end_user,
        idempotency=None if key is None else checked_key(key),
        tags=tags_in(header_value(scope, TAGS)),
    )


def shelf_of(scope: Scope, store: StoredResponses) -> Shelf:
    """Where the caller's answers are."""
    served, project_id = served_in(scope), caller_of(scope).account.project_id
    return Shelf(store, project_id, served.settings.server.max_body_bytes, served.stores.provider_storage)


async def made_whole(asked: Asked, written: Written, wish: Wish, store: StoredResponses, scope: Scope) -> GoingOn:
    """See `going_on`. Raises as it does; for an answer that is still made, or never came to its end, it says so."""
    try:
        return await going_on(asked, written, wish, shelf_of(scope, store))
    except PreviousResponseUnknown:
        _, job = (None, None) if wish.previous is None else await find_both(scope, wish.previous)
        if job is None or job.state == "succeeded":
            raise
        status = told_of(job)["status"]
        raise PreviousResponseUnknown(
            f"Previous response with id '{wish.previous}' is {status}.",
            hint="" if job.has_ended else "Go on from it when it is completed.",
            param=PREVIOUS,
        ) from None


async def find_both(scope: Scope, response_id: str) -> tuple[StoredResponse | None, Job | None]:
    """The answer, if it is stored, and the job that made it, or is to make it. Raises DatabaseUnavailable."""
    project_id, job_id = caller_of(scope).account.project_id, job_id_of(response_id)
    served = served_in(scope)
    store, threads = served.stores.responses, served.stores.threads
    if store is None or threads is None:
        return None, None
    now_ms = store.now_ms

    def find(connection: Connection, _: Database) -> tuple[StoredResponse | None, Job | None]:
        from waypost.jobs import rows as jobs
        from waypost.ledger import response_rows as rows

        stored = next(iter(rows.find(connection, project_id, [response_id], now_ms)), None)
        job = None if job_id is None else jobs.found(connection, project_id, job_id)
        return stored, job if job is not None and job.type == RESPONSE else None

    return await threads.read(find)


async def told_now(scope: Scope, job: Job) -> bytes:
    """The response as it is. Raises UnknownResponse if it was whole once and is not stored any more."""
    if job.state != "succeeded":
        return json_bytes(told_of(job))
    response_id = response_id_of(job.id)
    stored, _ = await find_both(scope, response_id)
    if stored is None:
        raise UnknownResponse(f"Response with id '{response_id}' not found.")
    return told_whole(stored)


def told_whole(stored: StoredResponse, *, shows_seals: bool = False) -> bytes:
    """A stored answer as its caller gets it."""
    sealed = Turn.of(stored).request.sealed or shows_seals
    identity = Identity(stored.id, stored.previous_response_id, sealed=sealed)
    return told_form(stored.response.encode(), identity, store=True)


async def cancel_job(request: Request, job: Job) -> Response:
    """End it, and tell what it is then. One that has ended is told as it is."""
    served, lifecycle = served_in(request.scope), lifecycle_in(request.scope)
    jobs = demand_jobs(served)
    try:
        asked = await jobs.cancel(job.project_id, job.id)
    except JobHasEnded:
        asked = job
    if not asked.has_ended:
        await wait_for_end(jobs, asked, CANCELLED_WITHIN_S, lifecycle)
    return json_reply(await told_now(request.scope, await jobs.find(job.project_id, job.id)))


async def delete_both(scope: Scope, response_id: str) -> bool:
    """Delete the answer and its job. Was there anything? Raises JobNotEnded, DatabaseUnavailable."""
    project_id, job_id = caller_of(scope).account.project_id, job_id_of(response_id)
    served = served_in(scope)
    store, threads = served.stores.responses, served.stores.threads
    if store is None or threads is None:
        return False
    now_ms = store.now_ms

    def delete(connection: Connection, _: Database) -> bool:
        from waypost.jobs import rows as jobs
        from waypost.ledger import response_rows as rows

        job = None if job_id is None else jobs.found(connection, project_id, job_id)
        known = rows.delete(connection, project_id, response_id, now_ms)
        if job is None or job.type != RESPONSE:
            return known
        if not job.has_ended:
            raise JobNotEnded(f"The response is {told_of(job)['status']}.", hint="Cancel it first.")
        jobs.remove(connection, project_id, job.id)
        # What is stored no more has been deleted, or its time is over: for its caller it was not there.
        return known or job.state != "succeeded"

    return await threads.write(delete)


def stream_reply(scope: Scope, job: Job, after: int | None) -> JobStreamReply:
    """The events after the one with that number, or all. Call it in the event loop."""
    served, lifecycle = served_in(scope), lifecycle_in(scope)
    jobs, threads = demand_jobs(served), served.stores.threads
    if threads is None:
        raise UnsupportedFeature("No responses are stored here.")
    reading = StreamReading(jobs, threads, job.id, prelude=PRELUDE, after=after, shuts_down=lambda: lifecycle.draining)
    return JobStreamReply(reading, ResponsesGrammar(scope, job, after), lifecycle)


class ResponsesGrammar:
    """Implements StreamGrammar: OpenAI's events, each with a number. A stream cannot begin anew within itself."""

    goes_on = False

    def __init__(self, scope: Scope, job: Job, after: int | None) -> None:
        self._scope = scope
        self._job = job
        self._after = -1 if after is None else after
        self._last = self._after

    def prelude(self, numbers: range) -> bytes:
        """That the response was created, and that it is queued."""
        queued = {**told_of(self._job), "status": "queued", "error": None, "output": []}
        kinds = ("response.created", "response.queued")
        return b"".join(self._event(kinds[number], {"response": queued}, number) for number in numbers)

    def told(self, told: Told) -> bytes:
        """Events."""
        numbers = range(told.number, told.number + len(told.events))
        return b"".join(self._event(*event, number) for event, number in zip(told.events, numbers, strict=True))

    def restarted(self, number: int) -> bytes:
        """An error: who read so far has nothing that could be gone on with."""
        error = StreamRestarted(
            "The answer was begun anew: what came of it before is void.",
            hint=f"Read it again, without starting_after or with starting_after={number}.",
        )
        return self._event("error", error_event(error), number)

    def cut(self, number: int, request_id: str) -> bytes:  # noqa: ARG002 - this format has no place for it
        """An error."""
        error = StreamExpired("The stream is longer than what is kept of it.", hint="Fetch the response at its end.")
        return self._event("error", error_event(error), number)

    async def ended(self, number: int, job: Job, request_id: str) -> bytes:  # noqa: ARG002 - as above
        """The terminal event; before it, all that was not told before since nobody wanted a stream."""
        told = [
            self._event(kind, members, number + place)
            for place, (kind, members) in enumerate(await self._ending(job))
            if number + place > self._after
        ]
        return b"".join(told)

    async def _ending(self, job: Job) -> list[tuple[str, Mapping[str, Json]]]:
        if job.state == "cancelled":
            return [("error", error_event(AnswerCancelled("The response was cancelled.")))]
        response: dict[str, Any] = msgspec.json.decode(await told_now(self._scope, job))
        if job.state == "succeeded" and not job.request.get("stream"):
            return [each for each in events_of(response) if each[0] != "response.created"]
        return [(f"response.{response['status']}", {"response": response})]

    def broken(self, error: Exception, request_id: str) -> bytes:
        """An error with the number of the last event, so that who counts them can go on after it."""
        return numbered("error", error_event(told_error(error, request_id)), max(self._last, 0))

    def _event(self, kind: str, members: Mapping[str, Json], number: int) -> bytes:
        self._last = number
        return numbered(kind, members, number)


def json_reply(body: bytes) -> Response:
    """A response."""
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


def _text(members: Mapping[str, Json], name: str) -> str | None:
    value = members.get(name)
    return value[:200] if isinstance(value, str) and value else None
