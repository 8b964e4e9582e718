"""waypost requests and waypost usage, on a log in the data folder's database."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import Result
from tests.ledger.log_entries import a_request, an_attempt, write, write_attempts, write_body

from waypost.cli.requests import Pace, cost, row_of
from waypost.cli.usage import BAR
from waypost.ledger import export as exporting
from waypost.ledger.books import now_ms
from waypost.ledger.export import write_export
from waypost.ledger.log_filters import Filters
from waypost.ledger.log_told import REQUEST_FIELDS, told_request
from waypost.settings import load_settings
from waypost.store.database import Database, DatabaseError, open_database
from waypost.store.migrate import upgrade
from waypost.store.tables import daily_totals, keys, projects, requests

Waypost = Callable[..., Result]
HOUR_MS = 3_600_000


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waypost: Waypost) -> Iterator[Database]:
    """The database of the folder, with a project and a key in it."""
    monkeypatch.setenv("WAYPOST_DATA_DIR", str(tmp_path / "d"))
    (tmp_path / "d").mkdir()
    database = open_database(load_settings(None))
    upgrade(database)
    made = {"require_pricing": False, "created_at_ms": 1, "updated_at_ms": 1}
    with database.write() as connection:
        connection.execute(projects.insert().values(id="proj_1", name="search", store_bodies=False, **made))
        connection.execute(keys.insert().values(id="key_1", project_id="proj_1", name="web", is_admin=False, **made))
    yield database
    database.close()


def some(database: Database, count: int, **columns: Any) -> None:
    """Requests of the last hours, the last one the newest."""
    begin = now_ms() - count * 1000 - HOUR_MS
    write(database, *(a_request(number, started_at_ms=begin + number * 1000, **columns) for number in range(count)))


def test_the_newest_requests_are_listed_with_who_what_and_how_much(log: Database, waypost: Waypost) -> None:
    some(log, 30, cost_is_estimate=True)
    head, first, *others = waypost("requests", "list").stdout.splitlines()
    assert head.split("  ")[0] == "time (UTC)"
    assert len(others) == 19
    assert "default → first/one" in first
    assert "10 + 20" in first
    assert "~$0.000030" in first
    assert "search/web" in first
    assert first.endswith("req_29")
    assert "--limit 100 shows more" in waypost("requests", "list").stderr
    assert waypost("requests", "list", "--limit", "1", "--oldest-first").stdout.splitlines()[1].endswith("req_0")


def test_filters_take_names_and_how_long_ago(log: Database, waypost: Waypost) -> None:
    some(log, 2, model="gpt-9", tags={"team": "a b"}, end_state="failed", error_code="provider_timeout", status=504)
    write(log, a_request(9, started_at_ms=now_ms() - 9 * HOUR_MS, project_id="config:x", model="claude", total_ms=5000))

    def found(*options: str) -> list[str]:
        return [each["request_id"] for each in json.loads(waypost("requests", "list", "--json", *options).stdout)]

    assert found() == ["req_1", "req_0", "req_9"]
    assert found("--project", "search", "--key", "web", "--since", "8h") == ["req_1", "req_0"]
    assert found("--project", "config:x") == found("--until", "8h") == found("--min-ms", "5000") == ["req_9"]
    assert found("--model", "gpt-*", "--tag", "team=a b", "--limit", "1") == ["req_1"]
    assert found("--end", "failed", "--status", "504", "--error", "provider_timeout", "--min-cost", "0.00003")
    assert found("--min-cost", "0.000031") == found("--model", "gpt") == found("--user", "ann") == []
    assert "No request fits." in waypost("requests", "list", "--user", "ann").stderr


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--since", "yesterday"], 2, '"yesterday" is no time. Write a day (2026-11-26)'),
        (["--tag", "team"], 2, '"team" is no tag such as team=search.'),
        (["--tag", 'a"b=c'], 1, "A tag's name is 1 to 64 letters"),
        (["--min-cost", "a lot"], 2, '"a lot" is no amount of US dollars such as 0.05.'),
        (["--project", "shop"], 1, 'There is no project "shop".'),
        (["--key", "shop"], 1, 'There is no key "shop".'),
        (["--status", "7"], 2, "7 is not in the range"),
    ],
)
def test_what_makes_no_sense_is_told(log: Database, waypost: Waypost, options: list[str], code: int, told: str) -> None:
    result = waypost("requests", "list", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr.replace("\n", " ")


def test_one_request_is_shown_with_its_calls(log: Database, waypost: Waypost) -> None:
    some(log, 1, cost_micro_usd=None)
    write_attempts(log, an_attempt(f"{0:032x}", cost_basis="unpriced", cost_micro_usd=None, provider_key="#2"))
    write_body(log, f"{0:032x}", '{"prompt":"hi"}\n\x1b[31m', None)
    shown = waypost("requests", "show", "req_0", "--body").stdout
    for line in ("request_id ", "call 1", "  cost_basis ", '  {"prompt":"hi"}', "  \ufffd[31m"):
        assert f"\n{line}" in f"\n{shown}"
    assert "\x1b" not in shown
    told = json.loads(waypost("requests", "show", "req_0", "--json").stdout)
    assert (told["cost_usd"], told["calls"][0]["provider_key"], told["body"]) == (None, "#2", None)
    missing = waypost("requests", "show", "req_\x1b[31m")
    assert missing.exit_code == 1
    assert missing.stderr.startswith('Error: No request with the id "req_\ufffd[31m" is in the log. ')


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_an_export_has_every_request_with_every_field(
    log: Database, waypost: Waypost, form: str, tmp_path: Path
) -> None:
    some(log, 2_300, tags={"team": "=cmd"}, end_user="-1", cost_micro_usd=1_234_567)
    write(log, a_request(5_000, started_at_ms=now_ms() - 1000, cost_micro_usd=None, input_tokens=None, stream=None))
    file = tmp_path / f"log.{form}"
    result = waypost("requests", "export", "--format", form, "--out", str(file))
    assert result.exit_code == 0
    assert result.stdout == f"2,301 requests written to {file}\n"
    assert "Exporting: 100 % (2,301 of 2,301, " in result.stderr
    read = {"jsonl": read_lines, "csv": read_csv, "parquet": read_parquet}[form]
    rows = read(file)
    assert [row["request_id"] for row in rows] == [f"req_{number}" for number in (*range(2_300), 5_000)]
    assert list(rows[0]) == list(REQUEST_FIELDS)
    first, last = rows[0], rows[-1]
    assert (first["cost_usd"], first["tags"], first["project"]) == {
        "jsonl": (1.234567, {"team": "=cmd"}, "search"),
        "csv": ("1.234567", '{"team":"=cmd"}', "search"),
        "parquet": (Decimal("1.234567"), [("team", "=cmd")], "search"),
    }[form]
    empty = "" if form == "csv" else None
    assert (last["cost_usd"], last["input_tokens"], last["stream"]) == (empty, empty, empty)
    assert first["end_user"] == ("'-1" if form == "csv" else "-1")
    if form == "parquet":
        assert abs(first["started_at"] - datetime.now(UTC)).total_seconds() < 3 * 3600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def read_csv(file: Path) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))


def read_parquet(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows


def test_an_export_to_the_standard_output_is_nothing_else(log: Database, waypost: Waypost) -> None:
    some(log, 3)
    result = waypost("requests", "export", "--out", "-", "--since", "2h")
    assert [json.loads(line)["request_id"] for line in result.stdout.splitlines()] == ["req_0", "req_1", "req_2"]
    assert waypost("requests", "export", "--out", "-", "--format", "parquet").exit_code == 2


def test_a_file_that_is_there_is_replaced_only_if_told(log: Database, waypost: Waypost, tmp_path: Path) -> None:
    some(log, 1)
    (tmp_path / "log").write_text("mine")
    refused = waypost("requests", "export", "--out", str(tmp_path / "log"))
    assert refused.exit_code == 2
    assert "is there already" in refused.stderr
    assert (tmp_path / "log").read_text() == "mine"
    assert waypost("requests", "export", "--out", str(tmp_path / "log"), "--force").exit_code == 0
    assert waypost("requests", "export", "--out", str(tmp_path / "no/log")).stderr.startswith(
        f"Error: {tmp_path}/no/log cannot be written: No such file or directory."
    )


def test_what_fails_in_the_middle_leaves_the_file_as_it_was(log: Database, tmp_path: Path) -> None:
    """Here the table goes away while it is read."""
    some(log, 1_500)
    file = tmp_path / "log.jsonl"
    file.write_text("before")

    def progress(done: int, total: int) -> None:
        if done:
            with log.write() as connection:
                requests.drop(connection)

    with pytest.raises(DatabaseError):
        write_export(log, Filters(), file, "jsonl", progress)
    assert [path.name for path in tmp_path.iterdir() if "log" in path.name] == ["log.jsonl"]
    assert file.read_text() == "before"


def test_an_export_that_is_killed_leaves_no_half_of_a_file(
    log: Database, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    some(log, 30_000)
    file = tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "waypost.cli.main", "requests", "export", "--out", str(file)]
    with subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob(".log.jsonl.*.part")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not file.exists()


def test_memory_does_not_grow_with_the_log(log: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the requests take no more: what is held is a page, and in Parquet a group."""
    import tracemalloc

    monkeypatch.setattr(exporting, "ROW_GROUP", 1_000)

    def peak(form: Any) -> int:
        tracemalloc.start()
        write_export(log, Filters(), tmp_path / f"log.{form}", form)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    some(log, 2_000)
    for form in ("jsonl", "csv", "parquet"):
        peak(form)
    small = {form: peak(form) for form in ("jsonl", "csv", "parquet")}
    for begin in range(10_000, 28_000, 1000):
        write(log, *(a_request(number) for number in range(begin, begin + 1000)))
    for form, before in small.items():
        assert peak(form) < before * 1.5 + 500_000


