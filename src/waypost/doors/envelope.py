"""The form in which Waypost's own errors are told, as JSON data.

    {"error": {"code", "message", "hint", "request_id", "param"?, "attempts"?, "details"?}}

An exception that is not ours becomes `internal_error`; its text is for the log, never for the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from waypost.errors import Attempt, BudgetExceeded, LimitExceeded, ProviderError, RequestError, WaypostError
from waypost.ledger.allowances.refusals import iso_time

FOREIGN_CODE = "provider_error"
"""The code of an attempt that ended with an exception of a user's own provider."""


class InternalError(WaypostError):
    """Stands for an exception nobody expected. The request id leads to its trace in the log."""


def envelope(error: Exception, request_id: str) -> dict[str, Any]:
    """The error as JSON data."""
    told = error if isinstance(error, WaypostError) else internal_error(request_id)
    body: dict[str, Any] = {
        "code": told.code,
        "message": told.message,
        "hint": told.hint,
        "request_id": request_id,
    }
    if isinstance(told, RequestError | ProviderError) and told.param:
        body["param"] = told.param
    if told.attempts:
        body["attempts"] = [attempt_error(attempt) for attempt in told.attempts]
    details = error_details(told)
    if details:
        body["details"] = details
    return {"error": body}


def attempt_error(attempt: Attempt) -> dict[str, Any]:
    """One call, flat, as the envelope lists it. Without a code it had begun to answer."""
    call = {"provider": attempt.provider, "model": attempt.model, "duration_ms": attempt.duration_ms}
    return {**call, **(told_error(attempt.error) or {})}


def told_error(error: Exception | None) -> dict[str, Any] | None:
    """An attempt's error: code, message, and what else is known of it; None stays None."""
    if error is None:
        return None
    if not isinstance(error, WaypostError):
        return {"code": FOREIGN_CODE, "message": str(error) or type(error).__name__}
    known: dict[str, Any] = {"hint": error.hint or None}
    if isinstance(error, ProviderError):
        known |= {
            "retry_after_s": error.retry_after_s,
            "provider_status": error.status,
            "provider_request_id": error.request_id,
        }
    return {"code": error.code, "message": error.message, **_known(known)}


def error_details(error: WaypostError) -> Mapping[str, Any]:
    """What else the error knows: the provider's side of it, or the single findings."""
    if isinstance(error, ProviderError):
        known = {
            "provider": error.provider,
            "provider_status": error.status,
            "provider_code": error.provider_code,
            "provider_request_id": error.request_id,
        }
        return _known(known)
    if isinstance(error, LimitExceeded):
        return {"limit": _told_limit(error)}
    findings = getattr(error, "findings", ())
    return {"findings": list(findings)} if findings else {}


def _told_limit(error: LimitExceeded) -> dict[str, Any]:
    told = error.shortage
    figures = {"limit": told.limit, "used": told.used, "reserved": told.reserved}
    if isinstance(error, BudgetExceeded):
        figures = {f"{name}_micro_usd": figure for name, figure in figures.items()}
    resets_at = None if told.resets_at_s is None else iso_time(told.resets_at_s)
    return _known({"whose": told.whose, "name": told.name, "what": told.what, **figures, "resets_at": resets_at})


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def internal_error(request_id: str) -> InternalError:
    """What is told in place of an exception that is not ours."""
    return InternalError(
        "Something went wrong inside Waypost.",
        hint=f"The server's log tells more under the request id {request_id}.",
    )


def sentence_list(words: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    *head, tail = list(words)
    return f"{', '.join(head)} {last} {tail}" if head else tail
