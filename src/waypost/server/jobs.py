"""/api/ai/jobs: the jobs of the caller's project, read, waited for, watched, cancelled, retried and deleted.

Another project's job does not exist here. /api/admin/jobs is the same for administrators, over all projects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from waypost.errors import InvalidRequest, UnsupportedFeature
from waypost.gateway.resume import LAST_EVENT_ID
from waypost.jobs.job import Job
from waypost.jobs.kept import Administrator, KeptJobs, Whose
from waypost.jobs.told import told_job, told_whole
from waypost.ledger.definitions import told_time
from waypost.server import jobs_documentation as about
from waypost.server.administering import Query, answer
from waypost.server.application import lifecycle_of, served_by
from waypost.server.callers import caller_of
from waypost.server.disconnect import CallerGone, connection_of, while_connected
from waypost.server.job_events import JobEvents, wait_for_end
from waypost.server.middleware.access_log import NO_REPLY

router = APIRouter(tags=["Jobs"])
JOBS: Final = "/api/ai/jobs"
ADMIN: Final = "/api/admin/jobs"
LONGEST_WAIT_S: Final = 60
FILTERS: Final = ("state", "type", "batch_id", "tag", "since", "until", "dead")
Scope = str | None
"""The project whose jobs are seen; None: those of all."""


def kept_jobs(request: Request) -> KeptJobs:
    """The jobs of this server. Raises UnsupportedFeature."""
    jobs = served_by(request).jobs
    if jobs is None:
        raise UnsupportedFeature("This server keeps no jobs.", hint="That takes ledger.enabled in its settings.")
    return jobs


def own(request: Request) -> Scope:
    """The caller's own project."""
    return caller_of(request.scope).account.project_id


def everybodys(request: Request) -> Scope:
    """All projects. Raises NotAllowed."""
    caller_of(request.scope).demand_admin()
    return None


async def list_jobs(request: Request, project: Scope) -> Response:
    """One page."""
    from waypost.jobs.listing import JobFilters

    extra = () if project is not None else ("project_id",)
    query = Query(request, *FILTERS, *extra, many_tags=True)
    filters = JobFilters(
        project_id=query.text("project_id") if project is None else project,
        state=query.choice("state", about.STATES),
        type=query.text("type"),
        batch_id=query.text("batch_id"),
        tags=query.tags(),
        since_ms=query.moment_ms("since"),
        until_ms=query.moment_ms("until"),
        dead=query.flag("dead") or False,
    )
    page = await kept_jobs(request).page(filters, query.limit, query.after)
    return answer(
        {
            "items": [told_job(row) for row in page.rows],
            "next": page.cursor,
            "searched_to": told_time(page.searched_to_ms),
        }
    )


async def get_job(request: Request, project: Scope) -> Response:
    """The job; with `wait`, as soon as it has ended."""
    wait_s = Query(request, "wait", is_paged=False).number("wait", most=LONGEST_WAIT_S)
    jobs, job_id = kept_jobs(request), _id(request)
    if wait_s:
        # Known before anything is waited for: whose it is, and that it is there.
        job = await jobs.find(project, job_id)
        lifecycle = lifecycle_of(request)
        waiting = wait_for_end(jobs, job, wait_s, lifecycle)
        try:
            await while_connected(waiting, request.receive, lifecycle, connection_of(request.scope))
        except CallerGone:
            return Response(status_code=NO_REPLY)
    return answer(told_whole(await jobs.whole(project, job_id)))


async def job_events(request: Request, project: Scope) -> Response:
    """The events as they come."""
    jobs = kept_jobs(request)
    after = _after(request)
    job = await jobs.find(project, _id(request))
    if after > job.last_event:
        raise InvalidRequest(
            f"The job has {job.last_event} events, and none with the number {after}.",
            hint="Give the id of an event that came, or none.",
            param="after",
        )
    if job.has_ended and after == job.last_event:
        # Source: WHATWG HTML, 9.2.3: a client that gets 204 does not connect again.
        return Response(status_code=204, headers={"cache-control": "no-store"})
    return JobEvents(jobs, job, after, lifecycle_of(request))


def _after(request: Request) -> int:
    """A client that comes back says the last event in the header, whatever its address says."""
    given = Query(request, "after", is_paged=False).number("after")
    header = request.headers.get(LAST_EVENT_ID)
    if not header:
        return given or 0
    if not (header.isascii() and header.isdecimal() and len(header) < 10):
        raise InvalidRequest("The header Last-Event-ID is no event's number.", param="Last-Event-ID")
    return int(header)


async def cancel_job(request: Request, project: Scope) -> Response:
    """The job as it stands then."""
    return _told(await kept_jobs(request).cancel(_changing(request, project), _id(request)))


async def retry_job(request: Request, project: Scope) -> Response:
    """The job, waiting again."""
    return _told(await kept_jobs(request).retry(_changing(request, project), _id(request)), 202)


async def delete_job(request: Request, project: Scope) -> Response:
    """Nothing is left."""
    await kept_jobs(request).remove(_changing(request, project), _id(request))
    return Response(status_code=204, headers={"cache-control": "no-store"})


def _changing(request: Request, project: Scope) -> Whose:
    return Administrator(caller_of(request.scope).account.key_id) if project is None else project


def _told(job: Job, status: int = 200) -> Response:
    return answer(told_job({name: getattr(job, name) for name in job.__dataclass_fields__}), status)


def _id(request: Request) -> str:
    return str(request.path_params["job_id"])


Endpoint = Callable[[Request, Scope], Awaitable[Response]]
ENDPOINTS: Final[tuple[tuple[str, str, Endpoint, about.Told], ...]] = (
    ("GET", "", list_jobs, about.LIST),
    ("GET", "/{job_id}", get_job, about.GET),
    ("GET", "/{job_id}/events", job_events, about.EVENTS),
    ("POST", "/{job_id}/cancel", cancel_job, about.CANCEL),
    ("POST", "/{job_id}/retry", retry_job, about.RETRY),
    ("DELETE", "/{job_id}", delete_job, about.DELETE),
)
"""What can be done with jobs, by their owners and by administrators alike."""


def _add(method: str, path: str, endpoint: Endpoint, told: about.Told, *, for_admin: bool) -> None:
    whose = everybodys if for_admin else own

    async def serve(request: Request) -> Response:
        return await endpoint(request, whose(request))

    serve.__doc__ = told.description
    options: dict[str, Any] = told.options(for_admin=for_admin)
    router.add_api_route(f"{ADMIN if for_admin else JOBS}{path}", serve, methods=[method], **options)


for _each in ENDPOINTS:
    _add(*_each, for_admin=False)
for _each in ENDPOINTS:
    _add(*_each, for_admin=True)