def test_without_pyarrow_a_sentence_says_how_to_get_it(
    log: Database, waypost: Waypost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    result = waypost("requests", "export", "--format", "parquet", "--out", str(tmp_path / "x"))
    assert result.exit_code == 3
    assert 'pip install "waypost[parquet]"' in result.stderr


def test_a_terminal_gets_a_bar_with_share_and_rate(log: Database, tmp_path: Path) -> None:
    some(log, 5_000)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "waypost.cli.main", "requests", "export", "--out", str(tmp_path / "log")]
    with subprocess.Popen(command, stderr=follower, env={**os.environ, "TERM": "xterm", "COLUMNS": "150"}) as process:
        os.close(follower)
        told = b""
        try:
            while piece := os.read(leader, 4096):
                told += piece
        except OSError:
            pass
        assert process.wait(30) == 0
    os.close(leader)
    text = told.decode()
    assert "5,000 of 5,000, " in text
    assert " a second  [###" in text
    assert "100%" in text


def test_the_pace_is_what_was_done_in_the_time() -> None:
    pace = Pace()
    pace._clock = lambda: pace._began + 2
    assert pace(1_000, 4_000) == "1,000 of 4,000, 500 a second"


@pytest.mark.parametrize(
    ("usd", "is_estimate", "told"),
    [(None, False, "unknown"), (None, True, "unknown"), (0.0, False, "$0.000000"), (1234.5, True, "~$1,234.500000")],
)
def test_a_cost_that_is_not_known_is_told_so(usd: float | None, is_estimate: bool, told: str) -> None:
    assert cost(usd, is_estimate=is_estimate) == told


