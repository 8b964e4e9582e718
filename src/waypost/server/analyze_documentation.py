"""What the OpenAPI document says of POST /api/ai/analyze."""

from __future__ import annotations

from typing import Any, Final

from waypost.errors import (
    AuthenticationRequired,
    BinaryDocument,
    BodyTooLarge,
    BudgetExceeded,
    DamagedDocument,
    DatabaseUnavailable,
    DocumentTooLarge,
    EmptyDocument,
    EncryptedDocument,
    IdempotencyConflict,
    InvalidRequest,
    NotAllowed,
    OriginRefused,
    ServerBusy,
    TooManyJobs,
    UnknownKind,
    UnknownModel,
    UnsupportedDocument,
    UnsupportedFeature,
    UnsupportedMediaType,
    WebhookRefused,
)
from waypost.server.documentation import SCHEMA_REF, error_responses, json_of
from waypost.server.envelope import InternalError
from waypost.server.job_models import AcceptedModel, AnalyzeRequest

_ACCEPTED: Final = {
    "job_id": "job_0199c2f3a4b5c6d7e8f90a1b2c3d4e5f",
    "message": "Analysis started",
    "status": "processing",
    "url": "/api/ai/jobs/job_0199c2f3a4b5c6d7e8f90a1b2c3d4e5f",
}
_REFUSED: Final = (
    InvalidRequest,
    WebhookRefused,
    AuthenticationRequired,
    OriginRefused,
    NotAllowed,
    UnknownKind,
    UnknownModel,
    BodyTooLarge,
    DocumentTooLarge,
    UnsupportedMediaType,
    BinaryDocument,
    UnsupportedDocument,
    EmptyDocument,
    DamagedDocument,
    EncryptedDocument,
    IdempotencyConflict,
    UnsupportedFeature,
    TooManyJobs,
    BudgetExceeded,
    ServerBusy,
    DatabaseUnavailable,
    InternalError,
)


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_LOCATION: Final = _header("Where the job is.")
ANALYZE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The same was asked for before, with this idempotency key: this is that job.",
        "headers": {"location": _LOCATION, "idempotent-replayed": _header("`true`.")},
        "content": json_of(AcceptedModel),
    },
    202: {
        "description": "The job is taken on.",
        "headers": {"location": _LOCATION},
        "content": json_of(AcceptedModel, examples={"accepted": {"value": _ACCEPTED}}),
    },
    **error_responses(_REFUSED),
}
_EXAMPLES: Final = {
    "text": {
        "summary": "A text",
        "value": {"content": "The coffee was cold, but the staff could not have been kinder."},
    },
    "more": {
        "summary": "With all that may be said",
        "value": {
            "content": "The coffee was cold, but the staff could not have been kinder.",
            "model": "default",
            "kinds": ["analysis"],
            "webhook": "https://hooks.example.com/waypost",
            "idempotency_key": "review-4711",
            "tags": {"team": "search"},
            "priority": 5,
            "allow_offline": True,
            "user": "customer-17",
        },
    },
}
_FORM: Final[dict[str, Any]] = {
    "allOf": [
        {"$ref": SCHEMA_REF.format(model=AnalyzeRequest.__name__)},
        {
            "type": "object",
            "properties": {
                "file": {
                    "type": "string",
                    "contentMediaType": "application/octet-stream",
                    "description": "A .txt, .md, .html, .pdf or .docx file, instead of content.",
                }
            },
        },
    ],
    "description": "The same fields as text: kinds with commas between, tags as in `team=search, feature=summary`.",
}
ANALYZE_REQUEST: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "1 to 255 printable ASCII characters. The same key and request again: the same job.",
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {**json_of(AnalyzeRequest, examples=_EXAMPLES), "multipart/form-data": {"schema": _FORM}},
    },
}
