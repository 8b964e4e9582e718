"""Errors, both ways, as tables: Anthropic's types and HTTP statuses to our classes, and every class of ours back.

The provider's `error.type` and `error.details.error_code` decide, then the status. Message text is looked at for the
three cases listed in PREFIXES, and nowhere else. The invariant: any status, headers and bytes give a typed error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from waypost import errors
from waypost.chat import Json
from waypost.codecs.codec import ErrorReply
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply
from waypost.codecs.replies import excerpt, retry_after_s
from waypost.errors import ProviderError, WaypostError

CODES: Final[Mapping[str, type[ProviderError]]] = {
    "contract_spend_limit_reached": errors.ProviderQuotaExceeded,
    "enforced_spend_limit_reached": errors.ProviderQuotaExceeded,
    "linked_organization_billing_unavailable": errors.ProviderQuotaExceeded,
    "linked_organization_spend_limit_reached": errors.ProviderQuotaExceeded,
    "request_body_too_large_after_decoding": errors.ProviderRequestTooLarge,
}
"""`error.details.error_code`: stable names of causes, given by newer API versions."""

PREFIXES: Final[tuple[tuple[str, type[ProviderError]], ...]] = (
    ("prompt is too long", errors.ContextLengthExceeded),
    ("input length and `max_tokens` exceed context limit", errors.ContextLengthExceeded),
    ("Your credit balance is too low", errors.ProviderQuotaExceeded),
    ("Output blocked by content filtering policy", errors.ContentPolicyViolation),
)
"""How Anthropic begins the message of a 400 `invalid_request_error` for these causes. It gives them neither a type
nor a code of their own, and a route must tell them from a request that is plainly wrong."""

TYPES: Final[Mapping[str, type[ProviderError]]] = {
    "authentication_error": errors.ProviderAuthenticationError,
    "billing_error": errors.ProviderQuotaExceeded,
    "permission_error": errors.ProviderPermissionError,
    "not_found_error": errors.ProviderModelNotFound,
    "request_too_large": errors.ProviderRequestTooLarge,
    "rate_limit_error": errors.ProviderRateLimited,
    "timeout_error": errors.ProviderServerError,
    "overloaded_error": errors.ProviderOverloaded,
}
"""Types that name a cause. Source: Anthropic API, Errors. The other two (GENERAL) say less than most statuses."""

GENERAL: Final[Mapping[str, type[ProviderError]]] = {
    "invalid_request_error": errors.ProviderBadRequest,
    "api_error": errors.ProviderServerError,
}

STATUSES: Final[Mapping[int, type[ProviderError]]] = {
    401: errors.ProviderAuthenticationError,
    402: errors.ProviderQuotaExceeded,
    403: errors.ProviderPermissionError,
    404: errors.ProviderModelNotFound,
    408: errors.ProviderServerError,
    413: errors.ProviderRequestTooLarge,
    429: errors.ProviderRateLimited,
    503: errors.ProviderOverloaded,
    529: errors.ProviderOverloaded,
}


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The typed error of a reply that failed. Never raises. Header names: lower-case."""
    try:
        value = parse_reply(body)
    except JsonError:
        value = None
    request_id = headers.get("request-id")
    wait_s = retry_after_s(headers)
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        return error_of(value, status=status, request_id=request_id, wait_s=wait_s)
    told = excerpt(body)
    message = (
        f"HTTP {status} with a body that is not an Anthropic error: {told}" if told else f"HTTP {status}, no body."
    )
    return _by_status(status, errors.ProviderServerError)(
        message, status=status, request_id=request_id, retry_after_s=wait_s
    )


def is_error(value: Mapping[str, Json]) -> bool:
    """Is this an error object? Some relays leave out its `type`."""
    return value.get("type", "error") == "error" and ("type" in value or isinstance(value.get("error"), dict))


