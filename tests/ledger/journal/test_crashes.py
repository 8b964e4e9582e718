"""Claims about processes that are killed: what they had written becomes rows exactly once, and the sums are exact."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.journal.folders import names
from tests.ledger.journal.processes import numbered
from tests.ledger.traffic import Expected, expected, rows, stored

from waypost.catalogue import PriceBook
from waypost.ledger.journal import Drainer
from waypost.ledger.records import AttemptClosed, AttemptOpened, Record, RequestEnded
from waypost.store.database import Database
from waypost.store.tables import attempts, daily_totals, journal_files, requests, spend, unfinished_attempts

KILLS = int(os.environ.get("WAYPOST_TEST_KILLS", "12"))
OWN_FILES = {"drainer.lock", "drainer.wanted", "drained"}


class Processes:
    """Writers and drainers of one folder, and what writers said that they had appended."""

    def __init__(self, folder: Path, database: Database, output: Path) -> None:
        self.folder = folder
        self.url = database.url.render_as_string(hide_password=False)
        self.output = output
        self.running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.outputs: list[Path] = []

    def begin(self, what: str, pause_s: float = 0.0005) -> subprocess.Popen[bytes]:
        """Begin one, and wait until it works."""
        file = self.output / f"{what}-{len(self.outputs):03d}"
        arguments = [f"w{len(self.outputs)}", str(pause_s)] if what == "write" else [self.url]
        command = [sys.executable, "-m", "tests.ledger.journal.processes", what, str(self.folder), *arguments]
        with file.open("wb") as written:
            process = subprocess.Popen(command, stdout=written)
        self.outputs.append(file)
        self.running.append((what, process))
        end_s = time.monotonic() + 60
        while not file.read_bytes():
            assert time.monotonic() < end_s, f"{what} does not begin"
            assert process.poll() is None
            time.sleep(0.01)
        return process

    def kill(self, place: int) -> str:
        """Kill one at once. What it was."""
        what, process = self.running.pop(place)
        process.kill()
        process.wait()
        return what

    def kill_all(self) -> None:
        while self.running:
            self.kill(0)

    def told(self) -> set[str]:
        """What writers had appended for certain. The last line of a killed one may be cut."""
        lines = (line for file in self.outputs for line in file.read_text().splitlines(keepends=True))
        return {line.strip() for line in lines if line.endswith("\n") and ":" in line}


@contextlib.contextmanager
def processes(folder: Path, database: Database, output: Path) -> Iterator[Processes]:
    output.mkdir()
    found = Processes(folder, database, output)
    try:
        yield found
    finally:
        for _, process in found.running:
            process.send_signal(signal.SIGCONT)
        found.kill_all()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def drain_to_the_end(database: Database, folder: Path) -> None:
    """As the next process to come does, until no dead process's file is left."""
    drainer = Drainer(folder, lambda: Database(database.url), PriceBook(), interval_s=0.02)
    drainer.start()
    end_s = time.monotonic() + 60
    while not drainer.drain_now(30) or not names(folder) <= OWN_FILES:
        assert time.monotonic() < end_s, names(folder)
        time.sleep(0.05)
    drainer.stop()
    assert drainer.status().gaps == 0


def check(database: Database, told: set[str]) -> Expected:
    """Every record that is known to have been appended is in the database, none twice or made up; sums are exact.

    What a writer had appended and not told yet may be there as well; what it had not ended is unknown and estimated.
    """
    known = {each.partition(" ")[0] for each in told}
    possible: dict[str, list[tuple[str, Record]]] = {}
    for each in known:
        prefix, _, number = each.partition(":")
        possible[each] = list(numbered(prefix, int(number)))
    found = stored(database)
    everything = expected([record for records in possible.values() for _, record in records])
    for records in possible.values():
        for name, record in records:
            check_record(record, name in told, everything, found)
    # Nobody else's: a request that was begun and never told at all has one record at most.
    strangers = [row for row in rows(database, attempts) if row["id"] not in everything.attempts]
    assert {row["outcome"] for row in strangers} <= {"unknown"}
    assert found.unfinished == set()
    check_sums(database)
    return found


def check_record(record: Record, is_certain: bool, everything: Expected, found: Expected) -> None:
    if isinstance(record, AttemptOpened):
        if is_certain:
            assert record.attempt_id in found.attempts
    elif isinstance(record, AttemptClosed):
        row = found.attempts.get(record.attempt_id)
        if is_certain or (row is not None and row["outcome"] != "unknown"):
            assert row == everything.attempts[record.attempt_id]
        elif row is not None:
            assert row["cost_basis"] == "estimated"
    elif isinstance(record, RequestEnded):
        row = found.requests.get(record.entry_id)
        if is_certain or (row is not None and row["end_state"] != "unknown"):
            assert row == everything.requests[record.entry_id]


