"""Errors, both ways: tables from a provider's code, type or status to our classes, and from those to OpenAI's body.

Message text is quoted, never read. The invariant: any status, headers and bytes give a ProviderError.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from waypost.chat import Json
from waypost.codecs.codec import ErrorReply
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply
from waypost.codecs.replies import excerpt, retry_after_s
from waypost.errors import (
    AllTargetsFailed,
    AnswerCancelled,
    AnswerNotKept,
    AnswerUnderWay,
    AuthenticationRequired,
    BinaryDocument,
    BodyTooLarge,
    BudgetExceeded,
    ConfigurationError,
    Conflict,
    ContentPolicyViolation,
    ContextLengthExceeded,
    DamagedDocument,
    DatabaseUnavailable,
    DocumentExpands,
    DocumentTooLarge,
    DocumentTooSlow,
    EmptyDocument,
    EncryptedDocument,
    IdempotencyConflict,
    IncompleteStream,
    InvalidRequest,
    JobHasEnded,
    JobNotEnded,
    JournalFull,
    LimitExceeded,
    MalformedResponse,
    MethodNotAllowed,
    ModelError,
    NotAllowed,
    OriginRefused,
    PreviousResponseUnknown,
    PriceUnknown,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderError,
    ProviderModelNotFound,
    ProviderOverloaded,
    ProviderPermissionError,
    ProviderQuotaExceeded,
    ProviderRateLimited,
    ProviderRequestTooLarge,
    ProviderServerError,
    ProviderTimeout,
    ProviderUnreachable,
    RecoveryDiverged,
    RequestError,
    SchemaNotMet,
    ServerBusy,
    StreamExpired,
    StreamRestarted,
    TargetPaused,
    TooManyFailedKeys,
    TooManyJobs,
    UnknownBatch,
    UnknownDelivery,
    UnknownEncoding,
    UnknownJob,
    UnknownKind,
    UnknownModel,
    UnknownObject,
    UnknownPath,
    UnknownRequest,
    UnknownResponse,
    UnknownStream,
    UnreadableDocument,
    UnsupportedDocument,
    UnsupportedFeature,
    UnsupportedMediaType,
    WaypostError,
    WebhookRefused,
)

BY_EXACT_CODE: Final[dict[str, type[ProviderError]]] = {
    "context_length_exceeded": ContextLengthExceeded,
    "exceed_context_size_error": ContextLengthExceeded,
    "content_policy_violation": ContentPolicyViolation,
    "content_filter": ContentPolicyViolation,
    "moderation_blocked": ContentPolicyViolation,
    "insufficient_quota": ProviderQuotaExceeded,
    "billing_hard_limit_reached": ProviderQuotaExceeded,
    "billing_not_active": ProviderQuotaExceeded,
}
"""A code or type that says more than the status does (exceed_context_size_error is llama.cpp's)."""

BY_STATUS: Final[dict[int, type[ProviderError]]] = {
    401: ProviderAuthenticationError,
    402: ProviderQuotaExceeded,
    403: ProviderPermissionError,
    404: ProviderModelNotFound,
    408: ProviderServerError,
    413: ProviderRequestTooLarge,
    429: ProviderRateLimited,
    503: ProviderOverloaded,
    529: ProviderOverloaded,
}
"""Other statuses from 400 to 499 are ProviderBadRequest, all else ProviderServerError."""

BY_CODE: Final[dict[str, type[ProviderError]]] = {
    "invalid_api_key": ProviderAuthenticationError,
    "authentication_error": ProviderAuthenticationError,
    "permission_error": ProviderPermissionError,
    "permission_denied": ProviderPermissionError,
    "model_not_found": ProviderModelNotFound,
    "not_found_error": ProviderModelNotFound,
    "rate_limit_exceeded": ProviderRateLimited,
    "rate_limit_error": ProviderRateLimited,
    "tokens": ProviderRateLimited,
    "requests": ProviderRateLimited,
    "overloaded_error": ProviderOverloaded,
    "unavailable_error": ProviderOverloaded,
    "service_unavailable": ProviderOverloaded,
    "invalid_request_error": ProviderBadRequest,
    "BadRequestError": ProviderBadRequest,
    "server_error": ProviderServerError,
}
"""For an error inside a stream or a reply of status 200, which has no status to go by."""

HINTS: Final[dict[type[ProviderError], str]] = {
    ProviderAuthenticationError: "Check the provider's API key.",
    ProviderQuotaExceeded: "Check the provider account's credit and limits.",
    ProviderModelNotFound: "Check the model's name and the provider's address.",
    ContextLengthExceeded: "Shorten the messages, or use a model with a larger context window.",
}


def decode_error(
    status: int, headers: Mapping[str, str], body: bytes, *, clock: Callable[[], float] = time.time
) -> ProviderError:
    """The typed error of a reply with status >= 400. Header names: lower-case. Never raises."""
    try:
        value = parse_reply(body)
    except JsonError:
        value = None
    found = _error_object(value)
    if found is None:
        shown = excerpt(body)
        found = {"message": f"The provider answered with status {status}" + (f": {shown}" if shown else ".")}
    return _typed(found, status, headers, clock)


def error_in_body(value: Mapping[str, Json]) -> ProviderError | None:
    """The typed error in a reply that came as a success, or in an event of a stream; None if it is none."""
    if not value.get("error") and (value.get("object") != "error" or value.get("choices")):
        return None
    found = _error_object(value) or {}
    code = found.get("code")
    status = code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599 else None
    return _typed(found, status, {}, time.time)


def _error_object(value: Json) -> dict[str, Json] | None:
    """The object that tells of the error, in the forms that OpenAI, vLLM, FastAPI and Google's servers have."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    if error := value.get("error"):
        return error if isinstance(error, dict) else {**value, "message": error}
    if detail := value.get("detail"):
        return _from_detail(detail)
    return value if value.get("message") or value.get("code") or value.get("type") else None


def _from_detail(detail: Json) -> dict[str, Json]:
    first = detail[0] if isinstance(detail, list) else detail
    if not isinstance(first, dict):
        return {"message": first}
    place = first.get("loc")
    param = ".".join(str(step) for step in place) if isinstance(place, list) else None
    told = first.get("msg") or first.get("message") or dump(first)[0].decode()
    return {"message": f"{param}: {told}" if param else told, "param": param}


def _typed(
    found: Mapping[str, Json], status: int | None, headers: Mapping[str, str], clock: Callable[[], float]
) -> ProviderError:
    code, kind = (_word(found.get(name)) for name in ("code", "type"))
    error_class = _class_of(status, code, kind)
    message = _message_text(found.get("message"))
    return error_class(
        message or "The provider reported an error without a message.",
        hint=HINTS.get(error_class, ""),
        status=status,
        provider_code=code or kind,
        param=_word(found.get("param")),
        request_id=excerpt(headers.get("x-request-id", ""), 200) or None,
        retry_after_s=retry_after_s(headers, clock=clock),
    )


def _class_of(status: int | None, code: str | None, kind: str | None) -> type[ProviderError]:
    for word in (code, kind):
        if word in BY_EXACT_CODE:
            return BY_EXACT_CODE[word]
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status is not None:
        return ProviderBadRequest if 400 <= status <= 499 else ProviderServerError
    for word in (code, kind):
        if word in BY_CODE:
            return BY_CODE[word]
    return ProviderServerError


def _word(value: Json) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return excerpt(str(value), 100) or None


def _message_text(value: Json) -> str:
    if value is None or isinstance(value, str):
        return excerpt(value or "")
    return excerpt(dump(value)[0])


INVALID: Final = "invalid_request_error"
SERVER: Final = "server_error"

WIRE_ERRORS: Final[dict[type[WaypostError], tuple[str, str]]] = {
    WaypostError: (SERVER, "internal_error"),
    ConfigurationError: (SERVER, "configuration_error"),
    RequestError: (INVALID, "invalid_request"),
    InvalidRequest: (INVALID, "invalid_request"),
    PreviousResponseUnknown: (INVALID, "previous_response_not_found"),
    AuthenticationRequired: (INVALID, "invalid_api_key"),
    OriginRefused: ("permission_error", "origin_refused"),
    NotAllowed: ("permission_error", "not_allowed"),
    PriceUnknown: ("permission_error", "price_unknown"),
    TooManyFailedKeys: ("requests", "too_many_failed_keys"),
    LimitExceeded: ("rate_limit_error", "rate_limit_exceeded"),
    BudgetExceeded: ("insufficient_quota", "insufficient_quota"),
    UnknownModel: (INVALID, "model_not_found"),
    UnknownPath: (INVALID, "unknown_url"),
    UnknownRequest: (INVALID, "unknown_request"),
    UnknownResponse: (INVALID, "response_not_found"),
    UnknownStream: (INVALID, "unknown_stream"),
    MethodNotAllowed: (INVALID, "method_not_allowed"),
    AnswerNotKept: (INVALID, "answer_not_kept"),
    AnswerUnderWay: (INVALID, "answer_under_way"),
    StreamExpired: (INVALID, "stream_expired"),
    StreamRestarted: (INVALID, "stream_restarted"),
    AnswerCancelled: (INVALID, "answer_cancelled"),
    BodyTooLarge: (INVALID, "body_too_large"),
    UnsupportedMediaType: (INVALID, "unsupported_media_type"),
    IdempotencyConflict: (INVALID, "idempotency_key_reused"),
    UnknownKind: (INVALID, "unknown_kind"),
    UnreadableDocument: (INVALID, "unreadable_document"),
    EmptyDocument: (INVALID, "empty_document"),
    BinaryDocument: (INVALID, "binary_document"),
    UnsupportedDocument: (INVALID, "unsupported_document"),
    UnknownEncoding: (INVALID, "unknown_encoding"),
    EncryptedDocument: (INVALID, "encrypted_document"),
    DocumentTooLarge: (INVALID, "document_too_large"),
    DocumentExpands: (INVALID, "document_expands_too_far"),
    DocumentTooSlow: (INVALID, "document_too_slow"),
    DamagedDocument: (INVALID, "damaged_document"),
    UnsupportedFeature: (INVALID, "unsupported_feature"),
    ServerBusy: (SERVER, "server_busy"),
    UnknownObject: (INVALID, "unknown_object"),
    Conflict: (INVALID, "conflict"),
    WebhookRefused: (INVALID, "webhook_refused"),
    UnknownDelivery: (INVALID, "unknown_delivery"),
    UnknownJob: (INVALID, "unknown_job"),
    UnknownBatch: (INVALID, "unknown_batch"),
    JobNotEnded: (INVALID, "job_not_ended"),
    JobHasEnded: (INVALID, "job_has_ended"),
    TooManyJobs: ("rate_limit_error", "too_many_jobs"),
    JournalFull: (SERVER, "journal_full"),
    DatabaseUnavailable: (SERVER, "database_unavailable"),
    ModelError: (SERVER, "model_error"),
    ProviderError: (SERVER, "provider_error"),
    ProviderBadRequest: (INVALID, "provider_bad_request"),
    ContextLengthExceeded: (INVALID, "context_length_exceeded"),
    ContentPolicyViolation: (INVALID, "content_policy_violation"),
    ProviderAuthenticationError: (SERVER, "provider_authentication"),
    ProviderPermissionError: (SERVER, "provider_permission"),
    ProviderModelNotFound: (INVALID, "model_not_found"),
    ProviderRequestTooLarge: (INVALID, "provider_request_too_large"),
    ProviderQuotaExceeded: ("insufficient_quota", "insufficient_quota"),
    ProviderRateLimited: ("rate_limit_error", "rate_limit_exceeded"),
    ProviderOverloaded: (SERVER, "provider_overloaded"),
    TargetPaused: (SERVER, "target_paused"),
    ProviderServerError: (SERVER, "provider_server_error"),
    ProviderUnreachable: (SERVER, "provider_unreachable"),
    ProviderConnectionLost: (SERVER, "provider_connection_lost"),
    ProviderTimeout: (SERVER, "provider_timeout"),
    MalformedResponse: (SERVER, "provider_malformed_response"),
    SchemaNotMet: (SERVER, "schema_not_met"),
    IncompleteStream: (SERVER, "provider_incomplete_stream"),
    RecoveryDiverged: (SERVER, "recovery_diverged"),
    AllTargetsFailed: (SERVER, "all_providers_failed"),
}
"""Type and code on the wire: OpenAI's own where it has one, so that clients which look for it find it."""


def encode_error(error: WaypostError) -> ErrorReply:
    """The error as OpenAI writes it. The class says the status; a wait that is known is told in Retry-After."""
    headers = {"content-type": "application/json"}
    wait_s = getattr(error, "retry_after_s", None)
    if wait_s is not None and math.isfinite(wait_s) and wait_s >= 0:
        headers["retry-after"] = str(math.ceil(wait_s))
    return ErrorReply(error.http_status, error_body(error), headers)


def error_body(error: WaypostError) -> bytes:
    """The JSON body alone, as a stream has it in one event."""
    kind, code = next(WIRE_ERRORS[known] for known in type(error).__mro__ if known in WIRE_ERRORS)
    told = {"message": str(error), "type": kind, "param": getattr(error, "param", None), "code": code}
    return dump({"error": told})[0]
