"""OpenAI's manners around chat completions. Source: platform.openai.com, API reference and the guide to error codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from waypost.chat import FinishReason, Json, Opaque, Reasoning, Response, Usage
from waypost.codecs.codec import Codec
from waypost.codecs.openai_chat import codec
from waypost.codecs.sse import encode_event
from waypost.simulator.credentials import INVALID_KEY, Credentials
from waypost.simulator.details import Detail, openai_details
from waypost.simulator.dialect import (
    MODELS_CREATED,
    Broken,
    Context,
    Head,
    Ids,
    ProviderFields,
    Refused,
    WireError,
    dump,
)
from waypost.simulator.faults import ErrorName
from waypost.simulator.script import DialectName, Prefill

_REQUEST = "invalid_request_error"
_SERVER = "server_error"

ERRORS: Mapping[ErrorName, WireError] = {
    "bad_request": WireError(400, _REQUEST, "The request is invalid."),
    "context_length": WireError(
        400,
        _REQUEST,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        code="context_length_exceeded",
        param="messages",
    ),
    "content_policy": WireError(
        400, _REQUEST, "The prompt was refused by the safety system.", code="content_policy_violation"
    ),
    "authentication": WireError(401, _REQUEST, "Incorrect API key provided.", code="invalid_api_key"),
    "permission": WireError(403, _REQUEST, "The key has no permission for this operation.", code="missing_scope"),
    "not_found": WireError(404, _REQUEST, "The model does not exist.", code="model_not_found", param="model"),
    "conflict": WireError(409, _REQUEST, "The resource was changed by another request."),
    "too_large": WireError(413, _REQUEST, "The request body is too large."),
    "rate_limit": WireError(429, "requests", "Rate limit reached for requests.", code="rate_limit_exceeded"),
    "quota": WireError(429, "insufficient_quota", "The account is over its current quota.", code="insufficient_quota"),
    "server_error": WireError(500, _SERVER, "The server had an error while processing the request."),
    "overloaded": WireError(503, _SERVER, "The engine is currently overloaded, please try again later."),
    "timeout": WireError(504, _SERVER, "The request took too long."),
}


LIMITS: Final = {"requests": 10_000, "tokens": 2_000_000}
"""An account's limits a minute. Source: guide to rate limits, headers."""


class OpenAIDialect:
    """`POST /v1/chat/completions`, `/v1/embeddings`, `/v1/moderations`, files, batches, `GET /v1/models`."""

    name: DialectName = "openai"
    codec: Codec = codec
    errors = ERRORS
    refusal_reason: FinishReason = "stop"
    prefill: Prefill = "ignore"
    ping = b""
    opening = b""
    json_type = "application/json"
    details: Detail | None = staticmethod(openai_details)
    tells_opaque_first = False

    def key(self, credentials: Credentials) -> str:
        """The bearer token."""
        return credentials.bearer()

    def authenticate(self, credentials: Credentials) -> None:
        """Raises Refused if there is no key, or the one that is refused."""
        key = self.key(credentials)
        if not key:
            raise Refused(WireError(401, _REQUEST, "No API key was provided in an Authorization header (Bearer)."))
        if key == INVALID_KEY:
            raise Refused(ERRORS["authentication"])

    def headers(self, head: Head) -> dict[str, str]:
        """The id, the version, the time taken, and the limits; the time until reset is a duration such as `1m2.5s`."""
        told = {
            "x-request-id": head.request_id,
            "openai-version": "2020-10-01",
            "openai-organization": "simulated",
            "openai-processing-ms": "20",
        }
        for what, limit in LIMITS.items():
            left = 0 if head.is_limited else limit - head.used % limit
            wait_s = 0.006 if head.retry_after_s is None else head.retry_after_s
            told |= {
                f"x-ratelimit-limit-{what}": str(limit),
                f"x-ratelimit-remaining-{what}": str(left),
                f"x-ratelimit-reset-{what}": duration_text(wait_s),
            }
        return told

    def request_id(self, ids: Ids) -> str:
        """`req_…`."""
        return ids.hexadecimal("req_", 32)

    def response_id(self, ids: Ids) -> str:
        """`chatcmpl-…`."""
        return ids.make("chatcmpl-", 29)

    def call_id(self, ids: Ids, index: int) -> str:
        """`call_…`."""
        return ids.make("call_", 24, index)

    def error_body(self, error: WireError, request_id: str) -> bytes:  # noqa: ARG002 - the id is in a header only
        """The JSON body of an error reply."""
        return dump({"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}})

    def error_event(self, error: WireError, broken: Broken) -> bytes:
        """An unnamed event whose data is the body of the error."""
        return encode_event(self.error_body(error, broken.request_id))

    def unknown_path(self, method: str, path: str) -> WireError:
        """No such endpoint."""
        return WireError(404, _REQUEST, f"Invalid URL ({method} {path})")

    def unknown_model(self, model: str) -> WireError:
        """No such model."""
        message = f"The model `{model}` does not exist or you do not have access to it."
        return WireError(404, _REQUEST, message, code="model_not_found")

    def model(self, name: str) -> Json:
        """One model of the list."""
        return {"id": name, "object": "model", "created": MODELS_CREATED, "owned_by": "waypost"}

    def model_list(self, names: tuple[str, ...]) -> Json:
        """The list of models."""
        return {"object": "list", "data": [self.model(name) for name in names]}

    def told(self, response: Response, context: Context, ids: Ids) -> Response:  # noqa: ARG002 - as they are
        """Without the stop sequence that was hit; thinking is counted and not shown, unless the script has some."""
        choices = (
            replace(
                choice,
                parts=tuple(part for part in choice.parts if not (context.invented and isinstance(part, Reasoning))),
                stop_sequence=None,
            )
            for choice in response.choices
        )
        return replace(response, choices=tuple(choices))

    def first_fields(self, response: Response) -> ProviderFields:
        """All that are told at the end."""
        return response.provider_fields

    def first_usage(self, usage: Usage) -> Usage | None:  # noqa: ARG002 - the other dialect says some
        """Usage comes in one chunk at the end."""
        return None

    def reasoning_opaque(self, ids: Ids) -> Opaque:  # noqa: ARG002 - the other dialect signs
        """Nothing."""
        return {}


def duration_text(wait_s: float) -> str:
    """A duration as OpenAI's headers have it: `6ms`, `1.5s`, `1m2s`."""
    if wait_s < 1:
        return f"{round(wait_s * 1000)}ms"
    minutes, seconds = divmod(round(wait_s, 3), 60)
    return (f"{minutes:.0f}m" if minutes else "") + f"{seconds:g}s"


OPENAI: Final = OpenAIDialect()
