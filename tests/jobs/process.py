"""`python -m tests.jobs.process SETTINGS`: `waypost worker`, and types of jobs that only tests have."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from waypost.chat import Message, Request, Text
from waypost.jobs.body import JobBody, JobContext, StepDone
from waypost.jobs.job import JobEnd
from waypost.settings import read_settings
from waypost.worker.app import WorkerApplication
from waypost.worker.bodies import bodies
from waypost.worker.calls import JobCalls
from waypost.worker.run import run


class Steps:
    """So many calls, one after the other; each asks for the job's name and the step's."""

    def __init__(self, calls: JobCalls) -> None:
        self._calls = calls

    async def run(self, context: JobContext) -> JobEnd:
        """All texts."""
        told, texts = context.job.request, []
        for number in range(told["steps"]):
            prompt = f"{told['prompt']} step {number}"
            texts.append(await context.step(f"{number}", lambda prompt=prompt: self._ask(context, prompt)))  # type: ignore[misc]
            await context.progress(number + 1, told["steps"])
        return JobEnd("succeeded", texts)

    async def _ask(self, context: JobContext, prompt: str) -> StepDone:
        request = Request("", (Message("user", (Text(prompt),)),))
        called = await self._calls.generate(context.job, request, step=prompt)
        assert called.response is not None
        return StepDone(called.response.text, called.cost, called.request_id)


class Poison:
    """Kills its worker."""

    async def run(self, context: JobContext) -> JobEnd:
        """Does not come to an end."""
        os.kill(os.getpid(), signal.SIGKILL)
        return JobEnd("succeeded")


def all_bodies(application: WorkerApplication) -> Mapping[str, JobBody]:
    """Those of Waypost, and these."""
    return {**bodies(application), "steps": Steps(application.calls), "poison": Poison()}


if __name__ == "__main__":
    run(read_settings(Path(sys.argv[1])).settings, lambda name: click.echo(f"{name} takes jobs"), all_bodies)
