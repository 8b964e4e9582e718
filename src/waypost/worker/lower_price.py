"""A job's call by a provider's batch, for its lower price: written down the first time, and there the next time.

The job waits in between, and no worker has it. The invariant: a call is registered, paid and answered once, however
often its job is begun; what its key may spend is held back before it is registered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from waypost import errors
from waypost.catalogue.batch_share import BATCH
from waypost.codecs.estimate import estimate_input_tokens
from waypost.errors import NotAllowed, ProviderServerError, WaypostError
from waypost.gateway.batching import BatchCall
from waypost.gateway.gateway import Gateway
from waypost.jobs import batched_calls
from waypost.jobs.batched_calls import BatchedCall, NewCall
from waypost.jobs.body import Parked
from waypost.jobs.job import Job
from waypost.jobs.patience import PatientDatabase
from waypost.ledger.account import Account
from waypost.ledger.allowances import Reservation
from waypost.ledger.allowances.held import UNRESERVED
from waypost.ledger.books import new_entry_id, now_ms
from waypost.ledger.ledger import Ledger
from waypost.ledger.records import AttemptOpened
from waypost.providers.asked import Asked
from waypost.store.lazy import LazyDatabase
from waypost.worker.called import Called

AGAIN: Final = (errors.ProviderError, errors.NotAllowed, errors.UnsupportedFeature)
BY_CODE: Final[Mapping[str, type[WaypostError]]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AGAIN)
}
"""What a call may end with, by its code, to raise again what was written down."""


class LowerPrice:
    """Those of one worker. `on_registered` is called when there is something to send."""

    def __init__(self, gateway: Gateway, ledger: Ledger | None, lazy: LazyDatabase, database: PatientDatabase) -> None:
        self._gateway = gateway
        self._ledger = ledger
        self._lazy = lazy
        self._database = database
        self.on_registered: Callable[[], None] = lambda: None

    async def called(self, job: Job, account: Account, asked: Asked, step: str) -> Called:
        """What the provider's batch gave. Raises Parked while it has given nothing, and the error that it gave.

        Raises NotAllowed, UnsupportedFeature, and what the books refuse a call with, before anything is registered.
        """
        call = await self._database.read(lambda connection: batched_calls.find(connection, job.id, step))
        if call is None:
            await self._register(job, account, asked, step)
            raise Parked
        if call.state == "answered" and call.answer is not None:
            return self._answered(job, call, call.answer)
        if call.state == "failed":
            told = call.error or {}
            raise BY_CODE.get(told.get("code", ""), ProviderServerError)(
                told.get("message", "The provider's batch gave nothing."), hint=told.get("hint", "")
            )
        raise Parked

    def _answered(self, job: Job, call: BatchedCall, answer: str) -> Called:
        provider = self._gateway.batching_provider(call.provider)
        if provider is None:
            raise ProviderServerError(f"The provider {call.provider} that answered is not configured any more.")
        response = provider.codec.decode_response(answer.encode())
        usage = replace(response.usage, service_tier=BATCH)
        response = replace(response, usage=usage, notes=tuple(call.notes or ()))
        cost, model = call.cost_micro_usd, response.model or call.model
        return Called(response, call.provider, model, usage, cost, call.cost_is_estimate, f"{job.id}.{call.name}")

    async def _register(self, job: Job, account: Account, asked: Asked, step: str) -> None:
        if not account.allows(asked.model or "default"):
            raise NotAllowed(f'The key "{account.key_name}" may not ask for "{asked.model or "default"}".')
        wanted = self._gateway.batch_call(asked)
        at_ms = now_ms()
        reservation, reserved = await self._reserve(account, wanted, job.end_user, at_ms)
        opened = _opened(job, account, asked, wanted, step, reserved, at_ms)
        keeps = account.store_bodies or self._gateway.keeps_bodies(asked.model)
        new = NewCall(job.id, step, job.batch_id or "", wanted.body, wanted.notes, opened, keeps)

        def register(connection: Connection) -> bool:
            return batched_calls.register(connection, self._lazy.open(), new, at_ms)

        writing = asyncio.ensure_future(self._database.write(register))
        # Also if the job is cancelled meanwhile: what is written is reserved.
        writing.add_done_callback(lambda done: _settle(done, reservation))
        await asyncio.shield(writing)
        self.on_registered()

    async def _reserve(
        self, account: Account, wanted: BatchCall, end_user: str | None, at_ms: int
    ) -> tuple[Reservation, int | None]:
        spending = None if self._ledger is None else self._ledger.books.spending
        if spending is None or not spending.limits_money(account):
            return UNRESERVED, None
        return await spending.reserve(account, wanted.worst_micro_usd, end_user, at_ms), wanted.worst_micro_usd


def _settle(done: asyncio.Future[bool], reservation: Reservation) -> None:
    """What was held in memory is in the database now, or was not needed."""
    if not done.cancelled() and done.exception() is None and done.result():
        reservation.hand_over()
    else:
        reservation.release()


def _opened(
    job: Job,
    account: Account,
    asked: Asked,
    wanted: BatchCall,
    step: str,
    reserved_micro_usd: int | None,
    at_ms: int,
) -> AttemptOpened:
    entry_id, target = new_entry_id(), wanted.target
    return AttemptOpened(
        f"{entry_id}.1",
        entry_id,
        f"{job.id}.{step}",
        1,
        at_ms,
        at_ms,
        account.project_id,
        account.key_id,
        job.end_user,
        f"/jobs/{job.type}",
        target.route,
        asked.model,
        False,
        {**account.tags, **(job.tags or {})} or None,
        target.provider,
        target.kind,
        target.model,
        estimate_input_tokens(asked.request),
        reserved_micro_usd,
    )
