"""How errors leave this server: the one place where they take any form, and become a reply.

On the path of a front door the middleware `dialect` has noted another form than the envelope, the caller's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Scope

from waypost.doors.envelope import FOREIGN_CODE, InternalError, envelope, internal_error, sentence_list, told_error
from waypost.errors import WaypostError
from waypost.gateway.call_record import note_failure
from waypost.server.jsonwire import json_bytes
from waypost.server.middleware.request_id import request_id_of

__all__ = [
    "ERROR_FORM",
    "FOREIGN_CODE",
    "ErrorForm",
    "InternalError",
    "envelope",
    "error_reply",
    "internal_error",
    "sentence_list",
    "told_error",
]

ERROR_FORM = "error_form"
"""Where in a scope's state the form stands that its errors take, if it is not the envelope: an `ErrorForm`."""
ErrorForm: TypeAlias = Callable[[Exception, Scope, Mapping[str, str]], Response]


def error_reply(error: Exception, scope: Scope, *, headers: Mapping[str, str] | None = None) -> Response:
    """The error as a reply, with its status and, where it knows one, the wait in Retry-After."""
    note_failure(error)
    form: ErrorForm | None = scope.get("state", {}).get(ERROR_FORM)
    if form is not None:
        return form(error, scope, headers or {})
    status = error.http_status if isinstance(error, WaypostError) else InternalError.http_status
    own = {"cache-control": "no-store"}
    wait_s = getattr(error, "retry_after_s", None)
    if wait_s is not None:
        # Whole seconds (RFC 9110, 10.2.3), rounded up so that nobody comes back too early.
        own["retry-after"] = str(max(1, math.ceil(wait_s)))
    body = json_bytes(envelope(error, request_id_of(scope)))
    return Response(body, status, headers={**own, **(headers or {})}, media_type="application/json")