def check_sums(database: Database) -> None:
    """Daily totals, spend and requests are the sums of the attempts, to the micro-dollar."""
    calls = rows(database, attempts)
    assert {row["outcome"] for row in calls} <= {"answered", "failed", "caller_left", "lost", "unknown"}
    total = sum(row["cost_micro_usd"] or 0 for row in calls)
    days = rows(database, daily_totals)
    assert sum(row["cost_micro_usd"] for row in days) == total
    assert sum(row["attempts"] for row in days) == len(calls)
    assert sum(row["estimated_attempts"] for row in days) == sum(row["cost_basis"] == "estimated" for row in calls)
    spent: Counter[str] = Counter()
    for row in rows(database, spend):
        kind = row["subject"].partition(":")[0]
        spent[f"{kind} {'month' if len(row['window']) == 7 else 'day'}"] += row["micro_usd"]
    named = sum(row["cost_micro_usd"] or 0 for row in calls if row["end_user"])
    wanted = {f"{kind} {window}": total for kind in ("key", "project") for window in ("day", "month")}
    assert spent == wanted | {f"user {window}": named for window in ("day", "month")}
    by_entry: dict[str, list[int | None]] = {}
    for row in calls:
        by_entry.setdefault(row["entry_id"], []).append(row["cost_micro_usd"])
    for row in rows(database, requests):
        costs = by_entry.pop(row["id"], [])
        assert row["attempts"] == len(costs)
        assert row["cost_micro_usd"] == (None if None in costs else sum(cost for cost in costs if cost is not None))
    assert by_entry == {}


@pytest.mark.timeout(600)
def test_writers_and_drainers_that_are_killed_at_random_lose_and_double_nothing(
    database: Database, folder: Path, tmp_path: Path
) -> None:
    source = random.Random(7)  # noqa: S311 - no secret
    with processes(folder, database, tmp_path / "output") as living:
        for what in ("write", "write", "drain", "drain"):
            living.begin(what)
        for _ in range(KILLS):
            time.sleep(source.uniform(0.0, 0.4))
            living.begin(living.kill(source.randrange(len(living.running))))
        living.kill_all()
        told = living.told()
    drain_to_the_end(database, folder)
    found = check(database, told)
    assert len(told) > 100 * KILLS / 4
    assert len(found.attempts) > 50
    assert rows(database, journal_files) == []


@pytest.mark.timeout(300)
def test_a_frozen_process_s_attempts_are_left_open_until_it_wakes_and_goes_on(
    database: Database, folder: Path, tmp_path: Path
) -> None:
    """It is not taken for dead; another one is killed beside it, and is."""
    with processes(folder, database, tmp_path / "output") as living:
        frozen, killed = living.begin("write", 0.005), living.begin("write", 0.005)
        living.begin("drain")
        time.sleep(0.5)
        frozen.send_signal(signal.SIGSTOP)
        living.running.remove(("write", killed))
        killed.kill()
        killed.wait()
        end_s = time.monotonic() + 60
        # Of the killed one nothing is left, and the frozen one's attempts are what is unfinished.
        while len(held_by(folder)) > 1 or holders_of(database) != held_by(folder):
            assert time.monotonic() < end_s
            time.sleep(0.05)
        before = len(living.told())
        frozen.send_signal(signal.SIGCONT)
        while len(living.told()) < before + 200:
            assert time.monotonic() < end_s
            time.sleep(0.05)
        living.kill_all()
        told = living.told()
    drain_to_the_end(database, folder)
    check(database, told)


def holders_of(database: Database) -> set[str]:
    """Processes with attempts that are not finished."""
    return {row["holder"] for row in rows(database, unfinished_attempts)}


def held_by(folder: Path) -> set[str]:
    """Processes with files in the folder."""
    return {name.partition(".")[0] for name in names(folder) if name.endswith(".journal")}


@pytest.mark.timeout(300)
def test_a_frozen_drainer_is_replaced_and_doubles_nothing_when_it_wakes(
    database: Database, folder: Path, tmp_path: Path
) -> None:
    """Frozen at random, perhaps within a transaction: the other one waits for its locks, if need be, and goes on."""
    with processes(folder, database, tmp_path / "output") as living:
        living.begin("write", 0.002)
        first = living.begin("drain")
        time.sleep(0.3)
        living.begin("drain")
        for _ in range(5):
            time.sleep(0.2)
            first.send_signal(signal.SIGSTOP)
            # As if thirty seconds had gone by without a sign of life.
            with contextlib.suppress(FileNotFoundError):
                os.utime(folder / "drainer.lock", (1, 1))
            time.sleep(0.5)
            first.send_signal(signal.SIGCONT)
        living.kill_all()
        told = living.told()
    drain_to_the_end(database, folder)
    check(database, told)
