"""Claims about draining, on both databases: every record becomes a row once, whatever the database or the disk does."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, event, update
from sqlalchemy.exc import OperationalError
from tests.databases import PostgresServer
from tests.ledger.journal.folders import flip, names, written
from tests.ledger.traffic import START_MS, a_body, a_closed, an_ended, an_opened, exchange, expected, rows, stored

from waypost.catalogue import PriceBook
from waypost.chat import Usage
from waypost.ledger import posting
from waypost.ledger.charges import Spend
from waypost.ledger.journal import Drainer, Journal, draining, offsets
from waypost.ledger.journal.adoption import ANSWER_TOKENS
from waypost.ledger.journal.encoding import encode
from waypost.ledger.journal.frames import FRAME_BYTES, VERSION, header
from waypost.ledger.journal.locks import take
from waypost.ledger.journal.names import lock_name, new_holder
from waypost.ledger.records import BodyStored, Counts, Record
from waypost.ledger.rows import Row, body_row
from waypost.store.database import Database
from waypost.store.migrate import upgrade
from waypost.store.tables import attempts, bodies, daily_totals, journal_files, requests, spend, unfinished_attempts

GIBIBYTE = 1024**3
PRICES = PriceBook()
RECORDS = [record for number in range(40) for record in exchange(number)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def drainer(folder: Path, database: Database) -> Iterator[Drainer]:
    """Not started: it drains when it is told to."""
    one = Drainer(folder, lambda: database, PRICES, interval_s=0.02)
    yield one
    one.stop()


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


def drained_empty(drainer: Drainer, folder: Path) -> None:
    """Drain until nothing is left in the folder but what is the drainer's own."""
    until(lambda: drainer.drain_now(5) and names(folder) <= {"drainer.lock", "drained", "quarantine"})


# What is drained


def test_what_is_appended_becomes_rows_while_the_journal_is_written(database: Database, folder: Path) -> None:
    drainer = Drainer(folder, lambda: database, PRICES, interval_s=0.02)
    drainer.start()
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=10_000)
    for number in range(100):
        for record in exchange(number):
            own.append(record)
    assert drainer.drain_now(20)
    assert stored(database) == expected([record for number in range(100) for record in exchange(number)])
    until(lambda: own.state().backlog_bytes == 0)
    assert drainer.status().is_elected
    own.close()
    drainer.stop()
    assert names(folder) == {"drainer.lock", "drained"}
    assert rows(database, journal_files) == []


def test_the_files_of_a_dead_process_are_drained_and_removed(
    database: Database, folder: Path, drainer: Drainer
) -> None:
    holder = new_holder()
    written(folder, *RECORDS[:50], holder=holder)
    written(folder, *RECORDS[50:], holder=holder, number=2)
    (folder / lock_name(holder)).touch()
    drained_empty(drainer, folder)
    assert stored(database) == expected(RECORDS)
    assert rows(database, journal_files) == []
    assert drainer.status().records == len(RECORDS)


def test_a_segment_that_was_rotated_away_is_removed_while_its_process_lives(
    database: Database, folder: Path, drainer: Drainer
) -> None:
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=5_000)
    for record in RECORDS:
        own.append(record)
    until(lambda: drainer.drain_now(5) and len(names(folder)) == 4)
    assert len(rows(database, journal_files)) == 1
    assert stored(database) == expected(RECORDS)
    own.close()


def test_a_file_of_which_only_the_name_is_there_is_removed_with_its_process(folder: Path, drainer: Drainer) -> None:
    """It died in the moment in which it made the file, or before the file was needed."""
    holder = new_holder()
    written(folder, *RECORDS, holder=holder)
    (folder / f"{holder}.00000002.journal").write_bytes(header("x", 0)[:10])
    (folder / f"{holder}.next").touch()
    (folder / lock_name(holder)).touch()
    drained_empty(drainer, folder)


def test_more_than_one_transaction_holds(database: Database, folder: Path, drainer: Drainer) -> None:
    records = [record for number in range(1500) for record in exchange(number)]
    written(folder, *records)
    assert len(records) > 4000
    assert drainer.drain_now()
    assert stored(database) == expected(records)