def error_of(
    value: Mapping[str, Json],
    *,
    status: int | None = None,
    request_id: str | None = None,
    wait_s: float | None = None,
) -> ProviderError:
    """The typed error of an error object: a reply's body, or an event within a stream (then there is no status)."""
    error = value.get("error")
    error = error if isinstance(error, dict) else {}
    kind = _text(error.get("type"))
    details = error.get("details")
    code = _text(details.get("error_code")) if isinstance(details, dict) else None
    message = _text(error.get("message")) or ""
    return _class_of(status, kind, code, message)(
        excerpt(message) or f"The provider gave an error without a message ({kind or status or 'no type'}).",
        status=status,
        provider_code=code or kind,
        request_id=request_id or _text(value.get("request_id")),
        retry_after_s=wait_s,
    )


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _class_of(status: int | None, kind: str | None, code: str | None, message: str) -> type[ProviderError]:
    if code is not None and code in CODES:
        return CODES[code]
    if kind == "invalid_request_error" and status in (400, None):
        for prefix, error_class in PREFIXES:
            if message.startswith(prefix):
                return error_class
    named = TYPES.get(kind or "")
    return named or _by_status(status, GENERAL.get(kind or "", errors.ProviderServerError))


def _by_status(status: int | None, otherwise: type[ProviderError]) -> type[ProviderError]:
    if status is None:
        return otherwise
    return STATUSES.get(status, errors.ProviderBadRequest if 400 <= status < 500 else errors.ProviderServerError)


REPLIES: Final[Mapping[type[WaypostError], tuple[int, str]]] = {
    errors.WaypostError: (500, "api_error"),
    errors.ConfigurationError: (500, "api_error"),
    errors.RequestError: (400, "invalid_request_error"),
    errors.InvalidRequest: (400, "invalid_request_error"),
    errors.PreviousResponseUnknown: (400, "invalid_request_error"),
    errors.AuthenticationRequired: (401, "authentication_error"),
    errors.OriginRefused: (403, "permission_error"),
    errors.NotAllowed: (403, "permission_error"),
    errors.PriceUnknown: (403, "permission_error"),
    errors.TooManyFailedKeys: (429, "rate_limit_error"),
    errors.LimitExceeded: (429, "rate_limit_error"),
    errors.BudgetExceeded: (429, "rate_limit_error"),
    errors.UnknownModel: (404, "not_found_error"),
    errors.UnknownPath: (404, "not_found_error"),
    errors.UnknownRequest: (404, "not_found_error"),
    errors.UnknownResponse: (404, "not_found_error"),
    errors.UnknownStream: (404, "not_found_error"),
    errors.MethodNotAllowed: (405, "invalid_request_error"),
    errors.AnswerNotKept: (409, "invalid_request_error"),
    errors.AnswerUnderWay: (409, "invalid_request_error"),
    errors.StreamExpired: (410, "not_found_error"),
    errors.StreamRestarted: (409, "invalid_request_error"),
    errors.AnswerCancelled: (409, "invalid_request_error"),
    errors.BodyTooLarge: (413, "request_too_large"),
    errors.UnsupportedMediaType: (415, "invalid_request_error"),
    errors.IdempotencyConflict: (422, "invalid_request_error"),
    errors.UnknownKind: (404, "not_found_error"),
    errors.UnreadableDocument: (422, "invalid_request_error"),
    errors.EmptyDocument: (422, "invalid_request_error"),
    errors.BinaryDocument: (415, "invalid_request_error"),
    errors.UnsupportedDocument: (415, "invalid_request_error"),
    errors.UnknownEncoding: (422, "invalid_request_error"),
    errors.EncryptedDocument: (422, "invalid_request_error"),
    errors.DocumentTooLarge: (413, "request_too_large"),
    errors.DocumentExpands: (422, "invalid_request_error"),
    errors.DocumentTooSlow: (422, "invalid_request_error"),
    errors.DamagedDocument: (422, "invalid_request_error"),
    errors.UnsupportedFeature: (422, "invalid_request_error"),
    errors.ServerBusy: (503, "overloaded_error"),
    errors.UnknownObject: (404, "not_found_error"),
    errors.Conflict: (409, "invalid_request_error"),
    errors.WebhookRefused: (400, "invalid_request_error"),
    errors.UnknownDelivery: (404, "not_found_error"),
    errors.UnknownJob: (404, "not_found_error"),
    errors.UnknownBatch: (404, "not_found_error"),
    errors.JobNotEnded: (409, "invalid_request_error"),
    errors.JobHasEnded: (409, "invalid_request_error"),
    errors.TooManyJobs: (429, "rate_limit_error"),
    errors.JournalFull: (503, "overloaded_error"),
    errors.DatabaseUnavailable: (503, "overloaded_error"),
    errors.ModelError: (503, "api_error"),
    errors.ProviderError: (502, "api_error"),
    errors.ProviderBadRequest: (400, "invalid_request_error"),
    errors.ContextLengthExceeded: (400, "invalid_request_error"),
    errors.ContentPolicyViolation: (400, "invalid_request_error"),
    # The provider refused our key, not the caller's: a 401 would send the caller looking for a fault in theirs.
    errors.ProviderAuthenticationError: (502, "api_error"),
    errors.ProviderPermissionError: (502, "api_error"),
    errors.ProviderModelNotFound: (404, "not_found_error"),
    errors.ProviderRequestTooLarge: (413, "request_too_large"),
    # Not 429, which SDKs try again by themselves: waiting brings no credit back.
    errors.ProviderQuotaExceeded: (402, "billing_error"),
    errors.ProviderRateLimited: (429, "rate_limit_error"),
    errors.ProviderOverloaded: (529, "overloaded_error"),
    errors.TargetPaused: (529, "overloaded_error"),
    errors.ProviderServerError: (502, "api_error"),
    errors.ProviderUnreachable: (502, "api_error"),
    errors.ProviderConnectionLost: (502, "api_error"),
    errors.ProviderTimeout: (504, "timeout_error"),
    errors.MalformedResponse: (502, "api_error"),
    errors.SchemaNotMet: (502, "api_error"),
    errors.IncompleteStream: (502, "api_error"),
    errors.RecoveryDiverged: (502, "api_error"),
    errors.AllTargetsFailed: (502, "api_error"),
}
"""HTTP status and `error.type` of each class. The official SDK picks its exception by the status."""

