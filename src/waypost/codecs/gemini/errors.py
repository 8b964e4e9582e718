"""Errors, both ways, as tables: Google's reasons and status names to our classes, and every class of ours back.

The reason in an ErrorInfo decides, then the status name, then the HTTP status. Message text is looked at for the
cases listed in PREFIXES, and nowhere else. The invariant: any status, headers and bytes give a typed error.
Source: google.rpc.Code and google.rpc error details.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from waypost import errors
from waypost.chat import Json
from waypost.codecs.codec import ErrorReply
from waypost.codecs.gemini.wire import Members
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply
from waypost.codecs.replies import LONGEST_WAIT_S, excerpt, retry_after_s
from waypost.errors import ProviderError, WaypostError

REASONS: Final[Mapping[str, type[ProviderError]]] = {
    "API_KEY_INVALID": errors.ProviderAuthenticationError,  # Google sends it with status 400
    "ACCESS_TOKEN_EXPIRED": errors.ProviderAuthenticationError,
    "CREDENTIALS_MISSING": errors.ProviderAuthenticationError,
    "BILLING_DISABLED": errors.ProviderQuotaExceeded,
    "CONSUMER_SUSPENDED": errors.ProviderPermissionError,
    "RATE_LIMIT_EXCEEDED": errors.ProviderRateLimited,
    # What `encode_error` writes for causes that Google has no word for.
    "CONTENT_POLICY_VIOLATION": errors.ContentPolicyViolation,
    "CONTEXT_LENGTH_EXCEEDED": errors.ContextLengthExceeded,
    "PROVIDER_QUOTA_EXCEEDED": errors.ProviderQuotaExceeded,
    "PROVIDER_REQUEST_TOO_LARGE": errors.ProviderRequestTooLarge,
}
"""`reason` of an ErrorInfo among the details."""

PREFIXES: Final[tuple[tuple[str, type[ProviderError]], ...]] = (
    ("The input token count", errors.ContextLengthExceeded),
    ("Request payload size exceeds the limit", errors.ProviderRequestTooLarge),
)
"""How Google begins the message of an INVALID_ARGUMENT for these causes, to which it gives no reason of their own."""

STATUS_NAMES: Final[Mapping[str, type[ProviderError]]] = {
    "INVALID_ARGUMENT": errors.ProviderBadRequest,
    "OUT_OF_RANGE": errors.ProviderBadRequest,
    "UNIMPLEMENTED": errors.ProviderBadRequest,
    # The account's, not the request's: a place where the API is not offered, or billing that is not set up.
    "FAILED_PRECONDITION": errors.ProviderPermissionError,
    "PERMISSION_DENIED": errors.ProviderPermissionError,
    "UNAUTHENTICATED": errors.ProviderAuthenticationError,
    "NOT_FOUND": errors.ProviderModelNotFound,
    "RESOURCE_EXHAUSTED": errors.ProviderRateLimited,
    "UNAVAILABLE": errors.ProviderOverloaded,
    "DEADLINE_EXCEEDED": errors.ProviderServerError,
    "ABORTED": errors.ProviderServerError,
    "CANCELLED": errors.ProviderServerError,
    "DATA_LOSS": errors.ProviderServerError,
    "INTERNAL": errors.ProviderServerError,
    "UNKNOWN": errors.ProviderServerError,
}

STATUSES: Final[Mapping[int, type[ProviderError]]] = {
    401: errors.ProviderAuthenticationError,
    403: errors.ProviderPermissionError,
    404: errors.ProviderModelNotFound,
    408: errors.ProviderServerError,
    413: errors.ProviderRequestTooLarge,
    429: errors.ProviderRateLimited,
    499: errors.ProviderServerError,
    503: errors.ProviderOverloaded,
}

_TYPE: Final = "type.googleapis.com/google.rpc."


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The typed error of a reply that failed. Never raises. Header names: lower-case."""
    try:
        value = parse_reply(body)
    except JsonError:
        value = None
    wait_s = retry_after_s(headers)
    if is_error(value):
        return error_of(value, status=status, wait_s=wait_s)
    told = excerpt(body)
    message = f"HTTP {status} with a body that is not a Google error: {told}" if told else f"HTTP {status}, no body."
    return _by_status(status)(message, status=status, retry_after_s=wait_s)


def is_error(value: Json) -> bool:
    """Is this an error object, or (as streams without `alt=sse` have it) a list that begins with one?"""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and isinstance(first.get("error"), dict)


