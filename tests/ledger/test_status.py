"""How the ledger is, told soon whatever the database does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.databases import PostgresServer

from waypost.ledger.journal import Journal
from waypost.ledger.records import BodyStored
from waypost.ledger.retention import run_once
from waypost.ledger.retention_task import RetentionState
from waypost.ledger.status import LedgerStatus
from waypost.settings import Settings
from waypost.store.database import Database
from waypost.store.lazy import LazyDatabase


def status_of(url: str, data_dir: Path, **more: Any) -> tuple[LedgerStatus, LazyDatabase]:
    settings = Settings.model_validate({"database_url": url, "data_dir": data_dir})
    database = LazyDatabase(settings)
    return LedgerStatus(settings, database, **more), database


async def test_a_database_that_stands_still_is_told_within_the_time(postgres: PostgresServer, tmp_path: Path) -> None:
    """And it is asked by one thread, however often somebody wants to know."""
    url = postgres.url.render_as_string(hide_password=False)
    status, database = status_of(url, tmp_path, within_s=0.5)
    before = await status.ledger_status()
    while before["database"]["trouble"] is not None:
        before = await status.ledger_status()
    assert (before["database"]["kind"], before["retention"]["started_at"]) == ("postgresql", None)
    postgres.freeze()
    begun = time.monotonic()
    for _ in range(3):
        told = await status.ledger_status()
        assert told["database"] == {
            "kind": "postgresql",
            "latency_ms": None,
            "size_bytes": None,
            "trouble": "no answer within 0.5 s",
        }
        assert told["retention"] is None
    assert time.monotonic() - begun < 5
    postgres.thaw()
    end = time.monotonic() + 20
    while (await status.ledger_status())["database"]["trouble"] is not None:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    postgres.stop()
    assert (await status.ledger_status())["database"]["trouble"] == "OperationalError"
    database.close()


async def test_what_waits_in_the_journal_and_what_was_forgotten_is_told(database: Database, tmp_path: Path) -> None:
    own = RetentionState(is_running=False, next_ms=1_795_651_200_000, trouble="OperationalError")
    status, lazy = status_of(
        database.url.render_as_string(hide_password=False),
        tmp_path,
        journal_folder=tmp_path / "journal",
        trouble=lambda: "the database is away",
        retention=lambda: own,
    )
    nothing = await status.ledger_status()
    assert nothing["journal"] == {"backlog_bytes": 0, "backlog_since": None, "trouble": "the database is away"}
    journal = Journal(tmp_path / "journal", max_bytes=2**20, fsync="off")
    journal.append(BodyStored("e", "p", 1, "asked", None))
    report = run_once(database, Settings().ledger, 1_795_651_200_000)
    assert report is not None
    told = await status.ledger_status()
    assert told["journal"]["backlog_bytes"] > 10
    assert told["journal"]["backlog_since"] is not None
    assert told["database"]["latency_ms"] > 0
    retention = told["retention"]
    assert (retention["started_at"], retention["report"]) == ("2026-11-26T00:00:00.000Z", report.told())
    assert (retention["next_at"], retention["trouble"]) == ("2026-11-26T00:00:00.000Z", "OperationalError")
    journal.close()
    lazy.close()
