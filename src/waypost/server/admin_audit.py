"""GET /api/admin/audit: what administrators changed, for administrators."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from waypost.server.administering import MISTAKES, ByAdministrator, Query, documented, page_of, parameters_of
from waypost.server.key_models import AuditPage

router = APIRouter(tags=["Administration"])
AUDIT: Final = "/api/admin/audit"


@router.get(
    AUDIT,
    summary="List changes",
    operation_id="list_audit",
    responses=documented(200, "One page of them.", AuditPage, *MISTAKES),
    openapi_extra=parameters_of(
        ("actor", "Only what this one changed: a key's id, `local`, `config:…` or `cli:…`.", {"type": "string"}),
        ("action", "Only this action, such as `key.revoke`.", {"type": "string"}),
        ("object_id", "Only changes of this project or key.", {"type": "string"}),
        ("since", "Only from then on.", {"type": "string", "format": "date-time"}),
        ("until", "Only before then.", {"type": "string", "format": "date-time"}),
    ),
)
def list_audit(request: Request, by: ByAdministrator) -> Response:
    """Who changed what, as it was and as it is; the newest first."""
    from waypost.ledger.audit import AuditFilter, find_lines

    query = Query(request, "actor", "action", "object_id", "since", "until")
    wanted = AuditFilter(
        query.text("actor"),
        query.text("action"),
        query.text("object_id"),
        query.moment_ms("since"),
        query.moment_ms("until"),
    )
    limit, after = query.limit, query.after
    with by.reading() as connection:
        found = find_lines(connection, wanted, limit=limit + 1, after=after)
    return page_of([line.told() for line in found], limit)
