"""What the OpenAPI document says beyond what the models tell: error statuses, the event form, examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from waypost import errors
from waypost.errors import (
    AnswerCancelled,
    BodyTooLarge,
    ConfigurationError,
    Conflict,
    InvalidRequest,
    MethodNotAllowed,
    OriginRefused,
    ServerBusy,
    StreamExpired,
    StreamRestarted,
    UnknownObject,
    UnknownPath,
    UnknownRequest,
    UnknownStream,
    WaypostError,
)
from waypost.ledger.definitions import KeyChange, NewKey, NewProject, ProjectChange
from waypost.server.admin_models import ReloadModel, StatusModel
from waypost.server.batch_models import BatchAdded, BatchItems, BatchModel, BatchPage, BatchRequest, BatchRetried
from waypost.server.envelope import InternalError, sentence_list
from waypost.server.job_models import (
    AcceptedModel,
    AnalyzeRequest,
    BackgroundModel,
    JobListed,
    JobModel,
    JobPageModel,
)
from waypost.server.key_models import (
    AuditPage,
    KeyModel,
    KeyPage,
    MadeKeyModel,
    ProjectModel,
    ProjectPage,
    Rotation,
)
from waypost.server.log_models import RequestPage, UsageSums, WholeRequestModel
from waypost.server.models import (
    AIRequest,
    AIResponseModel,
    ErrorEnvelope,
    HealthModel,
    ReadyModel,
    StreamDone,
    StreamRestart,
    StreamStart,
    StreamText,
    ToolCallModel,
    Wire,
)

SCHEMA_REF: Final = "#/components/schemas/{model}"

EVENTS: Final[Mapping[str, type[Wire]]] = {
    "start": StreamStart,
    "restart": StreamRestart,
    "delta": StreamText,
    "reasoning": StreamText,
    "refusal": StreamText,
    "tool_call": ToolCallModel,
    "done": StreamDone,
    "error": ErrorEnvelope,
}
"""The events of a stream and what their data is."""

COMPONENTS: Final[tuple[type[BaseModel], ...]] = (
    AIRequest,
    AIResponseModel,
    *dict.fromkeys(EVENTS.values()),
    HealthModel,
    ReadyModel,
    ReloadModel,
    StatusModel,
    NewProject,
    ProjectChange,
    ProjectModel,
    ProjectPage,
    NewKey,
    KeyChange,
    Rotation,
    KeyModel,
    MadeKeyModel,
    KeyPage,
    AuditPage,
    RequestPage,
    WholeRequestModel,
    UsageSums,
    AnalyzeRequest,
    AcceptedModel,
    BackgroundModel,
    JobListed,
    JobModel,
    BatchRequest,
    BatchItems,
    BatchAdded,
    BatchModel,
    BatchPage,
    BatchRetried,
    JobPageModel,
)
"""Every model of the interface. Routes name them by reference: FastAPI would build each of them at start-up."""

EVENT_TEXT: Final = """\
Events, each with `id: <answer id>.<number>` and one line of JSON as data: `start`, then any of `delta`, `reasoning`, \
`refusal` and `tool_call`, then `done`. If the answer breaks off, the last event is `error` and there is no `done`. \
A stream that is made in the background may have `restart`, which says that all before it is void, and then `start` \
again. An error before `start` is an ordinary reply with its status. Comments (lines that begin with a colon) keep the \
connection alive."""

_ANSWER = {
    "id": "chatcmpl-7Hq2",
    "provider": "local",
    "model": "smollm2-135m-instruct",
    "usage": {"input_tokens": 37, "output_tokens": 8, "total_tokens": 45},
    "cost_usd": None,
    "timestamp": "2026-03-01T09:30:00.000Z",
    "attempts": [{"provider": "local", "model": "smollm2-135m-instruct", "error": None, "duration_ms": 412}],
    "finish_reason": "stop",
    "tool_calls": [],
    "warnings": [],
}
REPLY_EXAMPLES: Final[dict[str, Any]] = {
    "answer": {"value": {"content": "The capital of France is Paris.", "reasoning": None, "refusal": None, **_ANSWER}}
}
_STREAM = """\
id: chatcmpl-7Hq2.0
event: start
data: {"id":"chatcmpl-7Hq2","provider":"local","model":"smollm2-135m-instruct"}

id: chatcmpl-7Hq2.1
event: delta
data: {"text":"Once"}

id: chatcmpl-7Hq2.2
event: done
data: {"id":"chatcmpl-7Hq2","provider":"local","model":"smollm2-135m-instruct","usage":null,"cost_usd":null,\
"timestamp":"2026-03-01T09:30:00.000Z","attempts":[],"finish_reason":"length","tool_calls":[],"warnings":[]}

"""
_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

REQUEST_EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "question": {"summary": "A question", "value": {"prompt": "What is the capital of France?"}},
    "stream": {"summary": "A stream", "value": {"prompt": "Tell me a story", "max_tokens": 200, "stream": True}},
    "conversation": {
        "summary": "A conversation",
        "value": {
            "system": "You are brief.",
            "messages": [
                {"role": "user", "content": "Name a river."},
                {"role": "assistant", "content": "The Rhine."},
                {"role": "user", "content": "Another one."},
            ],
            "temperature": 0.2,
        },
    },
    "background": {"summary": "In the background", "value": {"prompt": "Write a long story", "background": True}},
    "tools": {"summary": "A tool", "value": {"prompt": "How is the weather in Oslo?", "tools": [_TOOL]}},
}


def json_of(model: type[BaseModel], **more: Any) -> dict[str, Any]:
    """The content of a JSON body of that model."""
    return {"application/json": {"schema": {"$ref": SCHEMA_REF.format(model=model.__name__)}, **more}}


def _every() -> Iterator[type[WaypostError]]:
    """The tree as `waypost.errors` draws it; subclasses made elsewhere share the code of their parent."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, WaypostError):
            yield kind


