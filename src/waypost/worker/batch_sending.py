"""Gathers calls that are ready into batches, and has the provider make them. Each is written down before it is sent.

The invariant: after a death at any moment nothing that was sent is sent again before it was looked for at the provider;
see `batch_searching`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sqlalchemy import Connection

from waypost.errors import NotAllowed, ProviderError, ProviderUnreachable, UnsupportedFeature
from waypost.jobs import batched_calls
from waypost.jobs import provider_batches as rows
from waypost.jobs.batched_calls import BatchedCall, Ending, Group
from waypost.jobs.provider_batches import ProviderBatch
from waypost.ledger.books import now_ms
from waypost.providers.batch_api import BatchApi, Marker, VendorBatch
from waypost.worker.batch_endings import UNWANTED, failed
from waypost.worker.batch_file import ROWS, BatchFile, in_slices
from waypost.worker.batch_place import SLICE, BatchPlace

logger = logging.getLogger("waypost.jobs")
TAKEN_AT_ONCE: Final = 2_000
AROUND_BYTES: Final = 256
"""What a vendor's format has around a request, at most."""
NOT_SENT_AGAIN: Final = ("unsure", "filling")
"""States of a batch that was taken over, and of which no second one is on its way."""
NOT_MADE: Final = frozenset({0, 503, 529})
"""Statuses that say that no batch was made, beside all that blame the request."""


def marker_of(batch: ProviderBatch) -> Marker:
    """By what it is found again."""
    sent_at_s = (batch.sent_at_ms or batch.created_at_ms) / 1000
    return Marker(batch.id, batch.suffix, batch.requests, sent_at_s)


