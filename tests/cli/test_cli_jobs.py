"""waypost jobs and waypost analyze, on the data folder's database, with a worker where one is needed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tests.jobs.made import NOW_MS, make, put

from waypost.jobs import rows
from waypost.jobs.events import append_event
from waypost.jobs.job import CRASHED, Input, Job
from waypost.settings import load_settings
from waypost.store.database import Database, open_database
from waypost.store.migrate import upgrade

Waypost = Callable[..., Result]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waypost: Waypost) -> Iterator[Database]:
    monkeypatch.setenv("WAYPOST_DATA_DIR", str(tmp_path / "d"))
    (tmp_path / "d").mkdir()
    database = open_database(load_settings(None))
    upgrade(database)
    yield database
    database.close()


def find(database: Database, job_id: str) -> Job:
    with database.read() as connection:
        return rows.find(connection, None, job_id)


def test_jobs_are_listed_with_how_they_stand(waypost: Waypost, database: Database) -> None:
    done = make(database, at_ms=NOW_MS, tags={"team": "a"})
    error = {"code": CRASHED, "message": "m", "hint": ""}
    dead = make(database, at_ms=NOW_MS + 1000)
    put(database, done, state="succeeded", progress_done=3, progress_total=3, cost_micro_usd=1250, model="m")
    put(database, dead, state="failed", error=error)
    table = waypost("jobs", "list").stdout.splitlines()
    assert [line.split()[-1] for line in table] == ["job", dead.id, done.id]
    assert "3 of 3" in table[2]
    assert "$0.001250" in table[2]
    assert CRASHED in table[1]

    def ids(*options: str) -> list[str]:
        return [each["id"] for each in json.loads(waypost("jobs", "list", "--json", *options).stdout)]

    assert (ids("--tag", "team=a"), ids("--dead"), ids("--state", "queued")) == ([done.id], [dead.id], [])
    assert (ids("--limit", "1"), ids("--type", "generate"), ids("--until", "2027-01-01")) == ([dead.id], [], [])
    assert "No job fits." in waypost("jobs", "list", "--state", "queued").stderr


def test_a_job_is_shown_cancelled_retried_and_deleted(waypost: Waypost, database: Database) -> None:
    job = make(database, input=Input(b"text"))
    assert json.loads(waypost("jobs", "show", job.id, "--json").stdout)["content"]["size_bytes"] == 4
    assert "queued" in waypost("jobs", "show", job.id).stdout
    assert waypost("jobs", "cancel", job.id).stdout == f"{job.id} is cancelled\n"
    assert find(database, job.id).expires_at_ms is not None
    assert "waits" in waypost("jobs", "retry", job.id).stdout
    refused = waypost("jobs", "delete", job.id)
    assert (refused.exit_code != 0, "cancel it first" in refused.stderr) == (True, True)
    put(database, job, state="running")
    assert "asked to end" in waypost("jobs", "cancel", job.id).stdout
    put(database, job, state="failed")
    assert waypost("jobs", "delete", job.id).exit_code == 0
    unknown = waypost("jobs", "show", job.id)
    assert (unknown.exit_code != 0, job.id in unknown.stderr) == (True, True)


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_watching_ends_with_the_job_and_says_how(
    waypost: Waypost, database: Database, monkeypatch: pytest.MonkeyPatch, state: str, code: int
) -> None:
    job = make(database)
    put(database, job, state="running", progress_done=1, progress_total=2)

    def end(_seconds: float) -> None:
        """In place of the pause between two looks."""
        with database.write() as connection:
            append_event(connection, job.id, state, {}, NOW_MS)
        put(database, job, state=state, progress_done=2)

    monkeypatch.setattr("waypost.cli.job_watching.time.sleep", end)
    result = waypost("jobs", "watch", job.id)
    assert result.exit_code == code
    assert f"{job.id} {state}" in result.stdout
    assert "50 % (running, 1 of 2)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.txt"], "does not exist"),
        (["empty.txt"], "empty"),
        (["a.png"], "not read here"),
        (["text.txt", "--kind", "anlysis"], "Did you mean analysis?"),
        (["text.txt", "--model", "none/such"], "none"),
        (["text.txt", "--priority", "10"], "10"),
        (["text.txt", "--key", "nobody"], "nobody"),
        (["text.txt", "--tag", "a b=c"], "tags"),
    ],
)
def test_what_cannot_be_analyzed_is_told_and_no_job_is_made(
    waypost: Waypost, database: Database, providers: Path, arguments: list[str], said: str
) -> None:
    Path("text.txt").write_text("a text")
    Path("empty.txt").write_text("")
    Path("a.png").write_bytes(b"\x89PNG")
    result = waypost("analyze", *arguments)
    assert result.exit_code != 0
    assert said in result.stderr
    assert json.loads(waypost("jobs", "list", "--json").stdout) == []


def test_a_job_is_made_and_it_is_said_that_nobody_does_it(
    waypost: Waypost, database: Database, providers: Path
) -> None:
    result = waypost("analyze", "-", "--model", "second", "--tag", "team=a", "--priority", "1", input="a text")
    job = find(database, result.stdout.strip())
    assert (job.state, job.project_id, job.key_id, job.priority) == ("queued", "local", "local", 1)
    assert (job.request["model"], job.tags) == ("second", {"team": "a"})
    assert "waypost worker" in result.stderr
    with database.read() as connection:
        assert rows.input_of(connection, job.id) == Input(b"a text")


def test_with_wait_a_worker_is_run_and_the_result_is_printed(
    environment: Mapping[str, str], database: Database, providers: Path, tmp_path: Path
) -> None:
    Path("text.md").write_text("# A head\n\nThe staff was kind, and the coffee was good.")
    command = [sys.executable, "-m", "waypost.cli.main", "analyze", "text.md", "--model", "second/gpt-5-mini"]
    command.append("--wait")
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**environment, "WAYPOST_DATA_DIR": str(tmp_path / "d")},
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.load(io.StringIO(done.stdout))
    assert told["document"]["media_type"] == "text/markdown"
    assert told["results"]["analysis"]["status"] in ("complete", "partial")
    assert "succeeded in" in done.stderr
