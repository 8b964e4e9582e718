"""Forgetting: what has had its time goes and nothing else, a little at a time, by one process of all."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from tests.ledger.log_entries import DAY_MS, NOW_MS, a_request, an_attempt, write, write_attempts

from waypost.ledger import compaction, retention, upkeep
from waypost.ledger.erasure import WITH_CHILDREN
from waypost.ledger.expiry import expired, oldest_window
from waypost.ledger.retention import MOST_ROWS, TASK, Report, run_once
from waypost.ledger.retention_task import RetentionTask
from waypost.ledger.tag_slots import SLOT_MS
from waypost.settings import LedgerSettings
from waypost.store.database import Database
from waypost.store.migrate import upgrade
from waypost.store.tables import (
    attempts,
    audit,
    bodies,
    daily_totals,
    grants,
    idempotency_answers,
    metadata,
    requests,
    spend,
    stored_responses,
    tag_slots,
    unfinished_attempts,
)

DAYS = LedgerSettings(requests_days=10, bodies_days=3, audit_days=20)
OLD_MS = NOW_MS - 10 * DAY_MS - 1
KEPT_MS = NOW_MS - 10 * DAY_MS


def insert(database: Database, table: Any, *rows: dict[str, Any]) -> None:
    with database.write() as connection:
        connection.execute(table.insert(), list(rows))


def values(database: Database, column: Any) -> list[Any]:
    with database.read() as connection:
        return sorted(connection.scalars(select(column)))


def count(database: Database, table: Any) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def many_old(database: Database, size: int) -> None:
    """Requests that have had their time, each with a call."""
    for begin in range(0, size, 1000):
        rows = [a_request(number, started_at_ms=OLD_MS - number) for number in range(begin, min(size, begin + 1000))]
        write(database, *rows)
        insert(database, attempts, *(an_attempt(row["id"], started_at_ms=row["started_at_ms"]) for row in rows))


def test_each_table_forgets_what_has_had_its_time_and_nothing_else(database: Database) -> None:
    tags = {"team": "search"}
    old, kept = a_request(1, started_at_ms=OLD_MS, tags=tags), a_request(2, started_at_ms=KEPT_MS, tags=tags)
    write(database, old, kept)
    write_attempts(database, *(an_attempt(row["id"], started_at_ms=row["started_at_ms"]) for row in (old, kept)))
    write_attempts(database, an_attempt("lost", started_at_ms=OLD_MS))
    for entry_id, days in ((old["id"], 0), (kept["id"], 2), ("late", 4)):
        row = {"entry_id": entry_id, "stored_at_ms": NOW_MS - days * DAY_MS, "request": "{}"}
        insert(database, bodies, row)
    opened = {"entry_id": "e", "holder": "h", "record": b""}
    for attempt_id, at_ms in (("old", OLD_MS), ("kept", KEPT_MS)):
        insert(database, unfinished_attempts, {"attempt_id": attempt_id, "started_at_ms": at_ms, **opened})
    for name, at_ms in (("old", NOW_MS - 1), ("kept", NOW_MS)):
        stored = {"project_id": "p", "created_at_ms": 1, "expires_at_ms": at_ms}
        insert(database, stored_responses, {"id": name, "request": "{}", "response": "{}", **stored})
        answer = {"fingerprint": b"f" * 32, "holder": "h", "billed": False}
        insert(database, idempotency_answers, {"slot": name.encode().ljust(32), **answer, **stored})
        line = {"actor": "a", "action": "key.create", "object_kind": "key", "object_id": "k"}
        insert(database, audit, {"id": name, "at_ms": at_ms - 20 * DAY_MS, **line})
        grant = {"subject": name, "window": "2026-10", "unit": "micro_usd", "holder": "h", "amount": 5, "granted": 5}
        insert(database, grants, {**grant, "expires_at_ms": at_ms - 40 * DAY_MS})
    for window in ("2025-09", "2025-09-30", "2025-10", "2025-10-01", "2026-11"):
        insert(database, spend, {"subject": "key:k", "window": window, "micro_usd": 1})
    figures = {column.name: 1 for column in daily_totals.c if not column.primary_key}
    names = dict.fromkeys(("project_id", "key_id", "route", "provider", "model"), "x")
    insert(database, daily_totals, {"day": "2019-01-01", **names, **figures})

    report = run_once(database, DAYS, NOW_MS)

    assert report is not None
    assert report.is_complete
    assert values(database, requests.c.id) == [kept["id"]]
    assert values(database, attempts.c.entry_id) == [kept["id"]]
    assert values(database, bodies.c.entry_id) == [kept["id"]]
    for column in (unfinished_attempts.c.attempt_id, stored_responses.c.id, audit.c.id, grants.c.subject):
        assert values(database, column) == ["kept"]
    assert [slot.strip() for slot in values(database, idempotency_answers.c.slot)] == [b"kept"]
    assert values(database, tag_slots.c.slot) == [KEPT_MS // SLOT_MS]
    assert values(database, spend.c.window) == ["2025-10", "2025-10-01", "2026-11"]
    assert count(database, daily_totals) == 1
    assert report.deleted == {
        "requests": 1,
        "attempts": 2,
        "bodies": 2,
        "unfinished_attempts": 1,
        "stored_responses": 1,
        "idempotency_answers": 1,
        "audit": 1,
        "tag_slots": 1,
        "grants": 1,
        "spend": 2,
    }
    again = run_once(database, DAYS, NOW_MS)
    assert again is not None
    assert again.deleted == {}


def test_every_table_whose_rows_have_a_time_is_forgotten_or_said_to_stay() -> None:
    """A table that is added must be thought of."""
    forgotten = {each.table.name for each in expired(LedgerSettings(), NOW_MS)}
    stays = {
        "projects",
        "keys",
        "key_secrets",
        "revisions",
        "daily_totals",
        "journal_files",
        "upkeep",
        "schema_version",
        "executors",
        "provider_paces",
    }
    children = {column.table.name for columns in WITH_CHILDREN.values() for column in columns}
    assert forgotten | stays | children | {"stored_items"} == set(metadata.tables)


@pytest.mark.parametrize(
    ("day", "wanted"), [("2026-11-26", "2025-10"), ("2027-01-01", "2025-12"), ("2026-02-28", "2025-01")]
)
def test_spend_is_kept_for_thirteen_months_besides_this_one(day: str, wanted: str) -> None:
    at_ms = int(time.mktime(time.strptime(f"{day} UTC", "%Y-%m-%d %Z")) - time.timezone) * 1000
    assert oldest_window(at_ms + DAY_MS // 2) == wanted


def test_rows_go_in_transactions_of_a_thousand_at_most(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    many_old(database, 2_500)
    report = run_once(database, DAYS, NOW_MS)
    assert report is not None
    assert report.deleted == {"requests": 2_500, "attempts": 2_500}
    assert report.transactions >= 2_500 / MOST_ROWS
    assert (count(database, requests), count(database, attempts)) == (0, 0)


def test_a_run_that_is_stopped_says_so_and_the_next_goes_on(database: Database) -> None:
    many_old(database, 1_500)
    stopped = threading.Event()
    stopped.set()
    first = run_once(database, DAYS, NOW_MS, stopped)
    second = run_once(database, DAYS, NOW_MS, limit_s=0.0)
    for report in (first, second):
        assert report is not None
        assert (report.is_complete, report.deleted) == (False, {})
    assert upkeep.state_of(database, TASK).report == second.told() if second else None
    third = run_once(database, DAYS, NOW_MS)
    assert third is not None
    assert (third.is_complete, third.deleted["requests"]) == (True, 1_500)


def test_one_process_at_a_time_and_one_that_stands_still_loses_the_task(database: Database) -> None:
    assert upkeep.claim(database, TASK, "another", NOW_MS)
    assert run_once(database, DAYS, NOW_MS + 1) is None
    assert upkeep.go_on(database, TASK, "another", NOW_MS + upkeep.HELD_MS)
    assert run_once(database, DAYS, NOW_MS + upkeep.HELD_MS + 1) is None
    report = run_once(database, DAYS, NOW_MS + 2 * upkeep.HELD_MS)
    assert report is not None
    assert not upkeep.go_on(database, TASK, "another", NOW_MS)
    state = upkeep.state_of(database, TASK)
    assert (state.holder, state.started_at_ms) == (None, NOW_MS + 2 * upkeep.HELD_MS)
    assert not upkeep.claim(database, TASK, "another", NOW_MS + 10 * upkeep.HELD_MS, not_since_ms=NOW_MS)


def test_a_run_whose_task_another_one_has_taken_stops(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "HELD_MS", 0)
    monkeypatch.setattr(retention, "FEWEST_ROWS", 1)
    monkeypatch.setattr(retention, "MOST_ROWS", 1)
    many_old(database, 400)
    taken = threading.Timer(0.3, lambda: upkeep.claim(database, TASK, "another", NOW_MS + DAY_MS))
    taken.start()
    report = run_once(database, DAYS, NOW_MS)
    taken.join()
    assert report is not None
    assert not report.is_complete
    assert upkeep.state_of(database, TASK).holder == "another"


RUN = """
import sys, threading
from sqlalchemy.engine import make_url
from waypost.ledger import retention
from waypost.settings import LedgerSettings
from waypost.store.database import Database
retention.MOST_ROWS = retention.FIRST_ROWS = 5
print("begun", flush=True)
retention.run_once(Database(make_url(sys.argv[1])), LedgerSettings(requests_days=10), int(sys.argv[2]))
"""


def test_a_process_that_is_killed_in_the_middle_leaves_whole_requests_and_the_next_goes_on(database: Database) -> None:
    many_old(database, 1_000)
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", RUN, url, str(NOW_MS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "src"}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while count(database, requests) > 900:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    left = count(database, requests)
    assert 0 < left == count(database, attempts)
    assert run_once(database, DAYS, NOW_MS + 1) is None
    report = run_once(database, DAYS, NOW_MS + upkeep.HELD_MS)
    assert report is not None
    assert report.deleted["requests"] == left


@pytest.fixture
def file_database(tmp_path: Path) -> Database:
    database = Database(URL.create("sqlite+pysqlite", database=str(tmp_path / "waypost.db")))
    upgrade(database)
    return database


def test_writers_wait_less_than_a_fifth_of_a_second(file_database: Database) -> None:
    """SQLite has one writer at a time: while requests are forgotten, another one wants to write all the time."""
    many_old(file_database, 15_000)
    done, waited_s = threading.Event(), []

    def drain() -> None:
        number = 0
        while not done.is_set():
            begun = time.monotonic()
            write(file_database, a_request(10**6 + number, started_at_ms=NOW_MS))
            waited_s.append(time.monotonic() - begun)
            number += 1
            time.sleep(0.005)

    drainer = threading.Thread(target=drain)
    drainer.start()
    report = run_once(file_database, DAYS, NOW_MS)
    done.set()
    drainer.join()
    assert report is not None
    assert report.deleted["requests"] == 15_000
    assert len(waited_s) > 50
    # The slowest one in a hundred may have waited for another program on this machine.
    assert sorted(waited_s)[int(len(waited_s) * 0.99)] < 0.2
    file_database.close()


def test_the_file_of_sqlite_becomes_smaller_and_its_log_is_cut(file_database: Database, tmp_path: Path) -> None:
    big = "x" * 3000
    for begin in range(0, 3000, 500):
        rows = ({"entry_id": f"{begin + number}", "stored_at_ms": 1, "request": big} for number in range(500))
        insert(file_database, bodies, *rows)
    before = compaction.size_bytes(file_database)
    report = run_once(file_database, DAYS, NOW_MS)
    assert report is not None
    assert report.room == compaction.BY_STEPS
    assert report.freed_bytes > before / 2
    assert compaction.size_bytes(file_database) < before / 2
    assert (tmp_path / "waypost.db-wal").stat().st_size < 200_000
    file_database.close()


def test_a_reader_who_takes_long_keeps_nobody_waiting(file_database: Database) -> None:
    """The log cannot be cut then; that must be given up soon, for it keeps writers waiting."""
    many_old(file_database, 1_000)
    with file_database.read() as reader:
        reader.execute(select(requests.c.id).limit(1)).all()
        begun = time.monotonic()
        compaction.shorten_log(file_database)
        assert time.monotonic() - begun < 1.0
    file_database.close()


def test_a_file_that_was_made_elsewhere_keeps_its_room(tmp_path: Path) -> None:
    file = tmp_path / "waypost.db"
    with sqlite3.connect(file) as made:
        made.execute("CREATE TABLE older (a)")
    database = Database(URL.create("sqlite+pysqlite", database=str(file)))
    upgrade(database)
    report = run_once(database, DAYS, NOW_MS)
    assert report is not None
    assert report.room == compaction.KEPT
    database.close()


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_thread_forgets_and_tells_how_it_stands(database: Database) -> None:
    write(database, a_request(1, started_at_ms=1))
    task = RetentionTask(lambda: database, LedgerSettings, first_s=0.05)
    assert (task.state.is_running, task.state.next_ms) == (False, None)
    task.start()
    until(lambda: count(database, requests) == 0 and task.state.next_ms is not None)
    until(lambda: (task.state.next_ms or 0) > time.time() * 1000 + 3_500_000)
    assert not task.state.is_running
    assert task.state.trouble is None
    task.stop()
    state = upkeep.state_of(database, TASK)
    assert state.report is not None
    assert state.report["deleted"] == {"requests": 1}


def test_of_two_threads_one_does_the_work(database: Database) -> None:
    """A second process whose turn comes within the hour sees that it has been done."""
    tasks = [RetentionTask(lambda: database, LedgerSettings, first_s=first_s) for first_s in (0.05, 0.3)]
    for task in tasks:
        task.start()
    until(lambda: all((task.state.next_ms or 0) > time.time() * 1000 + 3_000_000 for task in tasks))
    started = upkeep.state_of(database, TASK).started_at_ms
    for task in tasks:
        task.stop()
    assert upkeep.state_of(database, TASK).started_at_ms == started


def test_a_database_that_is_away_is_told_and_tried_again(
    file_database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Database(URL.create("sqlite+pysqlite", database=str(tmp_path / "gone" / "waypost.db")))
    task = RetentionTask(lambda: nowhere, LedgerSettings, first_s=0.01, again_s=0.05)
    task.start()
    until(lambda: task.state.trouble == OperationalError.__name__)
    (tmp_path / "gone").mkdir()
    with sqlite3.connect(tmp_path / "waypost.db") as source, sqlite3.connect(tmp_path / "gone/waypost.db") as target:
        source.backup(target)
    until(lambda: task.state.trouble is None and (task.state.next_ms or 0) > time.time() * 1000 + 3_000_000)
    task.stop()
    assert [record.message for record in caplog.records if "forgotten" in record.message] == [
        "what has had its time could not be forgotten: OperationalError"
    ]
    nowhere.close()
    file_database.close()


def test_a_report_tells_all_that_it_knows() -> None:
    report = Report()
    assert set(report.told()) == set(Report.__slots__)
