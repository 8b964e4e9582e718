"""Errors as the caller's own dialect writes them, with the status its SDK knows them by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from waypost.errors import AllTargetsFailed, LimitExceeded, WaypostError
from waypost.server.doors.door import Door
from waypost.server.doors.headers import attempts_header, request_id_header
from waypost.server.envelope import internal_error
from waypost.server.middleware.request_id import request_id_of

LONGEST_RETRY_S: Final = 60.0
"""SDKs wait no longer than that before they try again by themselves."""


def door_error(door: Door, error: Exception, scope: Scope, headers: Mapping[str, str]) -> Response:
    """The reply for an error before the first byte of an answer."""
    request_id = request_id_of(scope)
    told = told_error(error, request_id)
    reply = door.codec.encode_error(told)
    own = {"cache-control": "no-store", **reply.headers, **request_id_header(door, request_id)}
    if isinstance(error, WaypostError) and error.attempts:
        own |= attempts_header(error.attempts)
    if isinstance(error, AllTargetsFailed) and error.retry_after_s is not None:
        own["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, LimitExceeded) and (error.retry_after_s is None or error.retry_after_s > LONGEST_RETRY_S):
        # The SDKs of OpenAI and Anthropic would else try a 429 again within seconds.
        own["x-should-retry"] = "false"
    return Response(door.with_request_id(reply.body, request_id), reply.status, headers={**own, **headers})


def told_error(error: Exception, request_id: str) -> WaypostError:
    """The error to tell: where every attempt failed alike, what they have in common, so that SDKs know it."""
    if not isinstance(error, WaypostError):
        return internal_error(request_id)
    return error.common or error if isinstance(error, AllTargetsFailed) else error
