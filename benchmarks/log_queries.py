"""How long pages of the request log take on a large log, and what its indexes cost whoever writes it.

Every filter is asked for a value that is common, one that is rare, and one that there is not; so are combinations, also
such as never come together; pages are taken at the end of the log and deep in it. The goal is a tenth of a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Index, text
from sqlalchemy.engine import URL
from tests.databases import postgres_server

from benchmarks import report
from benchmarks.log_rows import COLUMNS, END_MS, PROJECTS, SPAN_MS, Row, rows
from waypost.ledger.log_filters import Filters
from waypost.ledger.request_log import Page, find, page
from waypost.ledger.tag_slots import note_slot, slots_of
from waypost.store.database import Database
from waypost.store.tables import metadata, requests

RESULTS: Final = Path(__file__).resolve().parent / "results"
GOAL_MS: Final = 100.0
ROUNDS: Final = 7
DRAINED: Final = 20_000
DRAINED_AT_ONCE: Final = 500
DAY_MS: Final = 24 * 60 * 60 * 1000
PROJECT: Final = PROJECTS.names[0]
KEY: Final = f"key_{PROJECT[-4:]}{3:022d}"


@dataclass(frozen=True, slots=True)
class Asked:
    """One search: its name in the report, and its filters."""

    name: str
    filters: Filters = field(default_factory=Filters)
    newest_first: bool = True
    deep: bool = False
    """Begun in the middle of the log, where a cursor leads to."""
    saved_by: str | None = None
    """The column whose index it is there for."""


ASKED: Final[Sequence[Asked]] = (
    Asked("everything"),
    Asked("everything, oldest first", newest_first=False),
    Asked("everything, deep", deep=True),
    Asked("a day", Filters(since_ms=END_MS - 40 * DAY_MS, until_ms=END_MS - 39 * DAY_MS), saved_by="started_at_ms"),
    Asked("project", Filters(project_id=PROJECT)),
    Asked("project, deep", Filters(project_id=PROJECT), deep=True),
    Asked("project, rare", Filters(project_id=PROJECTS.names[-1]), saved_by="project_id"),
    Asked("key", Filters(key_id=KEY), saved_by="key_id"),
    Asked("key, none", Filters(key_id="key_none")),
    Asked("end user", Filters(end_user="user-0@example.com")),
    Asked("end user, rare", Filters(end_user="user-49000@example.com"), saved_by="end_user"),
    Asked("end user, only long ago", Filters(end_user="old@example.com")),
    Asked("route", Filters(route="default")),
    Asked("route, rare", Filters(route="rare"), saved_by="route"),
    Asked("provider", Filters(provider="provider-0")),
    Asked("provider, rare", Filters(provider="rare"), saved_by="provider"),
    Asked("model", Filters(model="model-0-a")),
    Asked("model, rare", Filters(model="model-rare"), saved_by="model"),
    Asked("model, only long ago", Filters(model="model-old")),
    Asked("model prefix", Filters(model_prefix="model-0")),
    Asked("model prefix, rare", Filters(model_prefix="model-ra")),
    Asked("model prefix, none", Filters(model_prefix="gpt-")),
    Asked("answered", Filters(end_state="answered")),
    Asked("failed", Filters(end_state="failed")),
    Asked("unknown end", Filters(end_state="unknown"), saved_by="end_state"),
    Asked("status 200", Filters(status=200)),
    Asked("status 429", Filters(status=429)),
    Asked("status 418, rare", Filters(status=418), saved_by="status"),
    Asked("status 599, none", Filters(status=599)),
    Asked("error code", Filters(error_code="provider_timeout")),
    Asked("error code, rare", Filters(error_code="rare"), saved_by="error_code"),
    Asked("tag", Filters(tags={"env": "production"})),
    Asked("tag, deep", Filters(tags={"env": "staging"}), deep=True),
    Asked("tag, one of a hundred", Filters(tags={"feature": "feature-99"})),
    Asked("tag, rare", Filters(tags={"customer": "rare"})),
    Asked("tag, none", Filters(tags={"customer": "none"})),
    Asked("two tags", Filters(tags={"feature": "feature-50", "team": "team-11"})),
    Asked("cost over 0.1 cent", Filters(min_cost_micro_usd=1_000)),
    Asked("cost over 5 dollars", Filters(min_cost_micro_usd=5_000_000), saved_by="cost_micro_usd"),
    Asked("cost over 10 cents", Filters(min_cost_micro_usd=100_000)),
    Asked("longer than 1 s", Filters(min_total_ms=1_000)),
    Asked("longer than 60 s", Filters(min_total_ms=60_000), saved_by="total_ms"),
    Asked("longer than 20 s", Filters(min_total_ms=20_000)),
    Asked("request id, none", Filters(request_id="req_none"), saved_by="request_id"),
    Asked("project and failed", Filters(project_id=PROJECT, end_state="failed")),
    Asked("project and status 429, a week", Filters(project_id=PROJECT, status=429, since_ms=END_MS - 7 * DAY_MS)),
    Asked("key and model", Filters(key_id=KEY, model="model-3-a")),
    Asked("key and model, deep", Filters(key_id=KEY, model="model-3-a"), deep=True),
    Asked("key and model, rare", Filters(key_id=KEY, model="model-rare")),
    Asked("key and tag", Filters(key_id=KEY, tags={"feature": "feature-99"})),
    Asked("project and model prefix", Filters(project_id=PROJECT, model_prefix="model-4")),
    Asked("project and cost", Filters(project_id=PROJECT, min_cost_micro_usd=1_000_000)),
    Asked("model and duration", Filters(model="model-0-b", min_total_ms=20_000)),
    Asked("failed, tag", Filters(end_state="failed", tags={"team": "team-11"})),
    Asked("answered with an error code", Filters(end_state="answered", error_code="provider_timeout")),
    Asked("route and provider and model", Filters(route="chat", provider="provider-1", model="model-1-c")),
    Asked("never together: model and provider", Filters(model="model-0-a", provider="provider-1")),
    Asked("never together: common ones", Filters(route="default", status=200, error_code="provider_timeout")),
    Asked("never together: two routes' worth", Filters(project_id=PROJECT, model="model-0-a", provider="provider-2")),
)


@contextmanager
def databases(folder: Path, kinds: Sequence[str]) -> Iterator[Mapping[str, Database]]:
    """An empty database of each kind."""
    if "postgresql" not in kinds:
        yield {"sqlite": Database(URL.create("sqlite+pysqlite", database=str(folder / "waypost.db")))}
        return
    with postgres_server() as server:
        found = {
            "sqlite": Database(URL.create("sqlite+pysqlite", database=str(folder / "waypost.db"))),
            "postgresql": Database(server.create()),
        }
        yield {kind: found[kind] for kind in kinds}
        for database in found.values():
            database.close()


def fill(database: Database, count: int) -> float:
    """Make the tables and so many requests; seconds it took. The indexes are made last, as is quickest."""
    begun = time.monotonic()
    indexes = list(requests.indexes)
    with database.write() as connection:
        requests.indexes.clear()
        metadata.create_all(connection)
        requests.indexes.update(indexes)
    for batch in rows(count):
        with database.write() as connection:
            _insert(connection, database, batch)
    with database.write() as connection:
        for index in indexes:
            index.create(connection)
    analyze(database)
    return time.monotonic() - begun


def analyze(database: Database) -> None:
    """What PostgreSQL does by itself after a while. SQLite is left without statistics, as it is in use."""
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM (ANALYZE) requests"))


def _insert(connection: Connection, database: Database, batch: Sequence[Row]) -> None:
    names = ", ".join(COLUMNS)
    if database.is_sqlite:
        marks = ", ".join("?" * len(COLUMNS))
        connection.exec_driver_sql(f"INSERT INTO requests ({names}) VALUES ({marks})", list(batch))
    else:
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY requests ({names}) FROM STDIN") as copy:
            for row in batch:
                copy.write_row(row)
    connection.execute(note_slot(database), slots_of((row[2], json.loads(row[-1])) for row in batch if row[-1]))


@dataclass(frozen=True, slots=True)
class Timed:
    """One search's figures: milliseconds at the median and at most, requests found, and whether it looked at all."""

    median_ms: float
    most_ms: float
    found: int
    is_whole: bool


