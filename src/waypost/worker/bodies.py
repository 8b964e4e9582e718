"""Which code does which type of job: one line for each. A body is made once, and serves all jobs of its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from waypost.jobs.body import JobBody

if TYPE_CHECKING:
    from waypost.worker.app import WorkerApplication


def bodies(application: WorkerApplication) -> Mapping[str, JobBody]:
    """By type."""
    from waypost.worker.analyze import AnalyzeBody
    from waypost.worker.generate import GenerateBody
    from waypost.worker.responses import ResponseBody

    return {
        "analyze": AnalyzeBody(application.calls, application.gateway, application.settings),
        "generate": GenerateBody(application),
        "response": ResponseBody(application),
    }
