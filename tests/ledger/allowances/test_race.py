"""A budget for exactly a hundred calls, and five hundred that want one, from real processes that share a database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.ledger.allowances.conftest import bury, post
from tests.ledger.allowances.racer import COST, spent_by

from waypost.store.database import Database
from waypost.store.tables import grants, spend

CALLS, LIMIT = 250, 100
ROOT = Path(__file__).parents[3]


def start(database: Database, folder: Path) -> list[subprocess.Popen[str]]:
    """Two of them, that begin together."""
    folder.mkdir()
    racers = [racer(database, folder) for _ in range(2)]
    for each in racers:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in racers:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    return racers


def racer(database: Database, folder: Path) -> subprocess.Popen[str]:
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.ledger.allowances.racer", url, str(folder), str(CALLS), str(LIMIT)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=environ)


def spent(database: Database) -> set[int]:
    with database.read() as connection:
        return set(connection.scalars(select(spend.c.micro_usd)))


def sent(folder: Path) -> dict[str, int]:
    """By process: how many calls it has begun."""
    return {file.name: len(file.read_text().splitlines()) for file in folder.iterdir()}


@pytest.mark.timeout(180)
def test_exactly_as_many_are_paid_as_the_budget_pays_for(database: Database, tmp_path: Path) -> None:
    """Two processes at once: not one more, and none of the hundred is refused for ever."""
    folder = tmp_path / "journals"
    racers = start(database, folder)
    paid = [int(racer.communicate(timeout=120)[0]) for racer in racers]
    assert sum(paid) == LIMIT
    assert sum(sent(folder).values()) == LIMIT
    assert spent(database) == {LIMIT * COST}


def posted_calls(database: Database, name: str) -> int:
    """How many of its calls a killed process has posted: a server may still commit what its client had sent."""
    known, since = -1, 0.0
    while known < 0 or time.monotonic() - since < 1:
        with database.read() as connection:
            row = connection.execute(
                select(grants.c.granted - grants.c.amount).where(
                    grants.c.holder == name, grants.c.subject == "key:k", grants.c.unit == "micro_usd"
                )
            )
            (now,) = {int(each[0]) // COST for each in row} or {0}
        if now != known:
            known, since = now, time.monotonic()
        time.sleep(0.05)
    return known


@pytest.mark.timeout(180)
def test_a_process_that_is_killed_takes_no_part_of_the_budget_with_it(database: Database, tmp_path: Path) -> None:
    """What it had begun counts as spent; the rest is spent by the other one, once its journal was read."""
    folder = tmp_path / "journals"
    racers = start(database, folder)
    killed = racers[0]
    name = f"racer-{killed.pid}"
    end = time.monotonic() + 60
    while sent(folder).get(name, 0) < 10:
        assert time.monotonic() < end
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    begun = sent(folder)[name]
    known_calls = posted_calls(database, name)
    # Whoever reads its journal posts what is not posted yet.
    post(database, name, spent_by(begun - known_calls, time.time()))
    bury(database, name)
    paid = int(racers[1].communicate(timeout=120)[0])
    assert begun + paid == LIMIT
    assert sum(sent(folder).values()) == LIMIT
    assert spent(database) == {LIMIT * COST}
