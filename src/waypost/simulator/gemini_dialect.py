"""Google's manners around the Gemini API. Source: ai.google.dev, API reference; google.rpc.Status and its details."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from waypost.chat import Choice, FinishReason, Json, Opaque, Part, Reasoning, Response, ToolCall, Usage
from waypost.codecs.codec import Codec
from waypost.codecs.gemini import codec
from waypost.simulator.credentials import INVALID_KEY, Credentials
from waypost.simulator.details import Detail, gemini_details
from waypost.simulator.dialect import Broken, Context, Head, Ids, ProviderFields, Refused, WireError
from waypost.simulator.faults import ErrorName
from waypost.simulator.framing import JSON_UTF8
from waypost.simulator.script import DialectName, Prefill

_ARGUMENT: Final = "INVALID_ARGUMENT"
_DETAIL: Final = "type.googleapis.com/google.rpc."
_DOMAIN: Final = "googleapis.com"
_SERVICE: Final = "generativelanguage.googleapis.com"
API_VERSION: Final = "v1beta"

_DAILY: Final = {
    "@type": f"{_DETAIL}QuotaFailure",
    "violations": [
        {
            "quotaMetric": f"{_SERVICE}/generate_content_free_tier_requests",
            "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            "quotaDimensions": {"location": "global", "model": "simulated"},
            "quotaValue": "250",
        }
    ],
}
"""What tells a quota of a whole day from a limit of a minute."""

ERRORS: Final[Mapping[ErrorName, WireError]] = {
    "bad_request": WireError(400, _ARGUMENT, "Request contains an invalid argument."),
    "context_length": WireError(
        400, _ARGUMENT, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    ),
    "content_policy": WireError(400, _ARGUMENT, "The prompt was refused for safety reasons."),
    "authentication": WireError(
        400, _ARGUMENT, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID"
    ),
    "permission": WireError(403, "PERMISSION_DENIED", "The caller does not have permission."),
    "not_found": WireError(404, "NOT_FOUND", "Requested entity was not found."),
    "conflict": WireError(409, "ABORTED", "The operation was aborted."),
    "too_large": WireError(400, _ARGUMENT, "Request payload size exceeds the limit: 20971520 bytes."),
    "rate_limit": WireError(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "quota": WireError(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
        details=(_DAILY,),
    ),
    "server_error": WireError(500, "INTERNAL", "An internal error has occurred. Please retry."),
    "overloaded": WireError(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "timeout": WireError(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}
_STATUS_NAMES: Final[Mapping[int, str]] = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""Where an error is asked for by its status alone. Source: google.rpc.Code."""


