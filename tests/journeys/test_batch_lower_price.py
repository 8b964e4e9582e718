"""A file of prompts at the lower price: the command is killed while the provider has them, and is given again.

Real processes: a simulated provider, and `waypost batch run` with its own worker, on one SQLite file. The provider
makes one batch, and each line costs what it counted, at half the price.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from tests.jobs.workers import until
from tests.worker.batched import Wire, counted_micro_usd, settings_of, vendor_batches

from waypost.settings import Settings
from waypost.simulator import Simulator
from waypost.store.database import Database, open_database

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]
COUNT = 20
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    whole = [sys.executable, "-m", "waypost.cli.main", *words, "--config", "wp.yaml"]
    return subprocess.run(whole, cwd=folder, env=ENVIRONMENT, capture_output=True, timeout=120, check=False)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


RUN = ("batch", "run", "in.jsonl", "--type", "generate", "--model", "cheap", "--lower-price", "--out", "out.jsonl")


def prepare(folder: Path, simulator: Simulator, wire: Wire) -> Database:
    at = Database(open_database(Settings.model_validate({"data_dir": str(folder / "data")})).url)
    settings = settings_of(simulator, at, wire)
    (route,) = settings["routes"].values()
    settings["routes"] = {"cheap": route, "default": {"targets": route["targets"]}}
    (folder / "wp.yaml").write_text(yaml.safe_dump({"data_dir": str(folder / "data"), **settings}))
    prompts = [
        json.dumps({"id": f"n{number}", "prompt": f"item {number}.", "max_tokens": 50}) for number in range(COUNT)
    ]
    (folder / "in.jsonl").write_text("".join(f"{prompt}\n" for prompt in prompts))
    return at


def walk(folder: Path, simulator: Simulator, wire: Wire) -> None:
    whole = [sys.executable, "-m", "waypost.cli.main", *RUN, "--config", "wp.yaml"]
    with (folder / "run.log").open("ab") as log:
        first = subprocess.Popen(whole, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log)
    try:
        until(lambda: any(request.batch_id for request in simulator.requests), 90, (folder / "run.log").read_text)
    finally:
        for each in psutil.Process(first.pid).children(recursive=True):
            each.kill()
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert lines(folder / "out.jsonl") == []

    again = command(folder, *RUN)
    assert again.returncode == 0, again.stderr
    assert b"going on with batch_" in again.stderr
    done = lines(folder / "out.jsonl")
    assert [each["id"] for each in done] == [f"n{number}" for number in range(COUNT)]
    assert [each["result"]["content"] for each in done] == [f"item {number}." for number in range(COUNT)]
    assert len(vendor_batches(simulator, wire)) == 1
    cost = counted_micro_usd(simulator, wire)
    assert round(sum(each["cost_usd"] for each in done) * 1_000_000) == cost > 0

    batch = json.loads(command(folder, "batch", "list", "--json").stdout)[0]
    told = json.loads(command(folder, "batch", "show", batch["id"], "--json").stdout)
    assert (told["state"], round(told["cost_usd"] * 1_000_000)) == ("finished", cost)
    (sent,) = told["provider_batches"]
    assert (sent["state"], sent["requests"], sent["provider"]) == ("over", COUNT, "simulated")

    used = json.loads(command(folder, "usage", "--json").stdout)
    assert str(cost / 1_000_000) in json.dumps(used), used
    refused = command(folder, *(word for word in RUN if word not in ("--model", "cheap")), "--restart")
    assert (refused.returncode, b"provider_batches: true" in refused.stderr) == (1, True), refused.stderr


@pytest.mark.parametrize("wire", ["anthropic", "chat"])
async def test_killed_while_the_provider_has_it_the_same_command_goes_on(tmp_path: Path, wire: Wire) -> None:
    async with Simulator({"batches": [{"takes_s": 4}], "rules": [{"reply": {"echo": True}}]}) as simulator:
        prepare(tmp_path, simulator, wire).close()
        await asyncio.to_thread(walk, tmp_path, simulator, wire)
