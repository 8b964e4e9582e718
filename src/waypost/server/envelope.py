"""The one form in which every error leaves this server, and the one place where errors take it.

    {"error": {"code", "message", "hint", "request_id", "param"?, "attempts"?, "details"?}}

An exception that is not ours becomes `internal_error`; its text is for the log, never for the caller.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from waypost.errors import AllTargetsFailed, Attempt, ProviderError, RequestError, ServerBusy, WaypostError
from waypost.server.jsonwire import json_bytes
from waypost.server.middleware.request_id import request_id_of

FOREIGN_CODE = "provider_error"
"""The code of an attempt that ended with an exception of a user's own provider."""


class InternalError(WaypostError):
    """Stands for an exception nobody expected. The request id leads to its trace in the log."""


def envelope(error: Exception, request_id: str) -> dict[str, Any]:
    """The error as JSON data."""
    told = error if isinstance(error, WaypostError) else _internal(request_id)
    body: dict[str, Any] = {
        "code": told.code,
        "message": told.message,
        "hint": told.hint,
        "request_id": request_id,
    }
    if isinstance(told, RequestError | ProviderError) and told.param:
        body["param"] = told.param
    if isinstance(told, AllTargetsFailed):
        body["attempts"] = [attempt_error(attempt) for attempt in told.attempts]
    details = error_details(told)
    if details:
        body["details"] = details
    return {"error": body}


def attempt_error(attempt: Attempt) -> dict[str, Any]:
    """One failed call, flat, as the envelope lists it."""
    return {"provider": attempt.provider, "model": attempt.model, **(told_error(attempt.error) or {})}


def told_error(error: Exception | None) -> dict[str, str] | None:
    """An attempt's error as code and message; None stays None."""
    if error is None:
        return None
    if isinstance(error, WaypostError):
        return {"code": error.code, "message": error.message}
    return {"code": FOREIGN_CODE, "message": str(error) or type(error).__name__}


def error_details(error: WaypostError) -> Mapping[str, Any]:
    """What else the error knows: the provider's side of it, or the single findings."""
    if isinstance(error, ProviderError):
        known = {
            "provider": error.provider,
            "provider_status": error.status,
            "provider_code": error.provider_code,
            "provider_request_id": error.request_id,
        }
        return {name: value for name, value in known.items() if value is not None}
    findings = getattr(error, "findings", ())
    return {"findings": list(findings)} if findings else {}


def error_reply(error: Exception, scope: Scope, *, headers: Mapping[str, str] | None = None) -> Response:
    """The error as a reply, with its status and, where it knows one, the wait in Retry-After."""
    status = error.http_status if isinstance(error, WaypostError) else InternalError.http_status
    own = {"cache-control": "no-store"}
    wait_s = error.retry_after_s if isinstance(error, ServerBusy | ProviderError | AllTargetsFailed) else None
    if wait_s is not None:
        # Whole seconds (RFC 9110, 10.2.3), rounded up so that nobody comes back too early.
        own["retry-after"] = str(max(1, math.ceil(wait_s)))
    body = json_bytes(envelope(error, request_id_of(scope)))
    return Response(body, status, headers={**own, **(headers or {})}, media_type="application/json")


def _internal(request_id: str) -> InternalError:
    return InternalError(
        "Something went wrong inside Waypost.",
        hint=f"The server's log tells more under the request id {request_id}.",
    )


def sentence_list(words: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    *head, tail = list(words)
    return f"{', '.join(head)} {last} {tail}" if head else tail
