"""Waiting for jobs over HTTP: until one has ended, or for each of its events as server-sent events.

Both ask the one watch of this process. The invariant: a stream ends of itself only after the event of the job's end
or, without it, when the server shuts down; whoever comes back with the last id gets what follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from starlette.types import Scope

from waypost.codecs.sse import encode_event
from waypost.jobs.job import ENDED, Job
from waypost.jobs.kept import KeptJobs
from waypost.jobs.told import told_event
from waypost.server.envelope import envelope
from waypost.server.jsonwire import json_bytes
from waypost.server.lifecycle import Lifecycle
from waypost.server.live_reply import COMMENT, KEEP_ALIVE_S, LiveReply, Wire
from waypost.server.middleware.request_id import request_id_of

if TYPE_CHECKING:
    from waypost.jobs.job import JobEvent

LOOK_S: Final = 0.5
"""How soon those who wait see that the server shuts down."""


async def wait_for_end(jobs: KeptJobs, job: Job, within_s: float, lifecycle: Lifecycle) -> None:
    """Until the job has ended, the time is over, or the server shuts down. Raises UnknownJob."""
    ends_at = asyncio.get_running_loop().time() + within_s
    after, ended = job.last_event, job.has_ended
    while not ended and not lifecycle.draining:
        left_s = ends_at - asyncio.get_running_loop().time()
        if left_s <= 0:
            return
        events = await jobs.watch.wait(job.id, after, min(left_s, LOOK_S))
        if events:
            after, ended = events[-1].number, is_end(events)


def is_end(events: Sequence[JobEvent]) -> bool:
    """Is the last of them the job's end? After an earlier one it was retried."""
    return events[-1].name in ENDED


class JobEvents(LiveReply):
    """The events after one of them. The reader may leave: the job goes on."""

    def __init__(
        self, jobs: KeptJobs, job: Job, after: int, lifecycle: Lifecycle, *, keep_alive_s: float = KEEP_ALIVE_S
    ) -> None:
        super().__init__(lifecycle, keep_alive_s=keep_alive_s)
        self._jobs = jobs
        self._job = job
        self._after = after
        self._draining = lifecycle

    async def answer(self, wire: Wire) -> None:
        """Begin at once, tell what there is, then what comes."""
        await wire.send(COMMENT)
        events = await self._jobs.events(self._job.id, self._after)
        while True:
            if events:
                self._after = events[-1].number
                # More than one page of them may have been waiting: then the end is not the last one yet.
                ended = is_end(events) and not (self._job.has_ended and self._after < self._job.last_event)
                await wire.send(b"".join(encode_job_event(each) for each in events), last=ended)
                if ended:
                    return
            if self._draining.draining:
                await wire.send(b"", last=True)
                return
            events = await self._jobs.watch.wait(self._job.id, self._after, LOOK_S)

    def broken(self, error: Exception, scope: Scope) -> bytes:
        """The event `error`, without an id: it is not one of the job's."""
        return encode_event(json_bytes(envelope(error, request_id_of(scope))), event="error")


def encode_job_event(event: JobEvent) -> bytes:
    """One event as bytes; its id is its number."""
    return encode_event(json_bytes(told_event(event)), event=event.name, id=str(event.number))
