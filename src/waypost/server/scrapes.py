"""What one scrape tells: all that the workers of this server have counted, and how they and the ledger stand.

The invariant: what is counted never seems to fall while the server runs, whichever worker is asked and whichever has
ended since (see `telemetry.metrics.keeping`); and a database or a worker that hangs holds a scrape up only for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.types import Scope

from waypost.errors import WaypostError
from waypost.gateway.gauges import backlog_gauges, gauges_of
from waypost.jobs.kept import KeptJobs
from waypost.server.lifecycle import Lifecycle
from waypost.server.middleware.authenticate import METRICS
from waypost.server.peers import PeerGone, Peers
from waypost.server.serving import Serving
from waypost.telemetry.metrics.keeping import Kept, beside, kept_in
from waypost.telemetry.metrics.metrics import Metrics
from waypost.telemetry.metrics.numbers import Rows, Snapshot, together

PEER_S: Final = 2.0
"""Longest wait for another worker; then what it told last is told again."""
JOBS_SOCKET: Final = "jobs.sock"
"""In the workers' private folder."""
JOBS_S: Final = 1.0
"""Longest wait for the jobs' numbers."""
JOBS_KEPT_S: Final = 5.0
JOBS_LATE_S: Final = 60.0
"""Numbers that are older are not told any more."""
STATES: Final = ("queued", "running")


class Scrapes:
    """Of one worker, in its event loop. `peers` None: it is the only one."""

    def __init__(
        self, served: Serving, lifecycle: Lifecycle, peers: Peers | None, jobs_socket: Path | None = None
    ) -> None:
        """`jobs_socket` is where the worker that this server keeps beside it tells what it has counted."""
        self._served = served
        self._jobs_socket = peers.neighbourhood.folder / JOBS_SOCKET if peers is not None else jobs_socket
        self._lifecycle = lifecycle
        self._peers = peers
        self._kept = None if peers is None else Kept(peers.neighbourhood.folder / _file(peers.own))
        self._turn = asyncio.Lock()
        self._jobs = JobNumbers()

    async def told(self, metrics: Metrics, scope: Scope, accept: str) -> tuple[bytes, str]:
        """The text for a scraper, and its content type."""
        own, *others = await asyncio.gather(
            self._with_shared(metrics),
            self._of_jobs(),
            *(self._of_peer(number, scope) for number in self._numbers()),
        )

        def text() -> tuple[bytes, str]:
            from waypost.telemetry.metrics import exposition

            return exposition.told(together((own, *others)), accept)

        # Its first time imports what it takes.
        return await asyncio.to_thread(text)

    async def own(self, metrics: Metrics) -> Snapshot:
        """This worker's part of it, as another one asks for it."""
        served = self._served
        in_flight: dict[str, Rows] = {"waypost_requests_in_flight": [((), self._lifecycle.in_flight)]}
        async with self._turn:
            gauges = gauges_of(served.gateway, served.ledger, metrics.models)
            # What is told first is written down first.
            return await asyncio.to_thread(self._whole, metrics.snapshot({**in_flight, **gauges}))

    def _whole(self, counted: Snapshot) -> Snapshot:
        from waypost.telemetry.metrics import exposition

        whole = together((counted, exposition.process_values()))
        return whole if self._kept is None else self._kept.told(whole)

    async def _with_shared(self, metrics: Metrics) -> Snapshot:
        own, journal, jobs = await asyncio.gather(
            self.own(metrics), backlog_gauges(self._served.ledger), self._jobs.gauges(self._served)
        )
        return together((own, Snapshot({**journal, **jobs})))

    def _numbers(self) -> Sequence[int]:
        return () if self._peers is None else self._peers.others

    async def _of_peer(self, number: int, scope: Scope) -> Snapshot:
        peers = self._peers
        if peers is None:
            return Snapshot()
        with suppress(PeerGone, TimeoutError, msgspec.ValidationError):
            async with asyncio.timeout(PEER_S):
                status, body = await peers.ask(number, "GET", METRICS, scope)
            if status == 200:
                return msgspec.convert(body, Snapshot)
        return await asyncio.to_thread(kept_in, peers.neighbourhood.folder / _file(number))

    async def _of_jobs(self) -> Snapshot:
        """Of the worker that does jobs beside this server, if there is one."""
        address = self._jobs_socket
        if address is None or not address.exists():
            return Snapshot()
        with suppress(PeerGone, TimeoutError):
            async with asyncio.timeout(PEER_S):
                return await snapshot_at(address)
        return await asyncio.to_thread(kept_in, beside(address))


def _file(number: int) -> str:
    return f"{number}.metrics"


async def snapshot_at(address: Path) -> Snapshot:
    """What the process at this socket tells of itself. Raises PeerGone."""
    import aiohttp

    connector = aiohttp.UnixConnector(str(address), force_close=True)
    try:
        async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://jobs{METRICS}") as reply:
            return msgspec.json.decode(await reply.read(), type=Snapshot)
    except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
        raise PeerGone from error


class JobNumbers:
    """The database's numbers of jobs, asked for at most every few seconds, whoever scrapes how often."""

    def __init__(self) -> None:
        self._known: dict[str, Any] | None = None
        self._known_at_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def gauges(self, served: Serving) -> dict[str, Rows]:
        """As they are, or were a few seconds ago; nothing if they are not known."""
        jobs = served.jobs
        if jobs is None:
            return {}
        if time.monotonic() - self._known_at_s >= JOBS_KEPT_S:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(jobs, served))
            await asyncio.wait({self._asking}, timeout=JOBS_S)
        is_late = time.monotonic() - self._known_at_s >= JOBS_LATE_S
        return {} if self._known is None or is_late else _told(self._known)

    async def _ask(self, jobs: KeptJobs, served: Serving) -> None:
        # While nothing was ever kept there is no database, and none is made for this.
        with suppress(WaypostError):
            is_there = await asyncio.to_thread(served.database.is_there)
            self._known = await jobs.numbers() if is_there else {}
            self._known_at_s = time.monotonic()


def _told(numbers: dict[str, Any]) -> dict[str, Rows]:
    depth = numbers.get("depth", {})
    return {
        "waypost_jobs": [((state,), sum(depth.get(state, {}).values())) for state in STATES],
        "waypost_jobs_oldest_queued_seconds": [((), numbers.get("oldest_queued_s") or 0.0)],
        "waypost_dead_letters": [((), numbers.get("dead", 0))],
        "waypost_job_workers": [((), numbers.get("workers", 0))],
    }