class Death(BaseException):
    """Ends a drainer wherever it is."""


STEPS: list[tuple[Any, str, int]] = [
    (posting.Posting, "post", 1),
    (draining.Draining, "_tell_followers", 1),
    (offsets.Offsets, "moved", 1),
    (draining.Draining, "_bury", 1),
    (Path, "rename", 1),
    (Path, "rename", 2),
    (draining.Draining, "_forget_holder", 1),
    (Path, "unlink", 1),
    (draining.Draining, "_leave_word", 1),
    (offsets.Offsets, "remove", 1),
    (Path, "unlink", 2),
    (Path, "unlink", 3),
]


@pytest.mark.parametrize(("owner", "name", "times"), STEPS, ids=[f"{name}-{times}" for _, name, times in STEPS])
def test_after_a_death_of_the_drainer_at_any_step_nothing_is_lost_or_doubled(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, times: int
) -> None:
    """Within the transaction, after it, and between the steps of removing a file."""
    holder = new_holder()
    written(folder, *RECORDS[:60], holder=holder)
    written(folder, *RECORDS[60:], an_opened("open", reserved_micro_usd=5), holder=holder, number=2)
    lock = folder / lock_name(holder)
    lock.touch()
    os.utime(lock, (1, 1))
    original, left = getattr(owner, name), times

    def die(*arguments: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            raise Death
        return original(*arguments, **more)

    dying = Drainer(folder, lambda: database, PRICES)
    with monkeypatch.context() as patch, pytest.raises(Death):
        patch.setattr(owner, name, die)
        for _ in range(5):
            dying.drain_now(0)
    dying._election.resign()
    last = Drainer(folder, lambda: database, PRICES)
    drained_empty(last, folder)
    last._election.resign()
    closed = a_closed("open", outcome="unknown", cost_micro_usd=5, cost_basis="estimated", model="gpt-5-mini")
    ended = an_ended("open", end_state="unknown")
    wanted = expected([*RECORDS, an_opened("open"), msgspec.structs.replace(closed, counts=Counts(100)), ended])
    wanted.attempts["open.1"]["duration_ms"] = None
    assert stored(database) == wanted
    assert rows(database, journal_files) == []


def test_two_that_drain_at_the_same_time_post_each_record_once(database: Database, folder: Path) -> None:
    """As when one stood still and was deposed, and wakes in the middle of it."""
    holder = new_holder()
    held = take(written(folder, *RECORDS, holder=holder).with_name(lock_name(holder)), create=True)
    several = [Drainer(folder, lambda: database, PRICES) for _ in range(4)]
    barrier = threading.Barrier(len(several))

    def drain(one: Drainer) -> None:
        own = one._begin()
        barrier.wait()
        for _ in range(5):
            try:
                own.round()
            except Exception as error:  # noqa: BLE001 - it is looked at
                # Either it was too late, or the database let it wait too long
                assert type(error).__name__ in {"Overtaken", "OperationalError"}  # noqa: PT017

    threads = [threading.Thread(target=drain, args=(one,)) for one in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(database) == expected(RECORDS)
    assert held is not None
    held.release()


# Attempts that nobody closed


def test_what_a_dead_process_left_open_is_closed_as_unknown_at_an_estimated_cost(
    database: Database, folder: Path, drainer: Drainer
) -> None:
    """As its prompt and a short answer, and never above what was reserved."""
    cost = PRICES.cost_micro_usd("openai", "openai", "gpt-5-mini", Usage(input_tokens=100, output_tokens=ANSWER_TOKENS))
    assert cost is not None
    assert cost > 20
    written(
        folder,
        an_opened("a"),
        an_opened("b", reserved_micro_usd=20),
        an_opened("c", reserved_micro_usd=20, model="nobody-knows"),
        an_opened("d", model="nobody-knows"),
        an_opened("e", kind="openai", model="text-embedding-3-small"),
    )
    assert drainer.drain_now()
    found = {row["id"]: (row["outcome"], row["cost_basis"], row["cost_micro_usd"]) for row in rows(database, attempts)}
    embedding = PRICES.cost_micro_usd("openai", "openai", "text-embedding-3-small", Usage(input_tokens=100))
    assert found == {
        "a.1": ("unknown", "estimated", cost),
        "b.1": ("unknown", "estimated", 20),
        "c.1": ("unknown", "estimated", 20),
        "d.1": ("unknown", "unpriced", None),
        "e.1": ("unknown", "estimated", embedding),
    }
    assert {(row["duration_ms"], row["input_tokens"], row["output_tokens"]) for row in rows(database, attempts)} == {
        (None, 100, None)
    }
    ends = {
        row["id"]: (row["end_state"], row["cost_micro_usd"], row["cost_is_estimate"])
        for row in rows(database, requests)
    }
    assert ends["a"] == ("unknown", cost, True)
    assert ends["d"] == ("unknown", None, False)
    assert rows(database, unfinished_attempts) == []
    day = sum(row["cost_micro_usd"] for row in rows(database, daily_totals))
    assert day == cost + 40 + (embedding or 0)
    assert {row["micro_usd"] for row in rows(database, spend) if row["subject"] == "project:proj_1"} == {day}
    assert drainer.status().adopted_attempts == 5


def test_a_request_whose_end_was_never_written_is_made_of_its_attempts(
    database: Database, folder: Path, drainer: Drainer
) -> None:
    written(
        folder,
        an_opened("a"),
        a_closed("a", outcome="failed", cost_micro_usd=0, cost_basis="free"),
        an_opened("a", 2),
        a_closed("a", 2),
    )
    assert drainer.drain_now()
    (request,) = rows(database, requests)
    assert (request["end_state"], request["attempts"], request["cost_micro_usd"]) == ("unknown", 2, 1234)
    assert (request["provider"], request["model"], request["status"]) == ("openai", "gpt-5-mini-2026", None)
    assert (request["started_at_ms"], request["total_ms"], request["tags"]) == (
        START_MS + 1000,
        None,
        {"team": "search"},
    )
    assert [row["outcome"] for row in rows(database, attempts)] == ["failed", "answered"]


def test_a_living_process_s_attempts_are_left_open(database: Database, folder: Path, drainer: Drainer) -> None:
    own = Journal(folder, max_bytes=GIBIBYTE)
    own.append(an_opened("a"))
    assert drainer.drain_now()
    assert [row["outcome"] for row in rows(database, attempts)] == ["open"]
    own.append(a_closed("a"))
    own.append(an_ended("a"))
    assert drainer.drain_now()
    assert stored(database) == expected([an_opened("a"), a_closed("a"), an_ended("a")])
    own.close()


def test_many_attempts_of_a_dead_process_are_all_closed(database: Database, folder: Path, drainer: Drainer) -> None:
    """In several transactions, of which none splits a request."""
    records: list[Record] = [an_opened(f"{number:04d}", place) for number in range(450) for place in (1, 2, 3)]
    written(folder, *records)
    assert drainer.drain_now()
    assert Counter(row["outcome"] for row in rows(database, attempts)) == {"unknown": 1350}
    assert {(row["end_state"], row["attempts"]) for row in rows(database, requests)} == {("unknown", 3)}
    assert rows(database, unfinished_attempts) == []


def test_the_true_end_of_an_attempt_takes_the_place_of_an_estimated_one(
    database: Database, folder: Path, drainer: Drainer
) -> None:
    """A machine that was cut off for a day comes back with what it knows; sums are corrected."""
    holder = new_holder()
    with database.write() as connection:
        posting.post(connection, database, [an_opened("a")], holder)
    long_ago(drainer, database)
    assert drainer.drain_now()
    assert [row["outcome"] for row in rows(database, attempts)] == ["unknown"]
    written(folder, a_closed("a"), an_ended("a"), holder=holder, number=2)
    assert drainer.drain_now()
    records: list[Record] = [an_opened("a", started_at_ms=1), a_closed("a"), an_ended("a")]
    found, wanted = stored(database), expected([an_opened("a"), *records[1:]])
    assert found.attempts == wanted.attempts
    assert found.requests == wanted.requests
    assert found.spend == wanted.spend
    assert found.unfinished == set()
    assert sum(found.daily.values(), Counter()) == sum(wanted.daily.values(), Counter())


def long_ago(drainer: Drainer, database: Database) -> None:
    """What is open began two days ago, and the drainer is due to look for such."""
    with database.write() as connection:
        connection.execute(update(unfinished_attempts).values(started_at_ms=int(time.time() * 1000) - 2 * 86_400_000))
    drainer._folder.mkdir(exist_ok=True)
    drainer._begin()._lost_check_at_s = -1e9


def test_attempts_of_a_machine_that_never_came_back_are_closed_after_a_day(
    database: Database, folder: Path, drainer: Drainer
) -> None:
    """Not those of a process in this folder, however long they take."""
    own = Journal(folder, max_bytes=GIBIBYTE)
    own.append(an_opened("mine"))
    assert drainer.drain_now()
    with database.write() as connection:
        posting.post(connection, database, [an_opened("theirs")], new_holder())
    assert drainer.drain_now()
    assert {row["outcome"] for row in rows(database, attempts)} == {"open"}
    long_ago(drainer, database)
    assert drainer.drain_now()
    assert {row["id"]: row["outcome"] for row in rows(database, attempts)} == {"mine.1": "open", "theirs.1": "unknown"}
    own.close()


# Followers


class Recorder:
    """A follower that writes down what it is told, and can fail."""

    def __init__(self) -> None:
        self.spend: Counter[tuple[str, str]] = Counter()
        self.dead: list[str] = []
        self.fails = 0

    def posted(self, connection: Connection, database: Database, holder: str, spend: Spend) -> None:
        if self.fails:
            self.fails -= 1
            raise OperationalError("made up", {}, Exception("fault"))
        self.spend.update(spend)

    def gone(self, connection: Connection, database: Database, holder: str) -> None:
        self.dead.append(holder)


def test_followers_are_told_the_spend_of_each_process_and_that_it_is_gone(database: Database, folder: Path) -> None:
    follower = Recorder()
    follower.fails = 2
    drainer = Drainer(folder, lambda: database, PRICES, followers=lambda: [follower], interval_s=0.01)
    holder = new_holder()
    written(folder, *RECORDS, an_opened("open", reserved_micro_usd=5), holder=holder)
    drained_empty(drainer, folder)
    found = {(row["subject"], row["window"]): row["micro_usd"] for row in rows(database, spend)}
    assert follower.spend == found
    assert sum(amount for (subject, _), amount in found.items() if subject.startswith("key:")) > 10
    assert set(follower.dead) == {holder}
    drainer.stop()


# Damage


def test_damage_costs_the_record_it_is_in_and_is_told(
    database: Database, folder: Path, drainer: Drainer, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(folder, *RECORDS)
    flip(path, FRAME_BYTES + len(encode(RECORDS[0])) + 40)
    drained_empty(drainer, folder)
    status = drainer.status()
    assert (status.gaps, status.gap_bytes) == (1, FRAME_BYTES + len(encode(RECORDS[1])))
    assert len(list((folder / "quarantine").iterdir())) == 1
    assert f"of {path.name} are damaged" in caplog.text
    assert len(rows(database, requests)) == len(expected(RECORDS).requests)


def test_a_record_that_was_cut_short_by_its_process_s_death_is_no_damage(
    database: Database, folder: Path, drainer: Drainer
) -> None:
    path = written(folder, *RECORDS, a_body("last"))
    path.write_bytes(path.read_bytes()[:-7])
    drained_empty(drainer, folder)
    assert drainer.status().gaps == 0
    assert stored(database) == expected(RECORDS)


def test_a_record_that_the_database_refuses_is_set_aside_alone(
    database: Database,
    folder: Path,
    drainer: Drainer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Among hundreds of others, all of which become rows."""

    def refused(stored_body: BodyStored) -> Row:
        row = body_row(stored_body)
        return row if stored_body.entry_id != "bad" else {**row, "stored_at_ms": None}

    monkeypatch.setattr(posting, "body_row", refused)
    written(folder, *RECORDS[:70], a_body("bad", request="a secret of theirs"), *RECORDS[70:], a_body("good"))
    drained_empty(drainer, folder)
    assert stored(database) == expected(RECORDS)
    assert [row["entry_id"] for row in rows(database, bodies)] == ["good"]
    assert drainer.status().gaps == 1
    (file,) = (folder / "quarantine").iterdir()
    assert b"a secret of theirs" in file.read_bytes()
    assert "a record cannot be posted (IntegrityError)" in caplog.text
    assert "a secret of theirs" not in caplog.text


def test_a_newer_version_s_file_waits_for_it_and_others_are_drained(
    database: Database,
    folder: Path,
    drainer: Drainer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from waypost.ledger.journal import frames

    monkeypatch.setattr(frames, "VERSION", VERSION + 1)
    newer = written(folder, an_opened("newer"))
    monkeypatch.undo()
    written(folder, *RECORDS)
    assert not drainer.drain_now(0.3)
    assert not drainer.drain_now(0.1)
    assert stored(database) == expected(RECORDS)
    assert newer.exists()
    assert caplog.text.count("written by a newer version") == 1


def test_a_file_that_cannot_be_read_keeps_no_other_from_being_drained(
    database: Database, folder: Path, drainer: Drainer
) -> None:
    bad = written(folder, *RECORDS[:3])
    flip(bad, 40)
    (folder / "quarantine").write_text("in the way")
    written(folder, *RECORDS)
    assert not drainer.drain_now(0.3)
    assert stored(database) == expected(RECORDS)
    (folder / "quarantine").unlink()
    drained_empty(drainer, folder)


# The database is away


def test_while_the_database_is_away_nothing_is_lost_and_it_is_told_once(
    database: Database, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = threading.Event()

    @event.listens_for(database.engine, "begin")
    def _fail(_connection: Connection) -> None:
        if away.is_set():
            raise OperationalError("made up", {}, Exception("gone\nwith password=secret"))

    drainer = Drainer(folder, lambda: database, PRICES, interval_s=0.01)
    drainer.start()
    own = Journal(folder, max_bytes=GIBIBYTE)
    for record in RECORDS[:50]:
        own.append(record)
    assert drainer.drain_now(10)
    away.set()
    for record in RECORDS[50:]:
        own.append(record)
    until(lambda: drainer.status().trouble)
    assert drainer.status().trouble == "OperationalError: gone"
    assert not drainer.drain_now(0.3)
    until(lambda: own.state().backlog_bytes > 1000)
    assert (drainer.status().trouble_since_ms or 0) > START_MS / 2
    away.clear()
    assert drainer.drain_now(10)
    assert drainer.status().trouble is None
    assert stored(database) == expected(RECORDS)
    own.close()
    drainer.stop()
    assert caplog.text.count("cannot be drained") == 1
    assert caplog.text.count("is drained again") == 1
    assert "secret" not in caplog.text


def test_a_postgresql_server_that_is_killed_and_started_again(postgres: PostgresServer, folder: Path) -> None:
    """Connections are stale, and a transaction may have been cut off within its commit."""
    database = Database(postgres.url)
    upgrade(database)
    drainer = Drainer(folder, lambda: database, PRICES, interval_s=0.01)
    drainer.start()
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=20_000)
    for number in range(450):
        for record in exchange(number):
            own.append(record)
        if number % 150 == 75:
            postgres.kill()
        if number % 150 == 149:
            until(lambda: drainer.status().trouble)
            postgres.start()
    own.close()
    drained_empty(drainer, folder)
    assert stored(database) == expected([record for number in range(450) for record in exchange(number)])
    drainer.stop()
    database.close()


def test_stopping_does_not_wait_for_a_database_that_is_away(postgres: PostgresServer, folder: Path) -> None:
    database = Database(postgres.url)
    upgrade(database)
    drainer = Drainer(folder, lambda: database, PRICES, interval_s=0.01)
    drainer.start()
    assert drainer.drain_now(10)
    postgres.kill()
    written(folder, *RECORDS)
    until(lambda: drainer.status().trouble)
    began_s = time.monotonic()
    drainer.stop(timeout_s=5.0)
    assert time.monotonic() - began_s < 5.0


def test_a_database_that_hangs_holds_up_the_stop_no_longer_than_its_time(
    postgres: PostgresServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(postgres.url)
    upgrade(database)
    drainer = Drainer(folder, lambda: database, PRICES, interval_s=0.01)
    drainer.start()
    assert drainer.drain_now(10)
    postgres.freeze()
    written(folder, *RECORDS)
    time.sleep(0.2)
    began_s = time.monotonic()
    drainer.stop(timeout_s=0.5)
    assert time.monotonic() - began_s < 1.5
    assert "is left behind" in caplog.text
    postgres.thaw()
    assert drainer._thread is not None
    drainer._thread.join(20)


def test_a_fault_of_our_own_does_not_end_the_thread(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told with its trace, nothing is set aside, and what waited is drained when it is mended."""
    with monkeypatch.context() as patch:
        patch.setattr(posting, "attempt_row", lambda _: dict[str, str]()["missing"])
        drainer = Drainer(folder, lambda: database, PRICES, interval_s=0.01)
        written(folder, *RECORDS)
        drainer.start()
        until(lambda: drainer.status().trouble == "KeyError")
    until(lambda: drainer.status().trouble is None)
    assert drainer.drain_now(10)
    assert stored(database) == expected(RECORDS)
    assert caplog.text.count("Traceback") == 1
    assert drainer.status().gaps == 0
    drainer.stop()


# Several processes' worth


def test_another_s_drainer_drains_for_this_one(database: Database, folder: Path) -> None:
    """`drain_now` waits for it, and this one takes over when it stops."""
    first = Drainer(folder, lambda: database, PRICES, interval_s=0.02)
    second = Drainer(folder, lambda: database, PRICES, interval_s=0.02)
    first.start()
    until(lambda: first.status().is_elected)
    second.start()
    own = Journal(folder, max_bytes=GIBIBYTE)
    for record in RECORDS[:50]:
        own.append(record)
    assert second.drain_now(10)
    assert (first.status().records, second.status().records) == (50, 0)
    first.stop()
    for record in RECORDS[50:]:
        own.append(record)
    own.close()
    until(lambda: second.status().is_elected)
    assert second.drain_now(10)
    second.stop()
    assert stored(database) == expected(RECORDS)


def test_an_idle_drainer_asks_the_database_nothing(database: Database, folder: Path) -> None:
    drainer = Drainer(folder, lambda: database, PRICES, interval_s=0.01)
    own = Journal(folder, max_bytes=GIBIBYTE)
    own.append(an_opened("a"))
    drainer.start()
    assert drainer.drain_now(10)
    statements: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def _note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    time.sleep(0.2)
    assert statements == []
    own.close()
    drainer.stop()


def test_the_database_is_opened_in_the_thread_and_only_by_the_one_that_drains(database: Database, folder: Path) -> None:
    opened: list[str] = []

    def open_database() -> Database:
        opened.append(threading.current_thread().name)
        return database

    first, second = (Drainer(folder, open_database, PRICES, interval_s=0.01) for _ in range(2))
    first.start()
    until(lambda: first.status().is_elected)
    second.start()
    time.sleep(0.1)
    assert opened == ["waypost-drainer"]
    first.stop()
    second.stop()


def test_a_lock_file_that_was_just_made_is_not_taken_for_a_dead_process_s(
    folder: Path, database: Database, drainer: Drainer
) -> None:
    """Its process may not have locked it yet."""
    folder.mkdir()
    young, old = folder / lock_name(new_holder()), folder / lock_name(new_holder())
    young.touch()
    old.touch()
    long_ago_s = time.time() - 100
    os.utime(old, (long_ago_s, long_ago_s))
    assert drainer.drain_now()
    assert (young.exists(), old.exists()) == (True, False)
