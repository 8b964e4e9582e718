"""POST /api/ai/analyze: takes a text or a document and answers at once with the job that analyzes it.

The invariant: what is answered with 202 is in the database, whole; what is refused has left nothing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from waypost.errors import BudgetExceeded, InvalidRequest, ServerBusy, UnsupportedFeature
from waypost.gateway.idempotency import KEY_HEADER, checked_key
from waypost.jobs.job import Input, Job, NewJob
from waypost.jobs.kept import KeptJobs
from waypost.ledger.account import Account
from waypost.ledger.books import now_ms
from waypost.server.analyze_checks import checked_webhook, chosen, document_input, text_input
from waypost.server.analyze_documentation import ANALYZE_REQUEST, ANALYZE_RESPONSES
from waypost.server.analyze_form import is_form, read_form
from waypost.server.application import served_by
from waypost.server.body import read_body
from waypost.server.callers import caller_of
from waypost.server.job_models import AnalyzeRequest
from waypost.server.jsonwire import json_bytes
from waypost.server.middleware.headers import header_value
from waypost.server.middleware.tags import TAGS, tags_in
from waypost.server.serving import Serving

router = APIRouter(tags=["Jobs"])
ANALYZE: Final = "/api/ai/analyze"
JOBS: Final = "/api/ai/jobs"
TYPE: Final = "analyze"
REPLAYED: Final = "idempotent-replayed"
EXAMPLE: Final = '{"content": "…"}'


@dataclass(frozen=True, slots=True)
class Asked:
    """What was sent: the fields, and the document of a form."""

    fields: AnalyzeRequest
    document: Input | None = None


@router.post(
    ANALYZE,
    status_code=202,
    summary="Analyze a text or a document",
    operation_id="analyze",
    responses=ANALYZE_RESPONSES,
    openapi_extra=ANALYZE_REQUEST,
)
async def analyze(request: Request) -> Response:
    """The answer comes at once, with the id of a job that a worker does: it is never lost, whatever dies meanwhile.

    Send JSON, or a form with a file (.txt, .md, .html, .pdf, .docx) and the same fields. The result is at `url`.
    """
    served = served_by(request)
    jobs = demand_jobs(served)
    asked = await _read(request, jobs)
    account = caller_of(request.scope).account
    new = _new_job(request, asked, account, served, jobs)
    await demand_budget(served, account, new.end_user)
    created = await jobs.create(new)
    headers = {} if created.is_new else {REPLAYED: "true"}
    return accepted(created.job, 202 if created.is_new else 200, headers)


def demand_jobs(served: Serving) -> KeptJobs:
    """Where jobs are taken on. Raises UnsupportedFeature."""
    if served.jobs is None or not served.settings.jobs.enabled:
        raise UnsupportedFeature(
            "This server takes on no jobs.", hint="That takes jobs.enabled and ledger.enabled in its settings."
        )
    return served.jobs


def accepted(job: Job, status: int, headers: Mapping[str, str]) -> Response:
    """The reply to who asked for the job."""
    url = f"{JOBS}/{job.id}"
    body = {
        "job_id": job.id,
        "message": "Analysis started" if not job.has_ended else f"Analysis has {job.state}",
        "status": job.state if job.has_ended else "processing",
        "url": url,
    }
    own = {"location": url, "cache-control": "no-store", **headers}
    return Response(json_bytes(body), status, own, "application/json")


async def _read(request: Request, jobs: KeptJobs) -> Asked:
    if not is_form(request.scope):
        return Asked(await read_body(request, AnalyzeRequest, EXAMPLE))
    fields, file = await read_form(request, jobs.settings.max_content_bytes)
    return Asked(fields, file)


def _new_job(request: Request, asked: Asked, account: Account, served: Serving, jobs: KeptJobs) -> NewJob:
    """Raises what is wrong with the request."""
    fields = asked.fields
    most_bytes = jobs.settings.max_content_bytes
    content = _content(asked, most_bytes)
    kinds = chosen(served, caller_of(request.scope), fields)
    told: dict[str, Any] = {"kinds": kinds, "model": fields.model, "allow_offline": fields.allow_offline}
    tags = {**(tags_in(header_value(request.scope, TAGS)) or {}), **fields.tags}
    return NewJob(
        TYPE,
        account.project_id,
        account.key_id,
        told,
        content,
        end_user=fields.user,
        idempotency=idempotency_of(request, fields.idempotency_key),
        priority=fields.priority,
        tags=tags or None,
        webhook_url=checked_webhook(served, fields.webhook),
    )


def _content(asked: Asked, most_bytes: int) -> Input:
    fields = asked.fields
    given = [name for name in ("content", "prompt") if getattr(fields, name) is not None]
    given += [] if asked.document is None else ["file"]
    if len(given) > 1:
        raise InvalidRequest(f"There is {' and '.join(given)}; send one of them.", param=given[1])
    if not given:
        raise InvalidRequest("There is nothing to analyze.", hint=f"For instance {EXAMPLE}.", param="content")
    if asked.document is not None:
        return document_input(asked.document)
    return text_input(getattr(fields, given[0]), given[0], most_bytes)


def idempotency_of(request: Request, field: str | None) -> str | None:
    """By the header, as everywhere, or by the field. Raises InvalidRequest."""
    header = header_value(request.scope, KEY_HEADER.encode())
    if header is None or header == field:
        return field
    if field is not None:
        raise InvalidRequest(
            "The header Idempotency-Key and the field idempotency_key differ.",
            hint="Send one of them.",
            param="idempotency_key",
        )
    return checked_key(header)


async def demand_budget(served: Serving, account: Account, end_user: str | None) -> None:
    """A job that could not pay for its first call is refused now. Raises BudgetExceeded.

    What is only reserved may come back until the job is begun, and so may a database that is away.
    """
    spending = None if served.ledger is None else served.ledger.books.spending
    if spending is None or not spending.limits_money(account):
        return
    try:
        reservation = await spending.reserve(account, 1, end_user, now_ms())
    except BudgetExceeded as error:
        if error.shortage.used >= error.shortage.limit:
            raise
    except ServerBusy:
        return
    else:
        reservation.release()