def test_no_text_of_a_caller_moves_the_terminals_cursor() -> None:
    row = {**a_request(1), "project": None, "key": None, "tags": None}
    row |= {"model": "a\x1b[2J\nb", "request_id": "r\u202e", "end_user": "\r", "error_code": "x\x07"}
    row |= dict.fromkeys(("input_cache_read_tokens", "input_cache_write_5m_tokens", "input_cache_write_1h_tokens"))
    told = told_request({**row, "output_reasoning_tokens": None})
    assert all(cell.isprintable() for cell in row_of(told))


# waypost usage


def totals(database: Database, days_ago: int, **columns: Any) -> None:
    day = datetime.fromtimestamp(now_ms() / 1000 - days_ago * 86_400, UTC).strftime("%Y-%m-%d")
    row = {"project_id": "proj_1", "key_id": "key_1", "route": "default", "provider": "first", "model": "one"}
    figures = {"attempts": 10, "failed_attempts": 1, "input_tokens": 1000, "output_tokens": 200}
    sums = {"cost_micro_usd": 500_000, "estimated_attempts": 2, "unpriced_attempts": 0}
    with database.write() as connection:
        connection.execute(daily_totals.insert().values(day=day, **{**row, **figures, **sums, **columns}))


def test_usage_has_a_row_a_day_with_a_bar_and_a_sum(log: Database, waypost: Waypost) -> None:
    totals(log, 0)
    totals(log, 2, cost_micro_usd=250_000)
    totals(log, 2, model="unpriced", cost_micro_usd=0, unpriced_attempts=10)
    result = waypost("usage", "--since", "3d")
    head, oldest, two_days_ago, yesterday, today, total = result.stdout.splitlines()
    assert head.split() == ["day", "calls", "failed", "tokens", "in", "out", "cost", "unpriced", "estimated"]
    assert (oldest.split()[1:], yesterday.split()[1:]) == ([*"0000", "$0.000000", "0", "0"],) * 2
    assert two_days_ago.split()[1:] == ["20", "2", "2,000", "400", "$0.250000", "10", "4", "█" * (BAR // 2)]
    assert today.endswith("█" * BAR)
    assert total.split() == ["sum", "30", "3", "3,000", "600", "$0.750000", "10", "6"]
    assert "10 calls have no known price: the cost is without them." in result.stderr


def test_usage_is_summed_apart_and_named(log: Database, waypost: Waypost) -> None:
    totals(log, 1, route="")
    totals(log, 1, model="two", cost_micro_usd=0, unpriced_attempts=10)
    lines = waypost("usage", "--by", "project", "--by", "route", "--period", "month", "--project", "search").stdout
    assert [line.split()[1:4] for line in lines.splitlines()[1:-1]] == [
        ["search", "-", "10"],
        ["search", "default", "10"],
    ]
    assert "unknown" in lines
    told = json.loads(waypost("usage", "--by", "model", "--model", "two", "--json").stdout)
    assert [(item["group"], item["cost_usd"]) for item in told["items"]] == [({"model": "two"}, None)]
    assert (told["total"]["unpriced_attempts"], told["names"]) == (10, {})


def test_without_any_cost_the_bars_are_of_calls(log: Database, waypost: Waypost) -> None:
    totals(log, 1, cost_micro_usd=0)
    totals(log, 0, cost_micro_usd=0, attempts=5)
    lines = waypost("usage", "--since", "1d").stdout.splitlines()
    assert [line.count("█") for line in lines[1:-1]] == [BAR, BAR // 2]


def test_usage_before_anything_was_asked_is_all_zero(log: Database, waypost: Waypost) -> None:
    lines = waypost("usage", "--period", "week").stdout.splitlines()
    assert lines[-1].split() == ["sum", "0", "0", "0", "0", "$0.000000", "0", "0"]
    assert waypost("usage", "--since", "2026-01-02", "--until", "2026-01-01").exit_code == 1
