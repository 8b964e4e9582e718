"""A job's calls to models: through the gateway, in the ledger, and under the account of the key that asked for it.

The invariant: a job may do what its key may do now, not what it could when the job was asked for: its limits and its
budgets hold, and a key that was revoked is good for nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from waypost.chat import Request, Response, Usage
from waypost.chat.usage import COUNTS
from waypost.codecs.estimate import estimate_input_tokens
from waypost.errors import NotAllowed
from waypost.gateway.call_record import CallRecord, RequestEnd, begin_record, end_record, note_failure
from waypost.gateway.facts import Over, tell_when_over
from waypost.gateway.gateway import Gateway
from waypost.gateway.served import ServedStream
from waypost.gateway.story import Outcome
from waypost.jobs.body import StepDone, note_lost
from waypost.jobs.job import Cost, Job
from waypost.jobs.pace import Pace, Turn
from waypost.jobs.patience import PatientDatabase
from waypost.ledger.account import Account
from waypost.ledger.accounts import AccountBook
from waypost.providers.asked import Asked
from waypost.providers.gate import through
from waypost.store.lazy import LazyDatabase
from waypost.telemetry.observers import NOBODY, Observers


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a call, all its attempts together. `cost_micro_usd` None: of one of them no price is known."""

    response: Response | None
    provider: str
    model: str
    usage: Usage
    cost_micro_usd: int | None
    cost_is_estimate: bool
    request_id: str

    @property
    def cost(self) -> Cost:
        """For `StepDone`."""
        counts = {name: count for name in COUNTS if (count := getattr(self.usage, name)) is not None}
        return Cost(self.cost_micro_usd, self.cost_is_estimate, counts, self.provider, self.model)


class CalledStream:
    """An answer under way. `called` says what it came to, after the block has been left."""

    def __init__(self, served: ServedStream) -> None:
        self.served = served
        self.called: Called | None = None

    def step_done(self, result: Any) -> StepDone:
        """The end of the step whose only call it was, after the block has been left."""
        called = self.called
        return StepDone(result) if called is None else StepDone(result, called.cost, called.request_id)


class JobCalls:
    """Calls for all jobs of one worker."""

    def __init__(
        self,
        gateway: Gateway,
        accounts: AccountBook,
        database: LazyDatabase,
        pace: Pace | None = None,
        observers: Observers = NOBODY,
    ) -> None:
        self._observers = observers
        self._gateway = gateway
        self._accounts = accounts
        self._lazy = database
        self._database = PatientDatabase(database)
        self.pace = pace or Pace(database.open, {})

    async def account(self, job: Job) -> Account:
        """That of the job's key, as it is now. Raises NotAllowed."""
        return await self._database.insist(lambda: self._accounts.find(self._lazy.open(), job.key_id))

    async def generate(self, job: Job, request: Request | Asked, *, step: str) -> Called:
        """The whole answer. Raises as the gateway does, NotAllowed, and what the books refuse a call with."""
        asked = request if isinstance(request, Asked) else Asked.of(request)
        async with self._recorded(job, asked, step) as record:
            served = await self._gateway.generate(asked)
            if record.entry is not None and record.entry.request_body is not None and record.books is not None:
                record.books.keep(record.entry, served.response.text.encode())
        return _called(record, served.response, served.provider, served.model, served.usage, served.cost_micro_usd)

    @asynccontextmanager
    async def stream(self, job: Job, request: Request | Asked, *, step: str) -> AsyncIterator[CalledStream]:
        """The answer in batches. Leaving the block ends the call. Raises as `generate`."""
        asked = request if isinstance(request, Asked) else Asked.of(request, stream=True)
        async with self._recorded(job, asked, step) as record:
            async with self._gateway.stream(asked) as served:
                stream = CalledStream(served)
                yield stream
            cost = served.cost_micro_usd
        stream.called = _called(record, None, served.provider, served.model, served.usage, cost)

    async def close(self) -> None:
        """Let go of its threads."""
        await self.pace.close()
        self._database.close()

    async def _turn(self, asked: Asked) -> Turn:
        """Wait until all workers together may make one call more. Here no deadline runs yet."""
        provider = self._gateway.first_provider(asked.model)
        if provider is None or not self.pace.counts_tokens(provider):
            return await self.pace.take(provider)
        tokens = estimate_input_tokens(asked.request) + (asked.request.sampling.max_tokens or 0)
        return await self.pace.take(provider, tokens)

    @asynccontextmanager
    async def _recorded(self, job: Job, asked: Asked, step: str) -> AsyncIterator[CallRecord]:
        account = await self.account(job)
        if not account.allows(asked.model or "default"):
            raise NotAllowed(f'The key "{account.key_name}" may not ask for "{asked.model or "default"}".')
        turn = await self._turn(asked)
        record, token = begin_record()
        began = time.monotonic()
        record.request_id, record.path = f"{job.id}.{step}", f"/jobs/{job.type}"
        record.account = account
        record.tags = {**account.tags, **(job.tags or {})} or None
        outcome: Outcome = "caller_left"
        try:
            with through(turn):
                yield record
            turn.used(0 if record.entry is None else record.entry.tokens)
            outcome = "answered"
        except Exception as error:
            outcome = "failed"
            note_failure(error)
            raise
        finally:
            end_record(token)
            duration_s = time.monotonic() - began
            record.write_end(RequestEnd(record.request_id, outcome, None, round(duration_s * 1000)))
            if self._observers.any:
                tell_when_over(record, Over("job", "", outcome, None, duration_s, job.id), self._observers)
            if outcome != "answered" and record.entry is not None:
                note_lost(Cost(record.entry.cost_micro_usd, record.entry.cost_is_estimate))


def _called(
    record: CallRecord, response: Response | None, provider: str, model: str, usage: Usage, cost: int | None
) -> Called:
    """By the books, if there are any: they know of the attempts that failed as well."""
    entry = record.entry
    micro_usd = cost if entry is None else entry.cost_micro_usd
    is_estimate = entry is not None and entry.cost_is_estimate
    return Called(response, provider, model, usage, micro_usd, is_estimate, record.request_id)
