"""What an append to the journal takes, how many records a second go into the database, and what the event loop feels.

Records are those of requests with one call: its begin, its end, and the request's. `whole` ones are drained together,
as those of quick requests are; of `parted` ones the begin is in the database before the end is written, as with
streams.
The goals are under 10 µs an append and 5,000 records a second on SQLite, from the first byte read to the last commit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import URL
from tests.databases import postgres_server

from benchmarks import report
from waypost.catalogue import PriceBook
from waypost.ledger.journal import Drainer, Journal, drainer
from waypost.ledger.journal.writing import Fsync
from waypost.ledger.records import AttemptClosed, AttemptOpened, Counts, Record, RequestEnded
from waypost.store.database import Database
from waypost.store.migrate import upgrade

RESULTS: Final = Path(__file__).resolve().parent / "results"
START_MS: Final = 1_795_651_200_000
LIMIT: Final = 1 << 40
GOAL_APPEND_US: Final = 10.0
GOAL_RECORDS_S: Final = 5_000.0
SYNCED: Final = 300
"""Appends with `fsync: always`, each of which waits for the disk."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Records a second by the clock, and by the time that the drainer's thread was on a processor."""

    by_clock: float
    by_processor: float


def exchange(number: int) -> tuple[Record, Record, Record]:
    """One request's records."""
    entry_id, at_ms = f"{START_MS + number:012x}{number:020x}", START_MS + number
    whose: dict[str, Any] = {
        "project_id": f"proj_{number % 7}",
        "key_id": f"key_{number % 50}",
        "end_user": f"user-{number % 300}@example.com",
        "path": "/v1/chat/completions",
        "route": "chat",
        "asked_model": "chat",
        "stream": True,
        "tags": {"team": "search", "env": "production"},
        "request_id": f"req_{number:032x}",
    }
    opened = AttemptOpened(
        attempt_id=f"{entry_id}.1",
        entry_id=entry_id,
        number=1,
        started_at_ms=at_ms,
        request_started_at_ms=at_ms,
        provider="openai",
        kind="openai",
        model="gpt-5-mini",
        input_tokens=500,
        reserved_micro_usd=20_000,
        **whose,
    )
    closed = AttemptClosed(
        attempt_id=f"{entry_id}.1",
        ended_at_ms=at_ms + 2500,
        outcome="answered",
        error_code=None,
        model="gpt-5-mini-2026-08-07",
        counts=Counts(input_tokens=512, input_cache_read_tokens=256, output_tokens=301, output_reasoning_tokens=128),
        cost_micro_usd=742,
        cost_basis="reported",
        price_source="genai-prices 2026-11-20 0123456789ab",
        first_token_ms=420,
        provider_key="#1",
        way=None,
    )
    ended = RequestEnded(
        entry_id=entry_id,
        started_at_ms=at_ms,
        provider="openai",
        model="gpt-5-mini-2026-08-07",
        end_state="answered",
        status=200,
        error_code=None,
        attempts=1,
        first_token_ms=421,
        total_ms=2503,
        cache=None,
        **whose,
    )
    return opened, closed, ended


def appends(folder: Path, fsync: Fsync, records: Sequence[Record]) -> list[float]:
    """Microseconds of each append."""
    journal, times = Journal(folder, max_bytes=LIMIT, fsync=fsync), []
    for record in records:
        begun = time.perf_counter_ns()
        journal.append(record)
        times.append((time.perf_counter_ns() - begun) / 1000)
    journal.close()
    return sorted(times)


def drained(folder: Path, database: Database, portions: Sequence[Sequence[Record]]) -> Rate:
    """How fast these are drained, one portion after the other."""
    journal = Journal(folder, max_bytes=LIMIT)
    one = Drainer(folder, lambda: database, PriceBook())
    one.drain_now()
    clock_s = processor_s = 0.0
    for portion in portions:
        for record in portion:
            journal.append(record)
        clock, processor = time.perf_counter(), time.thread_time()
        if not one.drain_now(600.0):
            raise RuntimeError(f"not drained: {one.status().trouble}")
        clock_s += time.perf_counter() - clock
        processor_s += time.thread_time() - processor
    journal.close()
    one.stop()
    count = sum(len(portion) for portion in portions)
    return Rate(count / clock_s, count / processor_s)


