"""What the OpenAPI document says of /api/ai/jobs and /api/admin/jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.responses import Response

from waypost.errors import (
    AuthenticationRequired,
    DatabaseUnavailable,
    InvalidRequest,
    JobHasEnded,
    JobNotEnded,
    NotAllowed,
    OriginRefused,
    ServerBusy,
    UnknownJob,
    UnsupportedFeature,
    WaypostError,
)
from waypost.jobs.job import STATES as JOB_STATES
from waypost.ledger.definitions import UnusableField
from waypost.server.administering import parameters_of
from waypost.server.documentation import PAGE_RESPONSES, error_responses, json_of
from waypost.server.job_models import JobListed, JobModel, JobPageModel

STATES: Final[Sequence[str]] = JOB_STATES
_TEXT: Final = {"type": "string"}
_WHEN: Final = "A day (2026-11-26), a time (2026-11-26T09:30Z) or how long ago (24h, 7d)."
_FILTERS: Final = (
    ("state", "Only those in this state.", {**_TEXT, "enum": list(STATES)}),
    ("type", "Only those of this type: analyze, generate or response.", _TEXT),
    ("batch_id", "Only those of this batch.", _TEXT),
    ("tag", "Only those with this tag, as in `team=search`; may be there several times.", _TEXT),
    ("since", f"Only those asked for from then on. {_WHEN}", _TEXT),
    ("until", f"Only those asked for before then. {_WHEN}", _TEXT),
    (
        "dead",
        "Only those that were given up because their worker died with them again and again.",
        {"type": "boolean", "default": False},
    ),
)
_PROJECT: Final = (("project_id", "Only those of this project.", _TEXT),)
_ID: Final = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "The job's id.",
    "schema": _TEXT,
}
_REFUSED: Final = (AuthenticationRequired, OriginRefused, UnsupportedFeature, ServerBusy, DatabaseUnavailable)
_MISTAKES: Final = (InvalidRequest, UnusableField)
_STREAM: Final = """\
id: 1
event: queued
data: {"at":"2026-03-01T09:30:00.000Z"}

id: 2
event: running
data: {"at":"2026-03-01T09:30:00.300Z"}

id: 3
event: progress
data: {"at":"2026-03-01T09:30:02.100Z","done":1,"total":3}

id: 4
event: succeeded
data: {"at":"2026-03-01T09:30:04.900Z"}

"""
_EVENTS_TEXT: Final = (
    "Events, each with its number as id and one line of JSON with `at`: `queued`, `running`, `progress` (with `done` "
    "and `total`), what the job's type has of its own, and last `succeeded`, `failed` (with the error) or `cancelled`. "
    "A retry begins with `queued` again. If the stream breaks, its last event is `error`."
)


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one endpoint."""

    operation: str
    summary: str
    description: str
    responses: Mapping[int | str, dict[str, Any]]
    errors: tuple[type[WaypostError], ...] = ()
    parameters: Sequence[Mapping[str, Any]] = field(default_factory=list)
    status: int = 200

    def options(self, *, for_admin: bool) -> dict[str, Any]:
        """For FastAPI."""
        refused = (*_REFUSED, *self.errors, *((NotAllowed,) if for_admin else ()))
        parameters = list(self.parameters)
        if for_admin and self is LIST:
            parameters = parameters_of(*_PROJECT, *_FILTERS)["parameters"]
        options: dict[str, Any] = {
            "operation_id": f"{self.operation}_of_any" if for_admin else self.operation,
            "summary": f"{self.summary}, whosever" if for_admin else self.summary,
            "status_code": self.status,
            "responses": {**self.responses, **PAGE_RESPONSES, **error_responses(refused)},
            "openapi_extra": {"parameters": parameters},
        }
        if for_admin:
            options["tags"] = ["Administration"]
        if self.status == 204:
            options["response_class"] = Response
        return options


LIST: Final = Told(
    "list_jobs",
    "List jobs",
    "Jobs without their content and results, the newest first; all filters hold at once.",
    {200: {"description": "One page of jobs.", "content": json_of(JobPageModel)}},
    _MISTAKES,
    parameters_of(*_FILTERS)["parameters"],
)
GET: Final = Told(
    "get_job",
    "Show a job",
    "A job with its result. With `wait` the answer comes when the job has ended, or after so many seconds.",
    {200: {"description": "The job.", "content": json_of(JobModel)}},
    (UnknownJob, *_MISTAKES),
    [
        _ID,
        {
            "name": "wait",
            "in": "query",
            "required": False,
            "description": "Seconds to wait for its end, at most 60.",
            "schema": {"type": "integer", "minimum": 0, "maximum": 60},
        },
    ],
)
EVENTS: Final = Told(
    "job_events",
    "Watch a job",
    "What happens to a job, as it happens: from its beginning or after the event that `Last-Event-ID` or `after` is. "
    "204: it has ended, and there are no more events.",
    {
        200: {
            "description": "The events.",
            "content": {
                "text/event-stream": {
                    "schema": {**_TEXT, "description": _EVENTS_TEXT},
                    "examples": {"analysis": {"value": _STREAM}},
                }
            },
        },
        204: {"description": "The job has ended, and there are no more events."},
    },
    (UnknownJob, *_MISTAKES),
    [
        _ID,
        {
            "name": "after",
            "in": "query",
            "required": False,
            "description": "The number of the last event that is known.",
            "schema": {"type": "integer", "minimum": 0},
        },
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The same, as clients of event streams send it.",
            "schema": _TEXT,
        },
    ],
)
CANCEL: Final = Told(
    "cancel_job",
    "Cancel a job",
    "A job that waits ends at once. One that is being done is asked to: its call to a provider stops within two "
    "seconds, and what it cost until then is paid. A job that was cancelled already stays so.",
    {200: {"description": "The job; `cancel_requested` says that it was asked.", "content": json_of(JobListed)}},
    (UnknownJob, JobHasEnded),
    [_ID],
)
RETRY: Final = Told(
    "retry_job",
    "Do a job again",
    "For a job that failed or was cancelled. What its steps gave is kept: only what is missing is done, and paid.",
    {202: {"description": "The job, which waits again.", "content": json_of(JobListed)}},
    (UnknownJob, JobNotEnded, JobHasEnded),
    [_ID],
    status=202,
)
DELETE: Final = Told(
    "delete_job",
    "Delete a job",
    "With its content, its result and its events; it must have ended. Its calls stay in the request log.",
    {204: {"description": "It is gone."}},
    (UnknownJob, JobNotEnded),
    [_ID],
    status=204,
)
