"""POST /api/ai/generate with `background: true`: taken on as a job, whose stream can be read from any server.

The invariants: what is answered with an id is in the database; a stream that begins anew says so, by the event
`restart`, before it tells anything again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from waypost.doors.background import GENERATE, job_id_in, response_id_of, storable
from waypost.doors.envelope import envelope
from waypost.doors.telling import Told as OneTold
from waypost.errors import AnswerCancelled, InvalidRequest, JobHasEnded, StreamExpired, StreamRestarted, UnknownJob
from waypost.gateway.idempotency import KEY_HEADER, checked_key
from waypost.gateway.resume import BEFORE_FIRST, LAST_EVENT_ID, event_id, number_after
from waypost.jobs.job import Job, NewJob
from waypost.jobs.reading import StreamReading, Told
from waypost.jobs.stream import last_group
from waypost.manager.arguments import to_request
from waypost.providers.asked import Asked
from waypost.server.analyze import JOBS, demand_budget, demand_jobs
from waypost.server.application import lifecycle_of, served_by
from waypost.server.callers import caller_of
from waypost.server.durable_reply import DurableReply
from waypost.server.job_stream import JobStreamReply
from waypost.server.jsonwire import json_bytes
from waypost.server.middleware.headers import header_value
from waypost.server.middleware.tags import TAGS, tags_in
from waypost.server.models import AIRequest
from waypost.server.runs import RESPONSE_ID
from waypost.server.stream import encode_told, error_event

STREAMS: Final = "/api/ai/responses"
NO_STORE: Final = {"cache-control": "no-store"}
NOT_IN_DONE: Final = frozenset({"content", "reasoning", "refusal"})
"""Members of the whole answer that a stream tells piece by piece."""


async def begin_in_background(request: Request, asked: AIRequest) -> Response:
    """Take it on, and tell that, or tell its stream. Raises what is wrong with it; then nothing is there of it."""
    served, scope = served_by(request), request.scope
    jobs, account = demand_jobs(served), caller_of(scope).account
    arguments = asked.arguments()
    served.gateway.demand_able(Asked.of(to_request(asked.prompt, arguments)))
    await demand_budget(served, account, asked.user)
    key = header_value(scope, KEY_HEADER.encode())
    new = NewJob(
        GENERATE,
        account.project_id,
        account.key_id,
        storable({"prompt": asked.prompt, **arguments, "events": True}),
        end_user=asked.user,
        idempotency=None if key is None else checked_key(key),
        tags=tags_in(header_value(scope, TAGS)),
    )
    job = (await jobs.create(new)).job
    return DurableReply(job_stream(request, job, None) if asked.stream else _accepted(job))


def _accepted(job: Job) -> Response:
    url, answer_id = f"{JOBS}/{job.id}", response_id_of(job.id)
    body = {
        "job_id": job.id,
        "response_id": answer_id,
        "message": "The answer is made in the background",
        "status": job.state if job.has_ended else "processing",
        "url": url,
        "events_url": f"{STREAMS}/{answer_id}/events",
    }
    headers = {**NO_STORE, "location": url, RESPONSE_ID: answer_id}
    return Response(json_bytes(body), 202, headers, "application/json")


async def job_of_stream(request: Request, stream_id: str) -> Job | None:
    """The job of this project whose stream has that id, if there is one. Raises DatabaseUnavailable."""
    jobs, job_id = served_by(request).jobs, job_id_in(stream_id)
    if jobs is None or job_id is None:
        return None
    try:
        job = await jobs.find(caller_of(request.scope).account.project_id, job_id)
    except UnknownJob:
        return None
    return job if job.type == GENERATE else None


async def events_of(request: Request, job: Job) -> Response:
    """The events after the one that Last-Event-ID names, or all. 204: there are none any more."""
    if not job.request.get("events"):
        raise InvalidRequest("The answer of this job is not told as a stream.", hint=f"It is at {JOBS}/{job.id}.")
    number = number_after(response_id_of(job.id), request.headers.get(LAST_EVENT_ID))
    if number == BEFORE_FIRST:
        return job_stream(request, job, None)
    if job.has_ended and number >= await _end_number(request, job.id):
        return Response(status_code=204, headers=NO_STORE)
    return job_stream(request, job, number)


async def _end_number(request: Request, job_id: str) -> int:
    """The number of the event that told, or tells, the job's end."""
    threads = served_by(request).stores.threads
    last = None if threads is None else await threads.read(lambda connection, _: last_group(connection, job_id))
    return 0 if last is None else last.next + last.is_cut


def job_stream(request: Request, job: Job, after: int | None) -> Response:
    """The stream as a reply. Call it in the event loop."""
    served, lifecycle = served_by(request), lifecycle_of(request)
    jobs, threads = demand_jobs(served), served.stores.threads
    if threads is None:
        raise UnknownJob("There is no such job.")
    reading = StreamReading(jobs, threads, job.id, after=after, shuts_down=lambda: lifecycle.draining)
    reply = JobStreamReply(reading, GenerateGrammar(job, after), lifecycle)
    reply.headers[RESPONSE_ID] = response_id_of(job.id)
    return reply


async def cancel_stream(request: Request, job: Job) -> None:
    """End it. One that has ended stays. Raises DatabaseUnavailable."""
    try:
        await demand_jobs(served_by(request)).cancel(job.project_id, job.id)
    except JobHasEnded:
        return


class GenerateGrammar:
    """Implements StreamGrammar: the events of `/api/ai/generate`, and `restart` where an answer begins anew."""

    goes_on = True

    def __init__(self, job: Job, after: int | None) -> None:
        self._id = response_id_of(job.id)
        self._after = BEFORE_FIRST if after is None else after

    def prelude(self, numbers: range) -> bytes:  # noqa: ARG002 - there is none
        """Nothing."""
        return b""

    def told(self, told: Told) -> bytes:
        """Events."""
        return b"".join(self._event(name, data, told.number + place) for place, (name, data) in enumerate(told.events))

    def restarted(self, number: int) -> bytes:
        """All that came before is to be forgotten."""
        error = StreamRestarted("The answer is begun anew.", hint="Forget what came of it before.")
        return self._event("restart", {"code": error.code, "message": error.message, "hint": error.hint}, number)

    def cut(self, number: int, request_id: str) -> bytes:
        """An error."""
        error = StreamExpired("The stream is longer than what is kept of it.", hint="The job has the whole answer.")
        return self._event("error", envelope(error, request_id), number)

    async def ended(self, number: int, job: Job, request_id: str) -> bytes:
        """`done` or `error`."""
        return b"" if number <= self._after else self._event(*self._ending(job, request_id), number)

    def _ending(self, job: Job, request_id: str) -> tuple[str, Mapping[str, Any]]:
        if job.state == "cancelled":
            return "error", envelope(AnswerCancelled("The answer was cancelled."), request_id)
        if job.state == "failed":
            return "error", {"error": {**(job.error or {}), "request_id": request_id}}
        result = {} if job.result is None else msgspec.json.decode(job.result)
        return "done", {name: value for name, value in result.items() if name not in NOT_IN_DONE}

    def broken(self, error: Exception, request_id: str) -> bytes:
        """The event `error`, without an id: it is none of the stream's."""
        return encode_told(error_event(error, request_id))

    def _event(self, name: str, data: Mapping[str, Any], number: int) -> bytes:
        return encode_told(OneTold(name, dict(data)), event_id(self._id, number))
