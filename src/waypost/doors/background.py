"""Answers that are made in the background, as values: their ids, and what is told of them before and after their end.

An answer and its job have the same id but for its beginning. The invariant: what is told of an answer that is not whole
says so in its status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from waypost.chat import Json
from waypost.codecs.openai_responses.wire import REQUIRED_MEMBERS
from waypost.doors.beside import responses_fields
from waypost.ledger.stored_responses import PREVIOUS
from waypost.providers.asked import Asked

if TYPE_CHECKING:
    from waypost.jobs.job import Job

BACKGROUND: Final = "background"
RESPONSE: Final = "response"
GENERATE: Final = "generate"
PRELUDE: Final = 2
"""The events that tell of a response before it is begun: that it is created, and that it is queued."""
STATUSES: Final = {
    "queued": "queued",
    "running": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""Of a response, by its job's state."""
_RESPONSE_ID: Final = re.compile(r"resp_([0-9a-f]{32})")
_JOB_ID: Final = re.compile(r"job_([0-9a-f]{32})")
SERVER_ERROR: Final = "server_error"


def response_id_of(job_id: str) -> str:
    """The answer's."""
    return f"resp_{job_id.removeprefix('job_')}"


def job_id_of(response_id: str) -> str | None:
    """The job's that makes, or made, the answer, if it has one. None: it has none."""
    found = _RESPONSE_ID.fullmatch(response_id)
    return f"job_{found[1]}" if found else None


def job_id_in(either_id: str) -> str | None:
    """The job's id, given that or its answer's."""
    return either_id if _JOB_ID.fullmatch(either_id) else job_id_of(either_id)


def head_of(asked: Asked) -> dict[str, Any]:
    """What a response repeats of its request, before anything else is known of it."""
    members = asked.written.seen.members if asked.written is not None else {}
    own = responses_fields(asked)["openai_responses"]["response"]
    told = {BACKGROUND: True, "store": True, PREVIOUS: members.get(PREVIOUS), "model": asked.model}
    head: dict[str, Any] = storable({**REQUIRED_MEMBERS, **_mapping(own), **told})
    return head


def told_of(job: Job) -> dict[str, Any]:
    """The response of a job that has not succeeded, or whose answer is not looked at."""
    body = {
        "id": response_id_of(job.id),
        "object": "response",
        "created_at": job.created_at_ms // 1000,
        "status": STATUSES[job.state],
        "error": _error_of(job),
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    return {**_mapping(job.request.get("response")), **body, **(_kept(job) if job.has_ended else {})}


def _kept(job: Job) -> Mapping[str, Any]:
    """What the worker told of an answer that did not come to its end."""
    result = None if job.result is None else msgspec.json.decode(job.result)
    return _mapping(result.get("response")) if isinstance(result, dict) else {}


def _error_of(job: Job) -> Json:
    if job.state != "failed" or job.error is None:
        return None
    return {"code": SERVER_ERROR, "message": job.error.get("message", ""), "type": job.error.get("code", "")}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def storable(value: Any) -> Any:
    """JSON data as any database keeps it: PostgreSQL takes no U+0000."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, Mapping):
        return {storable(name): storable(each) for name, each in value.items()}
    return [storable(each) for each in value] if isinstance(value, list | tuple) else value
