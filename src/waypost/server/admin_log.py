"""/api/admin/requests and /api/admin/usage: the request log and what was spent, for administrators.

What the queries do is in `ledger.request_log` and `ledger.usage`. The invariant: what is exported ends as it should, or
its connection breaks; half a log never looks like a whole one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from waypost.errors import UnknownRequest
from waypost.ledger.books import now_ms
from waypost.ledger.definitions import UnusableField, told_time
from waypost.server.administering import (
    MISTAKES,
    Administrator,
    ByAdministrator,
    Query,
    answer,
    documented,
    parameters_of,
    refusals,
)
from waypost.server.log_models import RequestPage, UsageSums, WholeRequestModel

if TYPE_CHECKING:
    from waypost.ledger.log_filters import Filters
    from waypost.ledger.usage import Period

router = APIRouter(tags=["Administration"])
REQUESTS: Final = "/api/admin/requests"
EXPORT: Final = f"{REQUESTS}/export"
USAGE: Final = "/api/admin/usage"
TEXTS: Final = (
    "project_id",
    "key_id",
    "end_user",
    "route",
    "provider",
    "model",
    "model_prefix",
    "error_code",
    "request_id",
)
END_STATES: Final = ("answered", "failed", "caller_left", "unknown")
ORDERS: Final = ("newest", "oldest")
EXPORTED: Final[Mapping[str, str]] = {"jsonl": "application/jsonl", "csv": "text/csv"}
PERIODS: Final = ("day", "week", "month")
DIMENSIONS: Final = ("project", "key", "route", "provider", "model")
MONTH_MS: Final = 30 * 24 * 60 * 60 * 1000

_TEXT: Final = {"type": "string"}
_WHEN: Final = "A day (2026-11-26), a time (2026-11-26T09:30Z) or how long ago (24h, 7d)."
_FILTERS: Final = (
    ("since", f"Only from then on. {_WHEN}", _TEXT),
    ("until", f"Only before then. {_WHEN}", _TEXT),
    ("project_id", "Only those of this project.", _TEXT),
    ("key_id", "Only those that came with this key.", _TEXT),
    ("end_user", "Only those for this end user.", _TEXT),
    ("route", "Only those that took this route.", _TEXT),
    ("provider", "Only those that this provider answered.", _TEXT),
    ("model", "Only those that this model answered.", _TEXT),
    ("model_prefix", "Only those that a model answered whose name begins so.", _TEXT),
    ("end_state", "Only those that ended so.", {**_TEXT, "enum": list(END_STATES)}),
    ("status", "Only those with this HTTP status.", {"type": "integer", "minimum": 100, "maximum": 599}),
    ("error_code", "Only those that ended with this error.", _TEXT),
    ("request_id", "Only those whose caller was told this id.", _TEXT),
    ("tag", "Only those with this tag, as in `team=search`; may be there several times.", _TEXT),
    ("min_cost_usd", "Only those that cost at least so much.", {"type": "number", "minimum": 0}),
    ("min_total_ms", "Only those that took at least so long.", {"type": "integer", "minimum": 0}),
)
_FILTER_NAMES: Final = tuple(name for name, _, _ in _FILTERS)


@router.get(
    REQUESTS,
    summary="List requests",
    operation_id="list_requests",
    responses=documented(200, "One page of the log.", RequestPage, *MISTAKES),
    openapi_extra=parameters_of(
        *_FILTERS, ("order", "Which come first.", {**_TEXT, "enum": list(ORDERS), "default": ORDERS[0]})
    ),
)
def list_requests(request: Request, by: ByAdministrator) -> Response:
    """What was asked, by whom, how it ended and what it cost; all filters hold at once.

    A page is answered soon, whatever it is filtered by. Where looking through the log would take longer, it holds what
    was found and `searched_to`; `next` goes on from there.
    """
    from waypost.ledger.log_told import told_request
    from waypost.ledger.request_log import page

    query = Query(request, *_FILTER_NAMES, "order", many_tags=True)
    filters, newest_first = _filters(query), query.choice("order", ORDERS) != "oldest"
    limit, after = query.limit, query.after
    with by.using() as database:
        found = page(database, filters, limit=limit, cursor=after, newest_first=newest_first)
    return answer(
        {
            "items": [told_request(row) for row in found.rows],
            "next": found.cursor,
            "searched_to": told_time(found.searched_to_ms),
        }
    )


@router.get(
    EXPORT,
    summary="Export requests",
    operation_id="export_requests",
    responses={
        200: {
            "description": "Every request that fits, the oldest first. A reply that breaks off is not all of them.",
            "content": {kind: {"schema": _TEXT} for kind in EXPORTED.values()},
        },
        **refusals(*MISTAKES),
    },
    openapi_extra=parameters_of(
        *_FILTERS,
        ("format", "JSON lines, or CSV.", {**_TEXT, "enum": list(EXPORTED), "default": "jsonl"}),
        is_paged=False,
    ),
)
def export(request: Request, by: ByAdministrator) -> Response:
    """The fields of the list, one request a line; in CSV no cell is a formula. What comes in meanwhile is left out.

    Parquet files are written by `waypost requests export`.
    """
    query = Query(request, *_FILTER_NAMES, "format", is_paged=False, many_tags=True)
    filters, form = _filters(query), query.choice("format", tuple(EXPORTED)) or "jsonl"
    pieces = _exported(by, filters, form)
    # What is wrong before the first line is told as an error.
    first = next(pieces)
    headers = {"cache-control": "no-store", "content-disposition": f'attachment; filename="requests.{form}"'}
    return StreamingResponse(_together(first, pieces), headers=headers, media_type=EXPORTED[form])


@router.get(
    f"{REQUESTS}/{{request_id}}",
    summary="Show a request",
    operation_id="get_request",
    responses=documented(200, "The request.", WholeRequestModel, UnknownRequest, *MISTAKES),
    openapi_extra={
        "parameters": [
            {
                "name": "request_id",
                "in": "path",
                "required": True,
                "description": "Its `id`, or the `request_id` that its caller was told: then the newest that was.",
                "schema": _TEXT,
            },
            {
                "name": "body",
                "in": "query",
                "required": False,
                "description": "Also what was asked and answered, if that is stored?",
                "schema": {"type": "boolean", "default": False},
            },
        ]
    },
)
def get(request: Request, by: ByAdministrator) -> Response:
    """One request with each of its calls to providers."""
    from waypost.ledger.log_told import told_whole
    from waypost.ledger.request_log import find

    with_body = Query(request, "body", is_paged=False).flag("body") or False
    request_id = str(request.path_params["request_id"])
    with by.using() as database:
        found = find(database, request_id, with_body=with_body)
    if found is None:
        shown = request_id[:100] if request_id.isprintable() else "…"
        raise UnknownRequest(
            f'No request with the id "{shown}" is in the log.',
            hint="It comes in a second or so after its end, and goes when it is as old as ledger.requests_days says.",
        )
    return answer(told_whole(found))


@router.get(
    USAGE,
    summary="Sum what was used",
    operation_id="usage",
    responses=documented(200, "The sums.", UsageSums, *MISTAKES),
    openapi_extra=parameters_of(
        ("since", f"The first day that counts. {_WHEN} Without it, thirty days ago.", _TEXT),
        ("until", f"The last day that counts. {_WHEN} Without it, today.", _TEXT),
        ("period", "What is summed.", {**_TEXT, "enum": list(PERIODS), "default": "day"}),
        ("by", f"What the sums are grouped by: some of {', '.join(DIMENSIONS)}, with commas between.", _TEXT),
        *((name, "Only that.", _TEXT) for name in ("project_id", "key_id", "route", "provider", "model")),
        is_paged=False,
    ),
)
def usage(request: Request, by: ByAdministrator) -> Response:
    """Calls to providers, tokens and cost by day, week or month (UTC), for charts. Old requests stay in it.

    A cost that is not known is no 0: beside each cost stands how many calls are not in it, and how many by an estimate.
    """
    from waypost.ledger.usage import UsageFilter, told_usage
    from waypost.ledger.usage import usage as sums

    only = ("project_id", "key_id", "route", "provider", "model")
    query = Query(request, "since", "until", "period", "by", *only, is_paged=False)
    until_ms = query.moment_ms("until")
    until_ms = now_ms() if until_ms is None else until_ms
    since_ms = query.moment_ms("since")
    since_ms = max(0, until_ms - MONTH_MS) if since_ms is None else since_ms
    wanted = UsageFilter(since_ms, until_ms, **{name: query.text(name) for name in only})
    period: Period = query.choice("period", PERIODS) or "day"
    groups = _groups(query)
    with by.using() as database:
        found = sums(database, wanted, period=period, by=groups)
    return answer(told_usage(found))


def _groups(query: Query) -> list[str]:
    groups = (query.text("by") or "").split(",") if query.text("by") else []
    for name in groups:
        if name not in DIMENSIONS or groups.count(name) > 1:
            raise UnusableField(f"by must be some of {', '.join(DIMENSIONS)}, each once.", param="by")
    return groups


def _filters(query: Query) -> Filters:
    from waypost.ledger.log_filters import Filters

    return Filters(
        since_ms=query.moment_ms("since"),
        until_ms=query.moment_ms("until"),
        **{name: query.text(name) for name in TEXTS},
        end_state=query.choice("end_state", END_STATES),
        status=query.number("status", most=599),
        tags=query.tags(),
        min_cost_micro_usd=query.micro_usd("min_cost_usd"),
        min_total_ms=query.number("min_total_ms"),
    )


def _exported(by: Administrator, filters: Filters, form: str) -> Iterator[bytes]:
    """The first piece is the head, and comes when the database has answered."""
    from waypost.ledger.export import csv_head, csv_lines, json_lines, told_pages

    with by.using() as database:
        lines = csv_lines if form == "csv" else json_lines
        pages = told_pages(database, filters)
        head = csv_head() if form == "csv" else b""
        yield head + lines(next(pages))
        for rows in pages:
            yield lines(rows)


def _together(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others