def error_of(value: Json, *, status: int | None = None, wait_s: float | None = None) -> ProviderError:
    """The typed error of what `is_error` knows: a reply's body, or a chunk of a stream (its own code is the status)."""
    error = (value[0] if isinstance(value, list) else value)["error"]
    code = error.get("code")
    if status is None and type(code) is int and 400 <= code <= 599:
        status = code
    details = error.get("details")
    details = [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    name, reason = _text(error.get("status")), _text(_detail(details, "ErrorInfo").get("reason"))
    message = _text(error.get("message")) or ""
    delay_s = _seconds(_detail(details, "RetryInfo").get("retryDelay"))
    return _class_of(status, name, reason, details, message)(
        excerpt(message) or f"The provider gave an error without a message ({name or status or 'no status'}).",
        status=status,
        provider_code=reason or name,
        request_id=_text(_detail(details, "RequestInfo").get("requestId")),
        retry_after_s=wait_s if delay_s is None else delay_s,
    )


def _detail(details: list[Members], kind: str) -> Members:
    return next((item for item in details if item.get("@type") == _TYPE + kind), {})


def _text(value: Json) -> str | None:
    return excerpt(value, 200) if isinstance(value, str) and value else None


def _seconds(duration: Json) -> float | None:
    """A protobuf duration as JSON has it: "13s", "1.5s"."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)s", duration) if isinstance(duration, str) else None
    return min(float(found[1]), LONGEST_WAIT_S) if found else None


def _class_of(
    status: int | None, name: str | None, reason: str | None, details: list[Members], message: str
) -> type[ProviderError]:
    if reason is not None and reason in REASONS:
        return REASONS[reason]
    if name == "INVALID_ARGUMENT":
        for prefix, error_class in PREFIXES:
            if message.startswith(prefix):
                return error_class
    if name == "RESOURCE_EXHAUSTED" and _is_daily(_detail(details, "QuotaFailure")):
        return errors.ProviderQuotaExceeded
    return STATUS_NAMES.get(name or "") or _by_status(status)


def _is_daily(failure: Members) -> bool:
    """Is a quota of a whole day used up? Google tells a short delay then too, which does not help."""
    violations = failure.get("violations")
    return isinstance(violations, list) and any(
        isinstance(each, dict) and "PerDay" in str(each.get("quotaId")) for each in violations
    )


def _by_status(status: int | None) -> type[ProviderError]:
    otherwise = errors.ProviderBadRequest if 400 <= (status or 500) < 500 else errors.ProviderServerError
    return STATUSES.get(status or 500, otherwise)


REPLIES: Final[Mapping[type[WaypostError], tuple[int, str]]] = {
    errors.WaypostError: (500, "INTERNAL"),
    errors.ConfigurationError: (500, "INTERNAL"),
    errors.RequestError: (400, "INVALID_ARGUMENT"),
    errors.InvalidRequest: (400, "INVALID_ARGUMENT"),
    errors.PreviousResponseUnknown: (400, "INVALID_ARGUMENT"),
    errors.AuthenticationRequired: (401, "UNAUTHENTICATED"),
    errors.OriginRefused: (403, "PERMISSION_DENIED"),
    errors.NotAllowed: (403, "PERMISSION_DENIED"),
    errors.PriceUnknown: (403, "PERMISSION_DENIED"),
    errors.TooManyFailedKeys: (429, "RESOURCE_EXHAUSTED"),
    errors.LimitExceeded: (429, "RESOURCE_EXHAUSTED"),
    errors.BudgetExceeded: (429, "RESOURCE_EXHAUSTED"),
    errors.UnknownModel: (404, "NOT_FOUND"),
    errors.UnknownPath: (404, "NOT_FOUND"),
    errors.UnknownRequest: (404, "NOT_FOUND"),
    errors.UnknownResponse: (404, "NOT_FOUND"),
    errors.UnknownStream: (404, "NOT_FOUND"),
    errors.MethodNotAllowed: (405, "UNIMPLEMENTED"),
    errors.AnswerNotKept: (409, "ABORTED"),
    errors.AnswerUnderWay: (409, "ABORTED"),
    errors.StreamExpired: (410, "NOT_FOUND"),
    errors.StreamRestarted: (409, "ABORTED"),
    errors.AnswerCancelled: (409, "ABORTED"),
    errors.BodyTooLarge: (413, "INVALID_ARGUMENT"),
    errors.UnsupportedMediaType: (415, "INVALID_ARGUMENT"),
    errors.IdempotencyConflict: (422, "INVALID_ARGUMENT"),
    errors.UnknownKind: (404, "NOT_FOUND"),
    errors.UnreadableDocument: (422, "INVALID_ARGUMENT"),
    errors.EmptyDocument: (422, "INVALID_ARGUMENT"),
    errors.BinaryDocument: (415, "INVALID_ARGUMENT"),
    errors.UnsupportedDocument: (415, "INVALID_ARGUMENT"),
    errors.UnknownEncoding: (422, "INVALID_ARGUMENT"),
    errors.EncryptedDocument: (422, "INVALID_ARGUMENT"),
    errors.DocumentTooLarge: (413, "INVALID_ARGUMENT"),
    errors.DocumentExpands: (422, "INVALID_ARGUMENT"),
    errors.DocumentTooSlow: (422, "INVALID_ARGUMENT"),
    errors.DamagedDocument: (422, "INVALID_ARGUMENT"),
    errors.UnsupportedFeature: (422, "INVALID_ARGUMENT"),
    errors.ServerBusy: (503, "UNAVAILABLE"),
    errors.UnknownObject: (404, "NOT_FOUND"),
    errors.Conflict: (409, "ABORTED"),
    errors.WebhookRefused: (400, "INVALID_ARGUMENT"),
    errors.UnknownDelivery: (404, "NOT_FOUND"),
    errors.UnknownJob: (404, "NOT_FOUND"),
    errors.UnknownBatch: (404, "NOT_FOUND"),
    errors.JobNotEnded: (409, "ABORTED"),
    errors.JobHasEnded: (409, "ABORTED"),
    errors.TooManyJobs: (429, "RESOURCE_EXHAUSTED"),
    errors.JournalFull: (503, "UNAVAILABLE"),
    errors.DatabaseUnavailable: (503, "UNAVAILABLE"),
    errors.ModelError: (503, "UNAVAILABLE"),
    errors.ProviderError: (502, "INTERNAL"),
    errors.ProviderBadRequest: (400, "INVALID_ARGUMENT"),
    errors.ContextLengthExceeded: (400, "INVALID_ARGUMENT"),
    errors.ContentPolicyViolation: (400, "INVALID_ARGUMENT"),
    # The provider refused our key, not the caller's: a 401 would send the caller looking for a fault in theirs.
    errors.ProviderAuthenticationError: (502, "INTERNAL"),
    errors.ProviderPermissionError: (502, "INTERNAL"),
    errors.ProviderModelNotFound: (404, "NOT_FOUND"),
    errors.ProviderRequestTooLarge: (413, "INVALID_ARGUMENT"),
    errors.ProviderQuotaExceeded: (429, "RESOURCE_EXHAUSTED"),
    errors.ProviderRateLimited: (429, "RESOURCE_EXHAUSTED"),
    errors.ProviderOverloaded: (503, "UNAVAILABLE"),
    errors.ProviderServerError: (502, "INTERNAL"),
    errors.ProviderUnreachable: (502, "UNAVAILABLE"),
    errors.ProviderConnectionLost: (502, "UNAVAILABLE"),
    errors.ProviderTimeout: (504, "DEADLINE_EXCEEDED"),
    errors.TargetPaused: (503, "UNAVAILABLE"),
    errors.MalformedResponse: (502, "INTERNAL"),
    errors.SchemaNotMet: (502, "INTERNAL"),
    errors.IncompleteStream: (502, "INTERNAL"),
    errors.RecoveryDiverged: (502, "INTERNAL"),
    errors.AllTargetsFailed: (502, "UNAVAILABLE"),
}
"""HTTP status and status name of each class. Google's SDKs pick their exception by the status."""

_SPOKEN: Final[Mapping[type[WaypostError], str]] = {errors.ContextLengthExceeded: "The input token count is too high"}
"""Clients of this format know this cause by how the message begins (PREFIXES), so ours begins so as well."""

_REASON_WORDS: Final[Mapping[type[WaypostError], str]] = {errors.AuthenticationRequired: "API_KEY_INVALID"}
"""Reasons of Google's own; every other class gives its code in capitals, in our own domain."""


def encode_error(error: WaypostError) -> ErrorReply:
    """The error in Google's form, with Retry-After too where a wait is known."""
    headers = {"content-type": "application/json; charset=UTF-8"}
    if (wait_s := _wait_s(error)) is not None:
        headers["retry-after"] = str(math.ceil(wait_s))
    return ErrorReply(_reply(error)[0], error_body(error), headers)


def error_body(error: WaypostError) -> bytes:
    """The error object alone: also a chunk of a stream."""
    status, name = _reply(error)
    message = str(error)
    opening = _SPOKEN.get(type(error))
    if opening and not any(message.startswith(prefix) for prefix, _ in PREFIXES):
        message = f"{opening}: {message}"
    reason = _REASON_WORDS.get(type(error), error.code.upper())
    details: list[Members] = [{"@type": f"{_TYPE}ErrorInfo", "reason": reason, "domain": "waypost"}]
    if (wait_s := _wait_s(error)) is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{wait_s:.3f}".rstrip("0").rstrip(".") + "s"})
    if request_id := getattr(error, "request_id", None):
        details.append({"@type": f"{_TYPE}RequestInfo", "requestId": request_id})
    return dump({"error": {"code": status, "message": message, "status": name, "details": details}})[0]


def _wait_s(error: WaypostError) -> float | None:
    wait_s = getattr(error, "retry_after_s", None)
    return max(0.0, wait_s) if wait_s is not None and math.isfinite(wait_s) else None


def _reply(error: WaypostError) -> tuple[int, str]:
    # A subclass from elsewhere is told as the class it is made from.
    return next(REPLIES[each] for each in type(error).__mro__ if each in REPLIES)
