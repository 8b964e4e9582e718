"""`waypost batch run` as a process of its own, with its worker: whatever ends it, the same command goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from tests.jobs.workers import until, worker_settings

from waypost.jobs import batches
from waypost.simulator import Simulator
from waypost.store.database import Database

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
COUNT = 40
SLOWLY = {"pacing": {"first_token_s": 0.15}, "rules": [{"reply": {"echo": True}}]}
QUICKLY = {
    "rules": [{"match": {"contains": "item 7."}, "fault": {"named_error": "bad_request"}}, {"reply": {"echo": True}}]
}


@dataclass
class Place:
    """A folder with settings and an input, and how the command is run there."""

    folder: Path
    simulator: Simulator
    database: Database

    @property
    def out(self) -> Path:
        return self.folder / "out.jsonl"

    @property
    def results(self) -> list[dict[str, Any]]:
        """The lines that are there, each whole."""
        data = self.out.read_bytes() if self.out.exists() else b""
        return [json.loads(line) for line in data.splitlines()]

    @property
    def asked(self) -> Counter[str]:
        """How often the provider was asked which prompt."""
        bodies: list[Any] = [request.body for request in self.simulator.requests]
        return Counter(body["messages"][-1]["content"] for body in bodies)

    def prepare(self, count: int = COUNT) -> None:
        settings = worker_settings(self.simulator, self.database, concurrency=4)
        (self.folder / "wp.yaml").write_text(yaml.safe_dump({"data_dir": str(self.folder / "data"), **settings}))
        self.write(count)

    def write(self, count: int = COUNT) -> None:
        lines = [json.dumps({"id": f"n{number}", "prompt": f"item {number}."}) for number in range(count)]
        (self.folder / "in.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def command(self, *more: str, source: str = "in.jsonl", out: str | None = "out.jsonl") -> list[str]:
        whole = [sys.executable, "-m", "waypost.cli.main", "batch", "run", source, "--type", "generate"]
        whole += [] if out is None else ["--out", out]
        return [*whole, "--config", "wp.yaml", *more]

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}

    def run(self, *more: str, stdin: bytes = b"", **where: Any) -> subprocess.CompletedProcess[bytes]:
        command = self.command(*more, **where)
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, input=stdin, capture_output=True, timeout=120, check=False
        )

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The command, in the middle of its work."""
        with (self.folder / "run.log").open("ab") as log:
            process = subprocess.Popen(self.command(), cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        children: list[psutil.Process] = []
        try:
            until(lambda: len(self.results) >= 5, 60, lambda: (self.folder / "run.log").read_text())
            children = psutil.Process(process.pid).children(recursive=True)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for child in children:
                if child.is_running():
                    until(lambda child=child: not _lives(child), 30)  # type: ignore[misc]

    def check(self, count: int = COUNT) -> None:
        """Everything is there, once, in order."""
        assert [each["index"] for each in self.results] == list(range(count))
        assert [each["id"] for each in self.results] == [f"n{number}" for number in range(count)]
        assert [each["result"]["content"] for each in self.results] == [f"item {number}." for number in range(count)]


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


async def _in_thread(script: dict[str, Any], folder: Path, database: Database, claim: Any) -> None:
    async with Simulator(script) as simulator:
        place = Place(folder, simulator, database)
        place.prepare()
        await asyncio.to_thread(claim, place)


async def test_killed_in_the_middle_it_goes_on_and_asks_for_nothing_twice(database: Database, tmp_path: Path) -> None:
    """Its worker lets what it does come to its end, although nobody is left who could have told it."""

    def claim(place: Place) -> None:
        with place.running() as process:
            process.kill()
        assert 5 <= len(place.results) < COUNT
        before = place.out.read_bytes()
        with place.out.open("r+b") as file:
            file.truncate(len(before) - 10)
        again = place.run()
        assert again.returncode == 0, again.stderr
        assert b"going on with batch_" in again.stderr
        place.check()
        assert place.out.read_bytes().startswith(before)
        assert set(place.asked.values()) == {1}
        once_more = place.run()
        assert once_more.returncode == 0
        assert place.out.read_bytes().count(b"\n") == COUNT
        assert set(place.asked.values()) == {1}

    await _in_thread(SLOWLY, tmp_path, database, claim)


async def test_killed_with_its_worker_only_what_was_under_way_is_asked_again(
    database: Database, tmp_path: Path
) -> None:
    def claim(place: Place) -> None:
        with place.running() as process:
            for each in psutil.Process(process.pid).children(recursive=True):
                each.kill()
            process.kill()
        again = place.run()
        assert again.returncode == 0, again.stderr
        place.check()
        twice = [prompt for prompt, times in place.asked.items() if times > 1]
        assert len(twice) <= 4, "as many as one worker does at once"
        assert max(place.asked.values()) <= 2

    await _in_thread(SLOWLY, tmp_path, database, claim)


async def test_interrupted_once_it_lets_running_items_end_and_the_same_command_goes_on(
    database: Database, tmp_path: Path
) -> None:
    def claim(place: Place) -> None:
        with place.running() as process:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        log = (place.folder / "run.log").read_text()
        assert "Letting running items end" in log
        assert "the same command goes on" in log
        assert len(place.results) < COUNT
        assert len(place.results) == len(place.asked), "what was begun has come to its end"
        assert place.run().returncode == 0
        place.check()
        assert set(place.asked.values()) == {1}

    await _in_thread(SLOWLY, tmp_path, database, claim)


async def test_interrupted_twice_it_stops(database: Database, tmp_path: Path) -> None:
    slowly = {**SLOWLY, "pacing": {"first_token_s": 30}, "rules": [{"times": 5, "pacing": {}}]}

    def claim(place: Place) -> None:
        with place.running() as process:
            until(lambda: len(place.asked) >= 9, 30)
            process.send_signal(signal.SIGINT)
            until(lambda: "Letting running items" in (place.folder / "run.log").read_text(), 20)
            process.send_signal(signal.SIGINT)
            assert process.wait(25) == 130

    await _in_thread(slowly, tmp_path, database, claim)


async def test_an_item_that_fails_is_a_line_with_an_error_and_the_exit_code_says_so(
    database: Database, tmp_path: Path
) -> None:
    def claim(place: Place) -> None:
        with (place.folder / "in.jsonl").open("a") as file:
            file.write("no json\n")
        done = place.run("--json", "--tag", "team=a")
        assert done.returncode == 1, done.stderr
        told = json.loads(done.stdout)
        assert (told["succeeded"], told["failed"], told["is_whole"]) == (COUNT - 1, 2, True)
        assert told["cost_usd"] == pytest.approx(sum(each["cost_usd"] for each in place.results))
        failed = [each for each in place.results if "error" in each]
        assert [(each["index"], each["error"]["code"]) for each in failed] == [
            (7, "provider_bad_request"),
            (COUNT, "unusable_item"),
        ]
        with place.database.read() as connection:
            batch = batches.page(connection, "local", limit=5)[0]
            assert (batch.state, batch.tags, batch.name) == ("finished", {"team": "a"}, "in.jsonl")

    await _in_thread(QUICKLY, tmp_path, database, claim)


async def test_another_input_is_refused_until_it_is_said_that_it_begins_anew(
    database: Database, tmp_path: Path
) -> None:
    def claim(place: Place) -> None:
        place.write(3)
        assert place.run().returncode == 0
        before = place.out.read_bytes()
        for change in ('{"prompt": "another"}\n', None):
            lines = (place.folder / "in.jsonl").read_text().splitlines(keepends=True)
            lines = [*lines[:2], change] if change else lines[:2]
            (place.folder / "in.jsonl").write_text("".join(lines))
            refused = place.run()
            assert refused.returncode == 1
            assert b"The input has changed" in refused.stderr
            assert b"--restart" in refused.stderr
        refused = place.run("--model", "simulated/gpt-5-mini")
        assert b"begun with another kind, model" in refused.stderr
        assert place.out.read_bytes() == before
        again = place.run("--restart")
        assert again.returncode == 0, again.stderr
        assert [each["id"] for each in place.results] == ["n0", "n1"]

    await _in_thread({"rules": [{"reply": {"echo": True}}]}, tmp_path, database, claim)


async def test_from_standard_input_to_standard_output(database: Database, tmp_path: Path) -> None:
    def claim(place: Place) -> None:
        done = place.run(source="-", out=None, stdin=b'"one"\n"two"\n')
        assert done.returncode == 0, done.stderr
        assert [json.loads(line)["result"]["content"] for line in done.stdout.splitlines()] == ["one", "two"]

    await _in_thread({"rules": [{"reply": {"echo": True}}]}, tmp_path, database, claim)


async def test_what_is_wrong_with_the_command_is_told_before_anything_is_begun(
    database: Database, tmp_path: Path
) -> None:
    def claim(place: Place) -> None:
        for more, code, why in (
            (("--model", "simulatd/gpt-5-mini"), 1, b'Did you mean "simulated/gpt-5-mini"?'),
            (("--kind", "analysis"), 1, b"--kind is for analyses"),
            (("--project", "none"), 1, b"There is no project"),
            (("--priority", "10"), 2, b"--priority"),
        ):
            refused = place.run(*more)
            assert refused.returncode == code, refused.stderr
            assert why in refused.stderr
        with place.database.read() as connection:
            assert batches.page(connection, None, limit=5) == []
        assert not place.out.exists() or place.out.read_bytes() == b""

    await _in_thread(QUICKLY, tmp_path, database, claim)
