"""Who is told of a job's end, in the transaction that ends it: one line for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from waypost.jobs.progress import OnEnd

if TYPE_CHECKING:
    from waypost.worker.app import WorkerApplication


def hooks(application: WorkerApplication) -> Sequence[OnEnd]:  # noqa: ARG001 - what they need is in there
    """In this order."""
    return ()