_SPOKEN: Final[Mapping[type[WaypostError], str]] = {
    errors.ContextLengthExceeded: "prompt is too long",
    errors.ContentPolicyViolation: "Output blocked by content filtering policy",
}
"""Clients of this format know these causes by how the message begins (PREFIXES), so ours begin so as well."""


def encode_error(error: WaypostError) -> ErrorReply:
    """The error in Anthropic's form, with `retry-after` where a wait is known."""
    status, _ = _reply(error)
    wait_s = getattr(error, "retry_after_s", None)
    headers = {"content-type": "application/json"}
    if wait_s is not None and math.isfinite(wait_s):
        headers["retry-after"] = str(max(0, math.ceil(wait_s)))
    return ErrorReply(status, error_body(error), headers)


def error_body(error: WaypostError) -> bytes:
    """The error object alone: also the data of a stream's error event."""
    _, kind = _reply(error)
    message = str(error)
    opening = _SPOKEN.get(type(error))
    if opening and not any(message.startswith(prefix) for prefix, _ in PREFIXES):
        message = f"{opening}: {message}"
    body: dict[str, Json] = {"type": "error", "error": {"type": kind, "message": message}}
    request_id = getattr(error, "request_id", None)
    if request_id is not None:
        body["request_id"] = request_id
    return dump(body)[0]


def _reply(error: WaypostError) -> tuple[int, str]:
    # A subclass from elsewhere is told as the class it is made from.
    return next(REPLIES[each] for each in type(error).__mro__ if each in REPLIES)