def _example(kind: type[WaypostError]) -> dict[str, Any]:
    first_sentence = (kind.__doc__ or "").split("\n", maxsplit=1)[0]
    return {"error": {"code": kind.code, "message": first_sentence, "hint": "", "request_id": "req_0f9c"}}


def error_responses(kinds: Iterable[type[WaypostError]]) -> dict[int | str, dict[str, Any]]:
    """The envelope under each status of these errors, with their codes as examples."""
    by_status: dict[int, dict[str, type[WaypostError]]] = {}
    for kind in kinds:
        by_status.setdefault(kind.http_status, {}).setdefault(kind.code, kind)
    return {
        status: {
            "description": sentence_list(f"`{code}`" for code in codes),
            "content": json_of(
                ErrorEnvelope, examples={code: {"value": _example(kind)} for code, kind in codes.items()}
            ),
        }
        for status, codes in sorted(by_status.items())
    }


# Unknown paths, methods, requests, streams and what is administered are no answers of this endpoint.
_NOT_HERE = {
    UnknownPath,
    UnknownRequest,
    UnknownStream,
    StreamExpired,
    StreamRestarted,
    AnswerCancelled,
    MethodNotAllowed,
    UnknownObject,
    Conflict,
    ConfigurationError,
    WaypostError,
}

PAGE_RESPONSES: Final = error_responses((OriginRefused, BodyTooLarge, InternalError))
"""What any endpoint may answer."""

_EVENT_STREAM: Final[dict[str, Any]] = {
    "text/event-stream": {
        "schema": {"type": "string", "description": EVENT_TEXT},
        "examples": {"story": {"value": _STREAM}},
        "x-events": {name: {"$ref": SCHEMA_REF.format(model=kind.__name__)} for name, kind in EVENTS.items()},
    },
}
_REPLY_HEADERS: Final[dict[str, Any]] = {
    "x-waypost-response-id": {
        "description": "The id of a stream that can be gone on with.",
        "schema": {"type": "string"},
    },
    "idempotent-replayed": {
        "description": "`true` on what an earlier request with the same Idempotency-Key was answered.",
        "schema": {"type": "string"},
    },
}

_BEGUN: Final = {
    "job_id": "job_0199c2f3a4b5c6d7e8f90a1b2c3d4e5f",
    "message": "The answer is made in the background",
    "status": "processing",
    "url": "/api/ai/jobs/job_0199c2f3a4b5c6d7e8f90a1b2c3d4e5f",
    "response_id": "resp_0199c2f3a4b5c6d7e8f90a1b2c3d4e5f",
    "events_url": "/api/ai/responses/resp_0199c2f3a4b5c6d7e8f90a1b2c3d4e5f/events",
}

GENERATE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The answer; with `stream`, its events.",
        "headers": _REPLY_HEADERS,
        "content": {**json_of(AIResponseModel, examples=REPLY_EXAMPLES), **_EVENT_STREAM},
    },
    202: {
        "description": "With `background`: the job that makes the answer.",
        "headers": {"x-waypost-response-id": _REPLY_HEADERS["x-waypost-response-id"]},
        "content": json_of(BackgroundModel, examples={"begun": {"value": _BEGUN}}),
    },
    **error_responses(kind for kind in (*_every(), InternalError) if kind not in _NOT_HERE),
}

EVENTS_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The events that were missed, and those to come.",
        "headers": {"x-waypost-response-id": _REPLY_HEADERS["x-waypost-response-id"]},
        "content": _EVENT_STREAM,
    },
    204: {"description": "The stream has ended, and there are no more events."},
    **error_responses((InvalidRequest, OriginRefused, UnknownStream, StreamExpired, ServerBusy, InternalError)),
}
CANCEL_RESPONSES: Final = error_responses((OriginRefused, UnknownStream, ServerBusy, InternalError))


def _parameter(name: str, description: str, place: str = "header") -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": {"type": "string"},
    }


_STREAM_ID: Final = _parameter("stream_id", "The stream's id, as `x-waypost-response-id` and `start` told it.", "path")
EVENTS_REQUEST: Final[dict[str, Any]] = {
    "parameters": [
        _STREAM_ID,
        _parameter("Last-Event-ID", "The id of the last event that was received; without it, all are told."),
    ]
}
CANCEL_REQUEST: Final[dict[str, Any]] = {"parameters": [_STREAM_ID]}

GENERATE_REQUEST: Final[dict[str, Any]] = {
    "parameters": [
        _parameter(
            "Idempotency-Key",
            "1 to 255 printable ASCII characters. The same key and body again: the same answer, paid once.",
        )
    ],
    "requestBody": {
        "required": True,
        "content": json_of(AIRequest, examples=REQUEST_EXAMPLES),
    },
}
