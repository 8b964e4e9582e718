"""Claims about the guide's table: it lists what a real server tells, all of it and nothing else."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.simulated import serving
from tests.telemetry.scraped import Scraped, scrape
from tests.telemetry.test_metrics_served import CHAT, SCRIPT, settings_of

from waypost.simulator import Simulator
from waypost.telemetry.metrics.families import FAMILIES

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "monitoring.md"
ROW = re.compile(r"^\| `((?:waypost|process)_\w+)` \| (\w+) \| ([\w, ]*?) ?\| (.+) \|$", re.MULTILINE)
TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
SUFFIXES = ("_bucket", "_sum", "_count")
BUCKET = "le"


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name to kind and labels."""
    rows = ROW.findall(GUIDE.read_text())
    return {name: (kind, tuple(labels.split(", ")) if labels else ()) for name, kind, labels, _ in rows}


def labels_seen(told: Scraped) -> dict[str, set[frozenset[str]]]:
    """The label names of every series, by the name of its family."""
    seen: dict[str, set[frozenset[str]]] = {}
    for family in told.families:
        for sample in family.samples:
            name = sample.name
            if family.type == "histogram":
                name = next(name.removesuffix(each) for each in SUFFIXES if name.endswith(each))
            seen.setdefault(name, set()).add(frozenset(sample.labels) - {BUCKET})
    return seen


async def scraped(tmp_path: Path, **more: Any) -> Scraped:
    """Of a server that has answered, streamed and failed."""

    def work(simulator: Simulator) -> Scraped:
        with serving(settings_of(simulator, tmp_path, **more)) as url:
            for text, stream in (("hello", False), ("hello", True), ("fail", False)):
                body = {"model": "main", "stream": stream, "messages": [{"role": "user", "content": text}]}
                httpx.post(f"{url}{CHAT}", json=body, timeout=30)
            return scrape(url)

    async with Simulator(SCRIPT) as simulator:
        return await asyncio.to_thread(work, simulator)


async def test_the_guide_lists_what_a_server_tells(tmp_path: Path) -> None:
    told, guide = await scraped(tmp_path), documented()
    assert guide == {each.name: (each.kind, each.labels) for each in FAMILIES.values()}
    assert dict(TYPE.findall(told.text)) == {name: kind for name, (kind, _) in guide.items()}
    for name, seen in labels_seen(told).items():
        assert seen == {frozenset(guide[name][1])}, name


async def test_series_of_everything_but_jobs_and_budgets_are_there_after_a_few_requests(tmp_path: Path) -> None:
    """So that the comparison of labels compares something."""
    seen = labels_seen(await scraped(tmp_path))
    unseen = {name for name in FAMILIES if name not in seen}
    assert unseen == {
        "waypost_budget_used_ratio",
        "waypost_cost_unknown_total",
        "waypost_job_queue_seconds",
        "waypost_job_seconds",
        "waypost_job_steps_total",
    }


@pytest.mark.ops
async def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    told = await scraped(tmp_path)
    promtool = shutil.which("promtool")
    assert promtool is not None, "make test-ops installs it"

    def check(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)

    found = check(told.text)
    assert found.returncode == 0, found.stdout + found.stderr
    # It does look: a counter by another name is found.
    assert check(told.text.replace("waypost_requests_total", "waypost_requests")).returncode != 0
