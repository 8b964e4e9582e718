"""An independent checker of the four wire formats, with vendors' schemas and its own HTTP client, finds no fault."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from waypost.simulator import Simulator

CHECKER = Path(sys.executable).with_name("llm-comply")
ANTHROPIC = ["--auth-header", "x-api-key", "--no-bearer", "-H", "anthropic-version:2023-06-01"]
GOOGLE = ["--auth-header", "x-goog-api-key", "--no-bearer"]
RUNS: list[tuple[str, str, list[str], int]] = [
    ("openai-chat", "gpt-4o-mini", [], 8),
    ("openai-chat", "gpt-5-mini", [], 9),
    ("open-responses", "gpt-4o-mini", [], 12),
    ("open-responses", "gpt-5-mini", [], 13),
    ("anthropic", "claude-sonnet-4-5", ANTHROPIC, 9),
    ("google-genai", "gemini-2.5-flash", GOOGLE, 9),
]
"""Format, model (checks of reasoning are for some names only), arguments, and how many checks must pass."""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.mark.parametrize(("format_name", "model", "arguments", "passing"), RUNS, ids=[f"{r[0]} {r[1]}" for r in RUNS])
async def test_every_check_that_applies_passes(
    simulator: Simulator, format_name: str, model: str, arguments: list[str], passing: int
) -> None:
    """The number is given, so that a check that is skipped, or a checker that checks nothing, is a failure."""
    url = simulator.gemini_url if format_name == "google-genai" else simulator.openai_url
    command = [CHECKER, "run", "-u", url, "-k", "any", "-m", model, "--format", format_name, "--json", *arguments]
    report = await _report(*map(str, command))
    failed = [check for check in report["results"] if check["status"] == "failed"]
    assert failed == []
    assert sum(check["status"] == "passed" for check in report["results"]) == passing


async def _report(*command: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out, errors.decode()
    return json.loads(out)
