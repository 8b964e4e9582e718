"""What a type of job is done by, and what it is given to do it with. Protocols and values; `jobs.running` runs them.

The invariant: a step that has come to its end is never done again, however often its job is begun anew. All that costs
or is seen outside belongs into a step; what a body does between its steps may be done several times.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from waypost.jobs.job import Cost, Input, Job, JobEnd

LONGEST_STEP_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class StepDone:
    """What came of a step. `result` is JSON data, and what every later call of the step gives.

    `cost` is what its calls came to, counted once in the job's; `request_id` leads to them in the request log.
    """

    result: Any
    cost: Cost = field(default_factory=Cost)
    request_id: str | None = None


class JobContext(Protocol):
    """One job, as its body sees it. Whatever is awaited here waits while the database is away, and is then done."""

    @property
    def job(self) -> Job:
        """The job, as it was when it was begun."""

    async def input(self) -> Input | None:
        """Its content, if it has one."""

    async def step(self, name: str, work: Callable[[], Awaitable[StepDone]]) -> Any:
        """What the job's step of this name gives: `work` is done unless it has come to its end before.

        Names are the job's own, of at most 128 characters; steps may run beside each other. What `work` raises is
        raised, and the step is not done: it may be tried again, under the same name too.
        """

    async def progress(self, done: int, total: int | None) -> None:
        """So much is done, for whoever watches: the event "progress". May be said often; few of them are written."""

    async def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Something happened that whoever watches should know, at once. `data` is JSON data."""


class Parked(BaseException):
    """The job waits for what no worker does, such as a provider's batch: its run is over, and another one follows.

    Raised by a step. No Exception, so that nobody on the way takes it for something that went wrong.
    """


class JobBody(Protocol):
    """How jobs of one type are done. One object serves all of them."""

    async def run(self, context: JobContext) -> JobEnd:
        """Do the job. Cancelled when its caller cancels it, or its worker has to end.

        Then it may give a JobEnd("cancelled") with what there is; where the worker ends, nobody heeds that.
        An error of ours that is raised ends the job as failed, with that error; Parked lets the job wait.
        """


_lost: ContextVar[list[Cost] | None] = ContextVar("waypost_lost_cost", default=None)


def note_lost(cost: Cost) -> None:
    """A call within the running step came to this, and gave nothing: the job has it in its cost all the same."""
    costs = _lost.get()
    if costs is not None:
        costs.append(cost)


def collect_lost() -> list[Cost]:
    """From now on, what the running task notes as lost comes into this list."""
    costs: list[Cost] = []
    _lost.set(costs)
    return costs
