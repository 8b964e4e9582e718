"""What the OpenAPI document says of /api/ai/batches: options of each endpoint, for FastAPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from waypost.errors import (
    AuthenticationRequired,
    BodyTooLarge,
    Conflict,
    DatabaseUnavailable,
    IdempotencyConflict,
    InvalidRequest,
    JobHasEnded,
    JobNotEnded,
    NotAllowed,
    OriginRefused,
    ServerBusy,
    TooManyJobs,
    UnknownBatch,
    UnknownKind,
    UnknownModel,
    UnsupportedFeature,
    UnsupportedMediaType,
    WaypostError,
    WebhookRefused,
)
from waypost.jobs.batch import BATCH_STATES
from waypost.ledger.definitions import UnusableField
from waypost.server.administering import parameters_of
from waypost.server.batch_models import (
    BatchAdded,
    BatchItems,
    BatchModel,
    BatchPage,
    BatchRequest,
    BatchRetried,
)
from waypost.server.documentation import PAGE_RESPONSES, error_responses, json_of

_TEXT: Final = {"type": "string"}
_ID: Final = {"name": "batch_id", "in": "path", "required": True, "description": "The batch's id.", "schema": _TEXT}
_REFUSED: Final = (AuthenticationRequired, OriginRefused, UnsupportedFeature, ServerBusy, DatabaseUnavailable)
_BODY: Final = (InvalidRequest, UnsupportedMediaType, BodyTooLarge, TooManyJobs)
_LINES: Final = "application/x-ndjson"
_COUNT: Final = {"type": "integer", "minimum": 0}
_RESULT: Final = (
    '{"index":0,"id":"a","job_id":"job_…","status":"succeeded","result":{},"provider":"local","model":"m",'
    '"usage":null,"cost_usd":0.0004}\n'
    '{"index":1,"id":"b","job_id":"job_…","status":"failed","error":{"code":"unusable_item","message":"content is '
    'empty."},"provider":null,"model":null,"usage":null,"cost_usd":0.0}\n'
)


def _options(
    operation: str,
    summary: str,
    replies: Mapping[int | str, Any],
    *errors: type[WaypostError],
    parameters: Sequence[Mapping[str, Any]] = (),
    body: Mapping[str, Any] | None = None,
    status: int = 200,
) -> dict[str, Any]:
    extra: dict[str, Any] = {"parameters": list(parameters)}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": dict(body)}
    options: dict[str, Any] = {
        "operation_id": operation,
        "summary": summary,
        "status_code": status,
        "responses": {**replies, **PAGE_RESPONSES, **error_responses((*_REFUSED, *errors))},
        "openapi_extra": extra,
    }
    return {**options, "response_class": Response} if status == 204 else options


def _reply(status: int, description: str, model: type[BaseModel]) -> dict[int | str, Any]:
    return {status: {"description": description, "content": json_of(model)}}


_ITEMS: Final = [{"id": "a", "content": "The coffee was cold."}, {"id": "b", "content": "The staff was kind."}]
CREATE: Final = _options(
    "create_batch",
    "Begin a batch",
    {
        **_reply(200, "The same was asked for before, with this idempotency key: this is that batch.", BatchModel),
        **_reply(201, "The batch.", BatchModel),
    },
    *_BODY,
    NotAllowed,
    UnknownKind,
    UnknownModel,
    WebhookRefused,
    IdempotencyConflict,
    Conflict,
    body=json_of(
        BatchRequest,
        examples={
            "whole": {"summary": "With its items", "value": {"name": "reviews", "items": _ITEMS}},
            "open": {"summary": "To add items to", "value": {"name": "reviews", "kinds": ["analysis"]}},
        },
    ),
    status=201,
)
ADD: Final = _options(
    "add_batch_items",
    "Add items to a batch",
    _reply(200, "How many are new.", BatchAdded),
    *_BODY,
    UnusableField,
    UnknownBatch,
    Conflict,
    parameters=[
        _ID,
        {
            "name": "first",
            "in": "query",
            "required": False,
            "description": "With lines of JSON: the place of the first of them.",
            "schema": _COUNT,
        },
    ],
    body={
        **json_of(BatchItems, examples={"items": {"value": {"first": 0, "items": _ITEMS}}}),
        _LINES: {"schema": _TEXT, "examples": {"lines": {"value": '{"id": "a", "content": "…"}\n"…"\n'}}},
    },
)
CLOSE: Final = _options(
    "close_batch",
    "Close a batch",
    _reply(200, "The batch.", BatchModel),
    UnknownBatch,
    parameters=[_ID],
)
LIST: Final = _options(
    "list_batches",
    "List batches",
    _reply(200, "One page of batches.", BatchPage),
    InvalidRequest,
    UnusableField,
    parameters=parameters_of(("state", "Only those in this state.", {**_TEXT, "enum": list(BATCH_STATES)}))[
        "parameters"
    ],
)
GET: Final = _options(
    "get_batch", "Show a batch", _reply(200, "The batch.", BatchModel), UnknownBatch, parameters=[_ID]
)
RESULTS: Final = _options(
    "batch_results",
    "Read the results of a batch",
    {
        200: {
            "description": "One line of JSON for each item that has ended, up to the first that has not.",
            "headers": {
                "x-waypost-batch-state": {"description": "The batch's state as this began.", "schema": _TEXT},
            },
            "content": {_LINES: {"schema": _TEXT, "examples": {"results": {"value": _RESULT}}}},
        }
    },
    UnusableField,
    UnknownBatch,
    parameters=[
        _ID,
        {
            "name": "after",
            "in": "query",
            "required": False,
            "description": "The `index` of the last item that is known.",
            "schema": _COUNT,
        },
    ],
)
CANCEL: Final = _options(
    "cancel_batch",
    "Cancel a batch",
    _reply(200, "The batch.", BatchModel),
    UnknownBatch,
    JobHasEnded,
    parameters=[_ID],
)
RETRY: Final = _options(
    "retry_batch",
    "Do failed items again",
    _reply(202, "How many are done anew, and the batch.", BatchRetried),
    UnknownBatch,
    JobNotEnded,
    parameters=[_ID],
    status=202,
)
DELETE: Final = _options(
    "delete_batch",
    "Delete a batch",
    {204: {"description": "It is gone."}},
    UnknownBatch,
    JobNotEnded,
    parameters=[_ID],
    status=204,
)
