"""The worker's composition root: the gateway, the ledger and the jobs of one process, built from settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from waypost import __version__
from waypost.catalogue.configured import price_book
from waypost.gateway.configured import configured_gateway
from waypost.gateway.gateway import Gateway
from waypost.jobs.body import JobBody
from waypost.jobs.pace_settings import pace_of
from waypost.jobs.working import JobWorker, Workplace
from waypost.ledger.accounts import AccountBook
from waypost.ledger.ledger import Company, Ledger
from waypost.ledger.threads import DatabaseThreads
from waypost.providers.registry import create_providers
from waypost.settings import Settings
from waypost.store.lazy import LazyDatabase
from waypost.telemetry.metrics.metrics import Metrics
from waypost.telemetry.observers import NOBODY, Observers
from waypost.telemetry.observing import Observing
from waypost.webhooks.courier import Courier, courier_of
from waypost.worker.calls import JobCalls
from waypost.worker.hooks import audits, hooks

COMPANY: Final = Company(others_spend=True, is_worker=True)
IDLE_S: Final = 2.0
"""A worker that stands still within a transaction must not hold its jobs for longer."""


@dataclass(frozen=True, slots=True)
class WorkerApplication:
    """Everything one worker process needs."""

    settings: Settings
    database: LazyDatabase
    ledger: Ledger | None
    gateway: Gateway
    calls: JobCalls
    threads: DatabaseThreads
    courier: Courier
    observers: Observers = NOBODY
    metrics: Metrics | None = None

    def worker(self, does: Mapping[str, JobBody]) -> JobWorker:
        """What will do its jobs, each type by its body."""
        settings = self.settings
        report = {"version": __version__, "engine": engine_version(), "concurrency": settings.jobs.concurrency}
        ends, looks = hooks(self), audits(self)
        place = Workplace(self.database, settings.data_dir, settings.jobs, does, ends, report, looks, self.observers)
        return JobWorker(place)

    async def close(self) -> None:
        """Let go of connections, and of the ledger when all calls are over."""
        await self.calls.close()
        await self.gateway.close()
        if self.ledger is not None:
            await self.ledger.close()
        self.threads.close()
        self.database.close()


def build_worker(settings: Settings) -> WorkerApplication:
    """Build all of it. No I/O. Raises ConfigurationError."""
    database = LazyDatabase(settings, IDLE_S)
    ledger = Ledger(settings, database, price_book(settings), COMPANY) if settings.ledger.enabled else None
    gateway = configured_gateway(settings, create_providers(settings, {}), None if ledger is None else ledger.books)
    told = Observing.of(settings.telemetry)
    if told.metrics is not None:
        gateway.name_models(told.metrics.models)
    pace = pace_of(settings, database.open)
    calls = JobCalls(gateway, AccountBook(settings.keys), database, pace, told.observers)
    threads = DatabaseThreads(database.open)
    courier = courier_of(settings, threads)
    return WorkerApplication(settings, database, ledger, gateway, calls, threads, courier, told.observers, told.metrics)


def engine_version() -> str | None:
    """That of the engine, which is not imported for it."""
    try:
        return version("dbos")
    except PackageNotFoundError:
        return None