def timed(database: Database, asked: Asked, rounds: int = ROUNDS, budget_s: float | None = -1) -> Timed:
    """Ask several times; the first one, which finds everything cold, does not count."""
    more: dict[str, Any] = {} if budget_s == -1 else {"budget_s": budget_s}
    cursor = None
    if asked.deep:
        middle = replace(asked.filters, until_ms=END_MS - SPAN_MS // 2)
        cursor = page(database, middle, limit=1).cursor
    taken, found = [], Page([], None)
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        found = page(database, asked.filters, cursor=cursor, newest_first=asked.newest_first, **more)
        taken.append((time.perf_counter() - begun) * 1000)
    return Timed(statistics.median(taken[1:]), max(taken[1:]), len(found.rows), found.searched_to_ms is None)


def timed_find(database: Database) -> Timed:
    """One request whole, by what its caller was told."""
    told = page(database, Filters(), limit=1, cursor=None).rows[0]["request_id"]
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        find(database, told, with_body=True)
        taken.append((time.perf_counter() - begun) * 1000)
    return Timed(statistics.median(taken), max(taken), 1, is_whole=True)


def sizes_mb(database: Database) -> dict[str, float]:
    """Of each index of the requests, of their table and of the slots of tags."""
    names = ["requests", "tag_slots", *(str(index.name) for index in requests.indexes)]
    with database.read() as connection:
        if database.is_sqlite:
            return {name: _sqlite_size(connection, name) / 1e6 for name in names}
        # The indexes of requests are told by themselves.
        sizes = {name: "pg_table_size" if name == "requests" else "pg_total_relation_size" for name in names}
        return {name: (connection.scalar(text(f"SELECT {size}('{name}')")) or 0) / 1e6 for name, size in sizes.items()}


def _sqlite_size(connection: Connection, name: str) -> int:
    return int(connection.scalar(text("SELECT sum(pgsize) FROM dbstat WHERE name = :name"), {"name": name}) or 0)


def drained_us(database: Database, seed: int) -> float:
    """Microseconds that writing one request takes, in batches as the drainer's, and undone at the end."""
    fresh = [row for batch in rows(DRAINED, seed) for row in batch]
    moved = [(f"{seed:x}{row[0]}"[:40], row[1], row[2] + SPAN_MS, *row[3:]) for row in fresh]
    begun = time.monotonic()
    for at in range(0, len(moved), DRAINED_AT_ONCE):
        with database.write() as connection:
            _insert(connection, database, moved[at : at + DRAINED_AT_ONCE])
    taken = time.monotonic() - begun
    with database.write() as connection:
        connection.execute(requests.delete().where(requests.c.started_at_ms > END_MS + DAY_MS))
    return taken * 1e6 / len(moved)


def without(database: Database, index: Index, measure: Callable[[], Any]) -> Any:
    """What is measured while the index is not there."""
    with database.write() as connection:
        index.drop(connection)
    try:
        return measure()
    finally:
        with database.write() as connection:
            index.create(connection)


def index_on(column: str) -> Index:
    """The index whose first column it is."""
    return next(index for index in requests.indexes if index.columns[0].name == column)


def main() -> int:
    """Fill, ask, tell. 0 if every page was answered in time, 1 if not."""
    options = _options()
    found: dict[str, Any] = {"taken_at": report.now(), "machine": report.describe_machine(), "rows": options.rows}
    with tempfile.TemporaryDirectory(prefix="request-log-") as name, databases(Path(name), options.on) as opened:
        for kind, database in opened.items():
            _say(f"{kind}: {fill(database, options.rows):.0f} s to fill")
            pages = {asked.name: timed(database, asked) for asked in ASKED} | {"one request": timed_find(database)}
            found[kind] = {"pages": pages, "sizes": sizes_mb(database)}
            if options.indexes:
                found[kind]["indexes"] = _indexes(database)
    text_of = _markdown(found, options.on)
    print(text_of)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "request_log.md").write_text(text_of)
    slow = [each for kind in options.on for each in found[kind]["pages"].values() if each.median_ms > GOAL_MS]
    return int(bool(slow))


