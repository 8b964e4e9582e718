"""Anthropic's manners around messages. Source: docs.anthropic.com, API reference: errors, streaming, versions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from waypost.chat import FinishReason, Json, Opaque, Response, Usage
from waypost.codecs.anthropic_messages import codec
from waypost.codecs.codec import Codec
from waypost.codecs.sse import encode_event
from waypost.simulator.credentials import INVALID_KEY, Credentials
from waypost.simulator.details import Detail, anthropic_details
from waypost.simulator.dialect import Broken, Context, Head, Ids, ProviderFields, Refused, WireError, dump
from waypost.simulator.faults import ErrorName
from waypost.simulator.script import DialectName, Prefill

_REQUEST = "invalid_request_error"

ERRORS: Mapping[ErrorName, WireError] = {
    "bad_request": WireError(400, _REQUEST, "The request is invalid."),
    "context_length": WireError(400, _REQUEST, "prompt is too long: 210000 tokens > 200000 maximum"),
    "content_policy": WireError(400, _REQUEST, "Output blocked by content filtering policy"),
    "authentication": WireError(401, "authentication_error", "invalid x-api-key"),
    "quota": WireError(402, "billing_error", "The account has no credit left."),
    "permission": WireError(403, "permission_error", "The key has no permission for this resource."),
    "not_found": WireError(404, "not_found_error", "Not found"),
    "conflict": WireError(409, "conflict_error", "The resource was changed by another request."),
    "too_large": WireError(413, "request_too_large", "Request exceeds the maximum size"),
    "rate_limit": WireError(429, "rate_limit_error", "This request would exceed the account's rate limit."),
    "server_error": WireError(500, "api_error", "Internal server error"),
    "timeout": WireError(504, "timeout_error", "The request timed out."),
    "overloaded": WireError(529, "overloaded_error", "Overloaded"),
}


LIMITS: Final = {"requests": 4_000, "tokens": 480_000, "input-tokens": 400_000, "output-tokens": 80_000}
"""An account's limits a minute. Source: API reference, rate limits, response headers."""
RESET_S: Final = 60
ORGANIZATION: Final = "00000000-0000-4000-8000-000000000000"


class AnthropicDialect:
    """`POST /v1/messages`, `POST /v1/messages/count_tokens`, `GET /v1/models`."""

    name: DialectName = "anthropic"
    codec: Codec = codec
    errors = ERRORS
    refusal_reason: FinishReason = "content_filter"
    prefill: Prefill = "continue"
    ping = encode_event(b'{"type": "ping"}', event="ping")
    opening = b""
    json_type = "application/json"
    details: Detail | None = staticmethod(anthropic_details)
    tells_opaque_first = False

    def key(self, credentials: Credentials) -> str:
        """From `x-api-key`, or a bearer token."""
        return credentials.header("x-api-key") or credentials.bearer()

    def authenticate(self, credentials: Credentials) -> None:
        """Raises Refused if there is no key, the one that is refused, or no version."""
        key = self.key(credentials)
        if not key:
            raise Refused(WireError(401, "authentication_error", "x-api-key header is required"))
        if key == INVALID_KEY:
            raise Refused(ERRORS["authentication"])
        if not credentials.header("anthropic-version"):
            raise Refused(WireError(400, _REQUEST, "anthropic-version: header is required"))

    def headers(self, head: Head) -> dict[str, str]:
        """The id, the organization, and the limits; the time of reset is RFC 3339."""
        wait_s = RESET_S if head.retry_after_s is None else head.retry_after_s
        reset = (datetime.now(UTC) + timedelta(seconds=wait_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = {"request-id": head.request_id, "anthropic-organization-id": ORGANIZATION}
        for what, limit in LIMITS.items():
            left = 0 if head.is_limited else limit - head.used % limit
            told |= {
                f"anthropic-ratelimit-{what}-limit": str(limit),
                f"anthropic-ratelimit-{what}-remaining": str(left),
                f"anthropic-ratelimit-{what}-reset": reset,
            }
        return told

    def request_id(self, ids: Ids) -> str:
        """`req_01…`."""
        return ids.make("req_01", 22)

    def response_id(self, ids: Ids) -> str:
        """`msg_01…`."""
        return ids.make("msg_01", 22)

    def call_id(self, ids: Ids, index: int) -> str:
        """`toolu_01…`."""
        return ids.make("toolu_01", 22, index)

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """The JSON body of an error reply."""
        told: dict[str, Json] = {"type": error.type, "message": error.message}
        if error.code is not None:
            told["details"] = {"error_code": error.code}
        return dump({"type": "error", "error": told, "request_id": request_id})

    def error_event(self, error: WireError, broken: Broken) -> bytes:
        """An event named `error`."""
        return encode_event(self.error_body(error, broken.request_id), event="error")

    def unknown_path(self, method: str, path: str) -> WireError:  # noqa: ARG002 - not told by this provider
        """No such endpoint."""
        return ERRORS["not_found"]

    def unknown_model(self, model: str) -> WireError:
        """No such model."""
        return WireError(404, "not_found_error", f"model: {model}")

    def model(self, name: str) -> Json:
        """One model of the list."""
        return {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}

    def model_list(self, names: tuple[str, ...]) -> Json:
        """The list of models, all on one page."""
        return {
            "data": [self.model(name) for name in names],
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }

    def told(self, response: Response, context: Context, ids: Ids) -> Response:  # noqa: ARG002 - all alike
        """Without the time, and with thinking counted as output only."""
        return replace(response, created=None, usage=replace(response.usage, output_reasoning_tokens=None))

    def first_fields(self, response: Response) -> ProviderFields:
        """All that are told at the end."""
        return response.provider_fields

    def first_usage(self, usage: Usage) -> Usage | None:
        """`message_start` tells the input, and one token of output."""
        return replace(usage, output_tokens=1)

    def reasoning_opaque(self, ids: Ids) -> Opaque:
        """Thinking is signed."""
        return {"anthropic": {"signature": base64.b64encode(ids.make("signature", 48).encode()).decode()}}


ANTHROPIC: Final = AnthropicDialect()