class GeminiDialect:
    """`POST /v1beta/models/{model}:{method}`, `GET /v1beta/models`; the same under `/v1`."""

    name: DialectName = "gemini"
    codec: Codec = codec
    errors = ERRORS
    refusal_reason: FinishReason = "stop"
    prefill: Prefill = "ignore"
    ping = b""
    opening = b""
    json_type = JSON_UTF8
    details: Detail | None = staticmethod(gemini_details)
    tells_opaque_first = False

    def key(self, credentials: Credentials) -> str:
        """From `x-goog-api-key`, from the URL's `key`, or a bearer token."""
        return credentials.header("x-goog-api-key") or credentials.query.get("key", "").strip() or credentials.bearer()

    def authenticate(self, credentials: Credentials) -> None:
        """Raises Refused if there is no key (403 here), or the one that is refused (400 here)."""
        key = self.key(credentials)
        if not key:
            message = (
                "Method doesn't allow unregistered callers (callers without established identity). Please use API Key "
                "or other form of API consumer identity to call this API."
            )
            raise Refused(WireError(403, "PERMISSION_DENIED", message))
        if key == INVALID_KEY:
            raise Refused(ERRORS["authentication"])

    def headers(self, head: Head) -> dict[str, str]:  # noqa: ARG002 - neither an id nor limits are told
        """Those that say nothing."""
        return {
            "vary": "Origin, X-Origin, Referer",
            "server": "scaffolding on HTTPServer2",
            "server-timing": "gfet4t7; dur=20",
            "x-xss-protection": "0",
            "x-frame-options": "SAMEORIGIN",
            "x-content-type-options": "nosniff",
        }

    def request_id(self, ids: Ids) -> str:  # noqa: ARG002 - not told
        """None."""
        return ""

    def response_id(self, ids: Ids) -> str:
        """Letters and digits without a prefix."""
        return ids.make("", 23)

    def call_id(self, ids: Ids, index: int) -> str:  # noqa: ARG002 - calls have none here
        """None: calls are told apart by their place."""
        return ""

    def error_body(self, error: WireError, request_id: str) -> bytes:  # noqa: ARG002 - not told
        """A google.rpc.Status in JSON, with the details that clients read."""
        by_status = error.type in (_ARGUMENT, "INTERNAL")
        told: dict[str, Json] = {
            "code": error.status,
            "message": error.message,
            "status": _STATUS_NAMES.get(error.status, error.type) if by_status else error.type,
        }
        if details := _details(error):
            told["details"] = details
        return spread({"error": told})

    def error_event(self, error: WireError, broken: Broken) -> bytes:
        """An event whose data is the body of the error."""
        return b"data: " + b"".join(self.error_body(error, broken.request_id).split(b"\n")) + b"\r\n\r\n"

    def unknown_path(self, method: str, path: str) -> WireError:
        """No such endpoint."""
        return WireError(404, "NOT_FOUND", f"The requested URL {path} was not found on this server ({method}).")

    def unknown_model(self, model: str) -> WireError:
        """No such model."""
        message = (
            f"models/{model} is not found for API version {API_VERSION}, or is not supported for generateContent. Call "
            "ListModels to see the list of available models and their supported methods."
        )
        return WireError(404, "NOT_FOUND", message)

    def model(self, name: str) -> Json:
        """One model of the list."""
        return {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name,
            "description": "A simulated model",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent", "batchEmbedContents"],
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
            "maxTemperature": 2,
            "thinking": True,
        }

    def model_list(self, names: tuple[str, ...]) -> Json:
        """The list of models, all on one page."""
        return {"models": [self.model(name) for name in names]}

    def told(self, response: Response, context: Context, ids: Ids) -> Response:
        """Without the time; thoughts if they are wanted; the first call signed if there were thoughts."""
        counted = [{"modality": "TEXT", "tokenCount": response.usage.input_tokens}]
        return replace(
            response,
            created=None,
            choices=tuple(_shown(choice, context, ids) for choice in response.choices),
            provider_fields={
                "google": {
                    **response.provider_fields.get("google", {}),
                    "usageMetadata": {"promptTokensDetails": counted},
                }
            },
        )

    def first_fields(self, response: Response) -> ProviderFields:
        """All that are told at the end."""
        return response.provider_fields

    def first_usage(self, usage: Usage) -> Usage | None:  # noqa: ARG002 - told at the end
        """Nothing."""
        return None

    def reasoning_opaque(self, ids: Ids) -> Opaque:  # noqa: ARG002 - the part after the thoughts is signed
        """Nothing."""
        return {}


class VertexDialect(GeminiDialect):
    """The same as Vertex AI has it: with a token instead of a key, and a 401 without a good one."""

    def key(self, credentials: Credentials) -> str:
        """The bearer token."""
        return credentials.bearer()

    def authenticate(self, credentials: Credentials) -> None:
        """Raises Refused if there is no token, or the one that is refused."""
        if self.key(credentials) in ("", INVALID_KEY):
            message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            raise Refused(WireError(401, "UNAUTHENTICATED", message, code="ACCESS_TOKEN_EXPIRED"))


def _details(error: WireError) -> list[Json]:
    details: list[Json] = []
    if error.code is not None:
        details += [
            {
                "@type": f"{_DETAIL}ErrorInfo",
                "reason": error.code,
                "domain": _DOMAIN,
                "metadata": {"service": _SERVICE},
            },
            {"@type": f"{_DETAIL}LocalizedMessage", "locale": "en-US", "message": error.message},
        ]
    details += error.details
    if error.retry_after_s is not None:
        details.append({"@type": f"{_DETAIL}RetryInfo", "retryDelay": f"{error.retry_after_s:.9g}s"})
    return details


def _shown(choice: Choice, context: Context, ids: Ids) -> Choice:
    config = context.body.get("generationConfig") or context.body.get("generation_config") or {}
    wish = config.get("thinkingConfig") or config.get("thinking_config") or {}
    wanted = not context.invented or bool(wish.get("includeThoughts") or wish.get("include_thoughts"))
    thought = any(isinstance(part, Reasoning) for part in choice.parts)
    parts: list[Any] = [part for part in choice.parts if wanted or not isinstance(part, Reasoning)]
    called = next((place for place, part in enumerate(parts) if isinstance(part, ToolCall)), None)
    if thought and called is not None:
        signature = base64.b64encode(ids.make("signature", 48).encode()).decode()
        parts[called] = replace(parts[called], opaque={"google": {"thoughtSignature": signature}})
    told: tuple[Part, ...] = tuple(parts)
    return replace(choice, parts=told, stop_sequence=None)


def spread(value: Json) -> bytes:
    """A value as JSON over several lines, as Google writes it."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"


GEMINI: Final = GeminiDialect()
VERTEX: Final = VertexDialect()