def _indexes(database: Database) -> dict[str, tuple[float, float, float]]:
    """For each column: microseconds a request with all indexes and without this one, and the search without it."""
    result = {}
    for number, asked in enumerate(each for each in ASKED if each.saved_by):
        index = index_on(str(asked.saved_by))
        every_us = drained_us(database, 2 * number + 100)
        less_us = without(database, index, partial(drained_us, database, 2 * number + 101))
        slow = without(database, index, partial(timed, database, asked, rounds=1, budget_s=None))
        result[str(asked.saved_by)] = (every_us, less_us, slow.median_ms)
        _say(f"{asked.saved_by}: {every_us:.0f} us, {less_us:.0f} us, {slow.median_ms:.0f} ms")
    return result


def _markdown(found: Mapping[str, Any], kinds: Sequence[str]) -> str:
    machine = found["machine"]
    told = (
        f"{found['taken_at']}, {machine['processor']}, {machine['cores']} cores, Python {machine['python']}; "
        f"{found['rows']:,} requests, pages of 50, milliseconds at the median (at most) of {ROUNDS}. In brackets how "
        "many requests were found; + where the page ended before all was looked at."
    )
    rule = f"| --- |{' ---: |' * len(kinds)}"
    head = ["# The request log: how long a page takes", "", told, "", f"| search | {' | '.join(kinds)} |", rule]
    names = list(found[kinds[0]]["pages"])
    lines = [f"| {name} | {' | '.join(_cell(found[kind]['pages'][name]) for kind in kinds)} |" for name in names]
    sizes = ["", f"| stored | {' | '.join(f'{kind}, MB' for kind in kinds)} |", rule]
    for name in found[kinds[0]]["sizes"]:
        cells = [f"{found[kind]['sizes'][name]:.1f}" for kind in kinds]
        sizes.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*head, *lines, *sizes, *_index_lines(found, kinds), ""])


def _cell(each: Timed) -> str:
    return f"{each.median_ms:.1f} ({each.most_ms:.1f}) [{each.found}{'' if each.is_whole else '+'}]"


def _index_lines(found: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    if not all("indexes" in found[kind] for kind in kinds):
        return []
    lines = [
        "",
        "What an index costs whoever writes the log, and what the rare value of its column takes without it:",
        "",
        f"| index | {' | '.join(f'{kind}, µs a request | {kind} without, ms' for kind in kinds)} |",
        f"| --- |{' ---: | ---: |' * len(kinds)}",
    ]
    for name in found[kinds[0]]["indexes"]:
        told = [found[kind]["indexes"][name] for kind in kinds]
        lines.append(f"| {name} | {' | '.join(f'{every - less:.1f} | {ms:.1f}' for every, less, ms in told)} |")
    return lines


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/request_log", description="Time pages of a large request log.")
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000, help="how many requests [1000000]")
    parser.add_argument("--on", nargs="+", default=["sqlite", "postgresql"], help="sqlite, postgresql or both")
    parser.add_argument("--indexes", action="store_true", help="also what each index costs and saves; takes long")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
