"""An independent checker of the four wire formats finds no fault with the gateway, whoever answers behind it.

`llm-comply` brings the vendors' schemas and an HTTP client of its own. Each door is checked before a provider of its
own dialect, where bytes pass, and before one of another, where all is translated.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.simulated import Wire, provider, serving

from waypost.simulator import Simulator

CHECKER = Path(sys.executable).with_name("llm-comply")
LIMIT_S = 60
ANTHROPIC = ("--auth-header", "x-api-key", "--no-bearer", "-H", "anthropic-version:2023-06-01")
GOOGLE = ("--auth-header", "x-goog-api-key", "--no-bearer")


@dataclass(frozen=True)
class Run:
    """One door before one provider. `model` is what is asked for: the checker has more checks for some names.

    `passing` is how many checks must pass, so that a check that is skipped is a failure too.
    """

    format_name: str
    provider: Wire
    model: str
    passing: int
    arguments: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """A model of the provider's own."""
        own = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
        return own.get(
            self.provider, "gpt-4o-mini" if self.format_name in ("anthropic", "google-genai") else self.model
        )


RUNS = (
    Run("openai-chat", "chat", "gpt-4o-mini", 8),
    Run("openai-chat", "chat", "gpt-5-mini", 9),
    Run("openai-chat", "anthropic", "gpt-4o-mini", 8),
    Run("openai-chat", "anthropic", "gpt-5-mini", 9),
    Run("openai-chat", "gemini", "gpt-4o-mini", 8),
    Run("open-responses", "responses", "gpt-4o-mini", 12),
    Run("open-responses", "responses", "gpt-5-mini", 13),
    Run("open-responses", "chat", "gpt-4o-mini", 12),
    Run("open-responses", "anthropic", "gpt-5-mini", 13),
    Run("anthropic", "anthropic", "claude-sonnet-4-5", 9, ANTHROPIC),
    Run("anthropic", "chat", "claude-sonnet-4-5", 9, ANTHROPIC),
    Run("anthropic", "gemini", "claude-sonnet-4-5", 9, ANTHROPIC),
    Run("google-genai", "gemini", "gemini-2.5-flash", 9, GOOGLE),
    Run("google-genai", "chat", "gemini-2.5-flash", 9, GOOGLE),
    Run("google-genai", "anthropic", "gemini-2.5-flash", 9, GOOGLE),
)


@pytest.mark.parametrize("run", RUNS, ids=[f"{run.format_name} {run.model} by {run.provider}" for run in RUNS])
async def test_every_check_that_applies_passes(run: Run) -> None:
    async with Simulator() as simulator:
        with serving(_settings(run, simulator)) as url:
            report = await _report(run, url)
    failed = [(check["id"], check["errors"]) for check in report["results"] if check["status"] == "failed"]
    assert not failed, json.dumps(failed, indent=1)
    assert sum(check["status"] == "passed" for check in report["results"]) == run.passing


def _settings(run: Run, simulator: Simulator) -> dict[str, Any]:
    behind = {**provider(run.provider, simulator), "api_key": "any"}
    return {"providers": {"behind": behind}, "routes": {run.model: {"targets": [f"behind/{run.target}"]}}}


async def _report(run: Run, url: str) -> Any:
    base = url if run.format_name == "google-genai" else f"{url}/v1"
    asked = ("-u", base, "-k", "any", "-m", run.model, "--format", run.format_name, "--json", *run.arguments)
    process = await asyncio.create_subprocess_exec(
        str(CHECKER), "run", *asked, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out, errors.decode()
    return json.loads(out)