def stretches(folder: Path, database: Database, portions: Sequence[Sequence[Record]]) -> list[float]:
    """Milliseconds on the processor between two of the drainer's pauses: what others may have to wait for at most."""
    found: list[float] = []
    last_s: list[float] = []
    pause = drainer.pause

    def noting() -> None:
        now_s = time.thread_time()
        found.extend(1000 * (now_s - each) for each in last_s)
        pause()
        last_s[:] = [time.thread_time()]

    drainer.pause = noting
    try:
        drained(folder, database, portions)
    finally:
        drainer.pause = pause
    return sorted(found)


@contextmanager
def databases(folder: Path, kinds: Sequence[str]) -> Iterator[dict[str, Callable[[], Database]]]:
    """Where fresh databases of each kind come from."""
    made = 0

    def sqlite() -> Database:
        nonlocal made
        made += 1
        return Database(URL.create("sqlite+pysqlite", database=str(folder / f"{made}.db")))

    if "postgresql" not in kinds:
        yield {"sqlite": sqlite}
        return
    with postgres_server() as server:
        found = {"sqlite": sqlite, "postgresql": lambda: Database(server.create())}
        yield {kind: found[kind] for kind in kinds}


def measure(folder: Path, count: int, kinds: Sequence[str]) -> dict[str, Any]:
    """All figures."""
    exchanges = [exchange(number) for number in range(count)]
    whole = [[record for each in exchanges for record in each]]
    parted = [[each[0] for each in exchanges], [record for each in exchanges for record in each[1:]]]
    # As a server at a hundred requests a second has them every three tenths of a second.
    trickle = [[record for each in exchanges[at : at + 30] for record in each] for at in range(0, 1500, 30)]
    found: dict[str, Any] = {"append_us": {}, "records_s": {}}
    for fsync in ("off", "interval", "always"):
        times = appends(folder / fsync, fsync, whole[0] if fsync != "always" else whole[0][:SYNCED])  # type: ignore[arg-type]
        found["append_us"][fsync] = {
            "median": statistics.median(times),
            "mean": statistics.fmean(times),
            "p99": times[len(times) * 99 // 100],
        }
    with databases(folder, kinds) as fresh:
        for kind, make in fresh.items():
            for name, portions in {"whole": whole, "parted": parted, "trickle": trickle}.items():
                database = make()
                upgrade(database)
                rate = drained(folder / f"{kind}-{name}", database, portions)
                found["records_s"][f"{kind}, {name}"] = {"clock": rate.by_clock, "processor": rate.by_processor}
                database.close()
            database = make()
            upgrade(database)
            times = stretches(folder / f"{kind}-stretches", database, [*trickle, *whole])
            found[f"stretch_ms, {kind}"] = {"median": statistics.median(times), "p99": times[len(times) * 99 // 100]}
            database.close()
    return found


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["# The journal\n", f"{report.now()}. {report.describe_machine()}\n"]
    lines += ["| append, fsync | median µs | mean µs | 99 % under µs |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {name} | {row['median']:.1f} | {row['mean']:.1f} | {row['p99']:.1f} |"
        for name, row in found["append_us"].items()
    ]
    lines += ["", "| drained | records a second | by processor time | µs a request |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {name} | {row['clock']:,.0f} | {row['processor']:,.0f} | {3e6 / row['processor']:.0f} |"
        for name, row in found["records_s"].items()
    ]
    lines += ["", "| on the processor between two pauses | median ms | 99 % under ms |", "| --- | ---: | ---: |"]
    lines += [
        f"| {name.partition(', ')[2]} | {row['median']:.2f} | {row['p99']:.2f} |"
        for name, row in found.items()
        if name.startswith("stretch_ms")
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, write. 0 if the goals are reached, else 1."""
    parser = argparse.ArgumentParser(prog="benchmarks/drain", description="Measure the journal.")
    parser.add_argument("requests", type=int, nargs="?", default=20_000)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waypost-drain-") as folder:
        found = measure(Path(folder), max(options.requests, 1500), options.databases.split(","))
    text = page(found)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "drain.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "drain.md").write_text(text)
    rates = [row["clock"] for name, row in found["records_s"].items() if name.startswith("sqlite")]
    reached = found["append_us"]["off"]["median"] < GOAL_APPEND_US and all(rate >= GOAL_RECORDS_S for rate in rates[:2])
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