class BatchSending:
    """One worker's."""

    def __init__(self, place: BatchPlace) -> None:
        self._place = place

    async def next_group(self, busy: set[str]) -> Group | None:
        """Calls that are to be sent now. `busy`: batches of ours that are being gathered."""
        found = await self._place.database.read(lambda connection: self._ripe(connection, busy))
        return found[0] if found else None

    def _ripe(self, connection: Connection, busy: set[str]) -> list[Group]:
        return [
            each
            for each in batched_calls.groups(connection)
            if each.batch_id not in busy and self._is_ripe(connection, each)
        ]

    def _is_ripe(self, connection: Connection, group: Group) -> bool:
        provider, timing, at_ms = self._place.gateway.batching_provider(group.provider), self._place.timing, now_ms()
        if self._rests(connection, group, at_ms):
            return False
        if provider is None or provider.batches is None:
            return True
        limits = provider.batches.limits
        return (
            group.count >= limits.requests
            or group.size_bytes >= limits.size_bytes
            or at_ms - group.newest_ms >= timing.quiet_s * 1000
            or at_ms - group.oldest_ms >= timing.longest_gathering_s * 1000
            or batched_calls.is_whole(connection, group.batch_id)
        )

    def _rests(self, connection: Connection, group: Group, at_ms: int) -> bool:
        """Was the last batch of this group refused a short while ago? Then for longer each time."""
        before = [each for each in rows.of_batch(connection, group.batch_id) if each.provider == group.provider]
        refusals = 0
        for each in reversed(before):
            if each.state != "refused":
                break
            refusals += 1
        if not refusals:
            return False
        return at_ms < (before[-1].ended_at_ms or 0) + self._place.timing.after_trouble_s(refusals) * 1000

    async def gather(self, group: Group) -> None:
        """Make a batch of the calls of this group that fit into one, and send it."""
        provider = self._place.gateway.batching_provider(group.provider)
        if provider is None or provider.batches is None:
            await self._fail(group)
            return
        key = await provider.batch_key()
        batch = await self._place.database.write(
            lambda connection: rows.begin(connection, group, self._place.executor_id, key, now_ms())
        )
        limits = provider.batches.limits
        requests, size_bytes = limits.requests, limits.size_bytes - 1024
        while requests > 0:
            taken, used_bytes = await self._place.database.write(
                lambda connection, requests=requests, size_bytes=size_bytes: batched_calls.take(  # type: ignore[misc]
                    connection,
                    group,
                    batch.id,
                    requests=min(requests, TAKEN_AT_ONCE),
                    size_bytes=size_bytes,
                    around_bytes=AROUND_BYTES,
                )
            )
            requests, size_bytes = requests - taken, size_bytes - used_bytes
            if taken < TAKEN_AT_ONCE:
                break
        await self.send(batch)

    async def _fail(self, group: Group) -> None:
        """The settings have changed since these calls were asked for: there is nobody who would take them."""
        error = UnsupportedFeature(f"The provider {group.provider} is not configured, or has no batch API any more.")
        batch = await self._place.database.write(
            lambda connection: rows.begin(connection, group, self._place.executor_id, None, now_ms())
        )
        await self._place.database.write(
            lambda connection: batched_calls.take(
                connection, group, batch.id, requests=TAKEN_AT_ONCE, size_bytes=2**62, around_bytes=0
            )
        )
        await self._place.end_all(batch, lambda call, _: failed(call, error, now_ms(), again=False))
        await self._place.change(batch, state="over", trouble=error.message, ended_at_ms=now_ms())

    async def send(self, batch: ProviderBatch) -> None:
        """Send a batch that is `filling`: by whoever filled it, or who goes on after his death."""
        place = self._place
        provider = place.gateway.batching_provider(batch.provider)
        if provider is None or provider.batches is None:
            await place.troubled(
                batch, f"The provider {batch.provider} is not configured, or has no batch API any more."
            )
            return
        await self._drop_unwanted(batch)
        file = BatchFile(place.folder)
        try:
            await asyncio.to_thread(self._write, batch, file, provider.batches)
            if not file.requests:
                await place.change(batch, state="over", ended_at_ms=now_ms())
                return
            sent_at_ms = now_ms()
            sending = {"state": "sending", "sent_at_ms": sent_at_ms, "executor_id": place.executor_id}
            size = {"requests": file.requests, "size_bytes": file.size_bytes, "unsure_at_ms": None}
            if await place.change(batch, **sending, **size):
                batch = await place.database.read(lambda connection: rows.find(connection, batch.id))
                await self._create(batch, provider.batches, file)
        finally:
            file.close()

    def _write(self, batch: ProviderBatch, file: BatchFile, api: BatchApi) -> None:
        def after(job_id: str) -> list[tuple[str, bytes]]:
            with self._place.lazy.open().read() as connection:
                return list(batched_calls.bodies_after(connection, batch.id, job_id, ROWS))

        file.write(api, ((batch.custom_id(job_id), body) for job_id, body in in_slices(after)))

    async def _drop_unwanted(self, batch: ProviderBatch) -> None:
        """Calls whose jobs have ended, or whose keys are good for nothing by now, are not sent."""
        database = self._place.database
        keys = await database.read(lambda connection: batched_calls.keys_of(connection, batch.id))
        bad = [key_id for key_id in keys if not await self._is_good(key_id)]
        while True:
            ids = await database.read(lambda connection: batched_calls.unwanted_of(connection, batch.id, bad, SLICE))
            if not ids:
                return
            await self._place.end(batch, ids, _refused)

    async def _is_good(self, key_id: str) -> bool:
        try:
            await self._place.calls.account_of(key_id)
        except NotAllowed:
            return False
        return True

    async def _create(self, batch: ProviderBatch, api: BatchApi, file: BatchFile) -> None:
        place = self._place
        try:
            made = await api.create(marker_of(batch), file, batch.provider_key)
        except ProviderError as error:
            if not was_not_made(error):
                # No answer, or one that says nothing: the provider may have it.
                values = rows.troubled(batch, error.message, now_ms())
                await place.change(batch, state="unsure", unsure_at_ms=now_ms(), **values)
                return
            await self.refused(batch, error)
            return
        if not await self._note(batch, made):
            await self._taken_away(batch, api, made)

    async def _note(self, batch: ProviderBatch, made: VendorBatch) -> bool:
        """The provider has it. False: somebody else has changed the batch meanwhile."""
        values = {"state": "running", "vendor_id": made.id, "vendor_state": made.told_state}
        next_ms = now_ms() + round(self._place.timing.first_look_s * 1000)
        return await self._place.change(batch, **values, troubles=0, trouble=None, next_look_at_ms=next_ms)

    async def _taken_away(self, batch: ProviderBatch, api: BatchApi, made: VendorBatch) -> None:
        """This process was given up for dead while it sent: who took the batch over may have sent another one."""
        now = await self._place.database.read(lambda connection: rows.find(connection, batch.id))
        if now.state in NOT_SENT_AGAIN and await self._note(now, made):
            return
        now = await self._place.database.read(lambda connection: rows.find(connection, batch.id))
        if now.vendor_id != made.id:
            logger.error("%s: a batch was sent twice; %s is cancelled", batch.provider, made.id)
            await self._place.database.write(lambda connection: batched_calls.note_paid_twice(connection, batch.id))
            await api.cancel(made.id, batch.provider_key)

    async def refused(self, batch: ProviderBatch, error: ProviderError) -> None:
        """The provider does not make it: what may go later waits, what never will has failed."""
        logger.warning("%s: a batch of %d requests was refused: %s", batch.provider, batch.requests, error.message)
        if is_lasting(error):
            await self._place.end_all(batch, lambda call, _: failed(call, error, now_ms(), again=False))
        else:
            await self._place.put_back_all(batch)
        await self._place.change(batch, state="refused", trouble=error.message[:1000], ended_at_ms=now_ms())


def was_not_made(error: ProviderError) -> bool:
    """Is it certain that the provider has made no batch?"""
    if error.status is None:
        return isinstance(error, ProviderUnreachable)
    return 300 <= error.status < 500 or error.status in NOT_MADE


def is_lasting(error: ProviderError) -> bool:
    """Would the provider say the same again, whenever it is asked?"""
    return error.status in (400, 404, 413, 422) and not error.retryable


def _refused(call: BatchedCall, wanted: bool) -> Ending:
    error = NotAllowed("The key that asked for it is not good any more.") if wanted else UNWANTED
    return failed(call, error, now_ms(), again=False)
