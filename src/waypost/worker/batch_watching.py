"""Looks at batches that providers have: how they stand, what came of them, and whether one that is missed was made.

The invariant: results are read again from their beginning after whatever went wrong, and each counts once. A batch of
which it cannot be told whether it was made is not made again: what is in it fails, as possibly paid.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import aclosing

from waypost.errors import ProviderError
from waypost.jobs import batched_calls
from waypost.jobs import provider_batches as rows
from waypost.jobs.batched_calls import BatchedCall, Ending
from waypost.jobs.lease import alive_executors
from waypost.jobs.provider_batches import ProviderBatch
from waypost.ledger.books import now_ms
from waypost.providers.batch_api import BatchApi, BatchingProvider, BatchLine, VendorBatch
from waypost.worker.batch_endings import expired, in_doubt, of_line
from waypost.worker.batch_place import SLICE, BatchPlace
from waypost.worker.batch_sending import BatchSending, marker_of

logger = logging.getLogger("waypost.jobs")
MISSING = 404
AGAIN_S = 5.0
"""Until one that another process is sending is looked at again."""


class BatchWatching:
    """One worker's."""

    def __init__(self, place: BatchPlace, sending: BatchSending) -> None:
        self._place = place
        self._sending = sending

    async def see_to(self, batch: ProviderBatch) -> None:
        """Do what is due for a batch."""
        provider = self._place.gateway.batching_provider(batch.provider)
        if provider is None or provider.batches is None:
            await self._place.troubled(batch, f"The provider {batch.provider} is not configured, or has no batch API.")
            return
        steps = {"filling": self._fill, "sending": self._look_for_sender, "unsure": self._search, "running": self._look}
        try:
            await steps[batch.state](batch, provider)
        except ProviderError as error:
            await self._failed(batch, error)

    async def _failed(self, batch: ProviderBatch, error: ProviderError) -> None:
        since_ms = batch.unsure_at_ms if batch.state == "unsure" else batch.sent_at_ms
        is_old = now_ms() - (since_ms or batch.created_at_ms) > self._place.timing.give_up_s * 1000
        # What is running has its results for weeks: only one that the provider does not know is given up.
        if is_old and (batch.state == "unsure" or error.status == MISSING):
            await self._give_up(batch, error)
        else:
            logger.warning("%s: the batch %s: %s", batch.provider, batch.vendor_id or batch.id, error.message)
            await self._place.troubled(batch, error.message)

    async def _give_up(self, batch: ProviderBatch, error: ProviderError) -> None:
        logger.error("%s: the batch %s is lost: its items may have been paid", batch.provider, batch.id)
        lost = ProviderError(
            f"It cannot be told whether the provider did this: {error.message}",
            hint="Retry the item if it may be paid twice.",
        )
        prices = self._place.gateway.prices
        await self._place.end_all(batch, lambda call, _: in_doubt(call, lost, prices, now_ms()))
        await self._place.change(batch, state="over", trouble=error.message[:1000], ended_at_ms=now_ms())

    async def _is_alive(self, executor_id: str | None) -> bool:
        alive = await self._place.database.read(alive_executors)
        return any(each.id == executor_id for each in alive)

    async def _fill(self, batch: ProviderBatch, _: BatchingProvider) -> None:
        """Nothing was sent of it. Whoever gathered it goes on with it, if he lives."""
        if batch.executor_id != self._place.executor_id and await self._is_alive(batch.executor_id):
            await self._place.change(batch, next_look_at_ms=now_ms() + round(AGAIN_S * 1000))
        else:
            await self._sending.send(batch)

    async def _look_for_sender(self, batch: ProviderBatch, provider: BatchingProvider) -> None:
        if batch.executor_id != self._place.executor_id and await self._is_alive(batch.executor_id):
            await self._place.change(batch, next_look_at_ms=now_ms() + round(AGAIN_S * 1000))
        elif await self._place.change(batch, state="unsure", unsure_at_ms=now_ms()):
            logger.warning("%s: who sent the batch %s is dead; it is looked for", batch.provider, batch.id)
            found = await self._place.database.read(lambda connection: rows.find(connection, batch.id))
            await self._search(found, provider)

    async def _search(self, batch: ProviderBatch, provider: BatchingProvider) -> None:
        """Was it made? Then it is gone on with; surely not, and it is sent again; else it is looked for again."""
        api = _api(provider)
        listed = await api.made(marker_of(batch), batch.provider_key)
        since_ms = batch.created_at_ms - 24 * 3600 * 1000
        known = await self._place.database.read(
            lambda connection: rows.vendor_ids(connection, batch.provider, since_ms)
        )
        unknown = [each for each in listed if each.id not in known]
        found, is_open = await self._told(batch, api, unknown)
        if found is not None:
            logger.warning("%s: the batch %s was made, and is gone on with", batch.provider, found.id)
            values = {"state": "running", "vendor_id": found.id, "vendor_state": found.told_state}
            await self._place.change(batch, **values, troubles=0, trouble=None, next_look_at_ms=now_ms())
        elif is_open:
            told = "The provider has a batch that may be this one; its results will tell."
            await self._place.troubled(batch, told)
        elif now_ms() - (batch.unsure_at_ms or now_ms()) >= self._place.timing.surely_made_s * 1000:
            logger.warning("%s: the batch %s was not made, and is sent again", batch.provider, batch.id)
            await self._place.change(
                batch, state="filling", executor_id=self._place.executor_id, next_look_at_ms=now_ms()
            )
        else:
            left_s = min(AGAIN_S, self._place.timing.surely_made_s)
            await self._place.troubled(batch, "It is not known yet whether the provider has the batch.", left_s)

    async def _told(
        self, batch: ProviderBatch, api: BatchApi, listed: Sequence[VendorBatch]
    ) -> tuple[VendorBatch | None, bool]:
        """The one that is this batch, and whether one may be of which that is not known yet."""
        certain = next((each for each in listed if each.marker == batch.id), None)
        if certain is not None:
            return certain, False
        unmarked = [each for each in listed if each.marker is None]
        for each in unmarked:
            if each.is_over and await self._is_ours(batch, api, each):
                return each, False
        return None, any(not each.is_over for each in unmarked)

    async def _is_ours(self, batch: ProviderBatch, api: BatchApi, candidate: VendorBatch) -> bool:
        async with aclosing(api.lines(candidate, batch.provider_key)) as lines:
            async for line in lines:
                return batch.job_of(line.custom_id) is not None
        return False

    async def _look(self, batch: ProviderBatch, provider: BatchingProvider) -> None:
        api, vendor_id = _api(provider), batch.vendor_id or ""
        if batch.cancelled_at_ms is None and not await self._is_wanted(batch):
            await api.cancel(vendor_id, batch.provider_key)
            await self._place.change(batch, cancelled_at_ms=now_ms())
        vendor = await api.look(vendor_id, batch.provider_key)
        if vendor.error is not None:
            await self._sending.refused(batch, vendor.error)
        elif vendor.is_over:
            await self._take_results(batch, vendor, provider)
        else:
            age_s = (now_ms() - (batch.sent_at_ms or batch.created_at_ms)) / 1000
            next_ms = now_ms() + round(self._place.timing.next_look_s(age_s) * 1000)
            values = {"vendor_state": vendor.told_state, "troubles": 0, "trouble": None}
            await self._place.change(batch, **values, next_look_at_ms=next_ms)

    async def _is_wanted(self, batch: ProviderBatch) -> bool:
        return await self._place.database.read(lambda connection: rows.is_wanted(connection, batch.id))

    async def _take_results(self, batch: ProviderBatch, vendor: VendorBatch, provider: BatchingProvider) -> None:
        waiting: list[BatchLine] = []
        async with aclosing(_api(provider).lines(vendor, batch.provider_key)) as lines:
            async for line in lines:
                waiting.append(line)
                if len(waiting) >= SLICE:
                    await self._end(batch, waiting, provider)
                    waiting = []
        await self._end(batch, waiting, provider)
        await self._place.end_all(batch, lambda call, wanted: expired(call, now_ms(), wanted=wanted))
        await self._place.change(batch, state="over", vendor_state=vendor.told_state, ended_at_ms=now_ms())

    async def _end(self, batch: ProviderBatch, lines: Sequence[BatchLine], provider: BatchingProvider) -> None:
        by_job = {job_id: line for line in lines if (job_id := batch.job_of(line.custom_id)) is not None}
        prices, codec = self._place.gateway.prices, provider.codec

        def ending_of(call: BatchedCall, wanted: bool) -> Ending:
            line = by_job[call.job_id]
            if line.outcome == "expired" and not wanted:
                return expired(call, now_ms(), wanted=False)
            return of_line(call, line, codec, prices, self._body(call), now_ms())

        await self._place.end(batch, list(by_job), ending_of)

    def _body(self, call: BatchedCall) -> bytes:
        """In a thread."""
        if not call.keeps_body:
            return b""
        with self._place.lazy.open().read() as connection:
            return batched_calls.body_of(connection, call)


def _api(provider: BatchingProvider) -> BatchApi:
    if provider.batches is None:
        raise TypeError("the provider has no batch API")
    return provider.batches
