"""Azure's manners around OpenAI's formats: the key's header, errors of the gateway before the model, content filters.

Source: learn.microsoft.com, Azure OpenAI REST API reference; content filtering.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from uuid import UUID

from waypost.chat import Json, Response
from waypost.codecs.sse import encode_event
from waypost.simulator.credentials import INVALID_KEY, Credentials
from waypost.simulator.details import Detail, Members, openai_details
from waypost.simulator.dialect import Head, Ids, Refused, WireError, dump
from waypost.simulator.faults import ErrorName
from waypost.simulator.openai_dialect import ERRORS as OPENAI_ERRORS
from waypost.simulator.openai_dialect import LIMITS, OpenAIDialect
from waypost.simulator.responses_dialect import ResponsesDialect

_SAFE: Final = {"filtered": False, "severity": "safe"}
_FILTERS: Final = {"hate": _SAFE, "self_harm": _SAFE, "sexual": _SAFE, "violence": _SAFE}
_PROMPT_FILTERS: Final = [{"prompt_index": 0, "content_filter_results": _FILTERS}]
_OPENING: Final = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": _PROMPT_FILTERS,
}

ERRORS: Final[Mapping[ErrorName, WireError]] = {
    **OPENAI_ERRORS,
    "authentication": WireError(
        401,
        "",
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
        "active subscription and use a correct regional API endpoint for your resource.",
        code="401",
    ),
    "not_found": WireError(404, "", "The API deployment for this resource does not exist.", code="DeploymentNotFound"),
    "rate_limit": WireError(
        429, "", "Requests to the ChatCompletions_Create Operation have exceeded the call rate limit.", code="429"
    ),
    "content_policy": replace(
        OPENAI_ERRORS["content_policy"],
        message="The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        code="content_filter",
        param="prompt",
    ),
}
"""An error without a type is of the gateway before the model, which writes a code and a message only."""


class _Azure:
    """What holds for each of OpenAI's formats here."""

    errors = ERRORS

    def key(self, credentials: Credentials) -> str:
        """From `api-key`, or a bearer token of Entra ID."""
        return credentials.header("api-key") or credentials.bearer()

    def authenticate(self, credentials: Credentials) -> None:
        """Raises Refused if there is no key, or the one that is refused."""
        if self.key(credentials) in ("", INVALID_KEY):
            raise Refused(ERRORS["authentication"])

    def request_id(self, ids: Ids) -> str:
        """A UUID."""
        return str(UUID(ids.hexadecimal("", 32)))

    def headers(self, head: Head) -> dict[str, str]:
        """The id, of Azure's gateway too, and what is left of the limits."""
        return {
            "x-request-id": head.request_id,
            "apim-request-id": head.request_id,
            "x-ms-region": "Simulated",
            **{
                f"x-ratelimit-remaining-{what}": "0" if head.is_limited else str(limit - head.used % limit)
                for what, limit in LIMITS.items()
            },
        }

    def error_body(self, error: WireError, request_id: str) -> bytes:  # noqa: ARG002 - the id is in a header only
        """The JSON body of an error reply."""
        told: dict[str, Json] = {"code": error.code, "message": error.message}
        if error.type:
            told |= {"type": error.type, "param": error.param}
        if error.code == "content_filter":
            violation = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _FILTERS}
            told |= {"status": error.status, "innererror": violation}
        return dump({"error": told})

    def unknown_path(self, method: str, path: str) -> WireError:  # noqa: ARG002 - not told
        """No such endpoint."""
        return WireError(404, "", "Resource not found", code="404")

    def unknown_model(self, model: str) -> WireError:  # noqa: ARG002 - not told
        """No such deployment."""
        return ERRORS["not_found"]


def azure_details(value: Members, response: Response) -> None:
    """OpenAI's, and the verdicts of the content filters."""
    openai_details(value, response)
    is_whole = value.get("object") == "chat.completion"
    if is_whole:
        value["prompt_filter_results"] = _PROMPT_FILTERS
    for choice in value.get("choices") or ():
        judged = is_whole or bool(choice.get("delta", {}).get("content"))
        choice["content_filter_results"] = _FILTERS if judged else {}


class AzureDialect(_Azure, OpenAIDialect):
    """`POST /openai/deployments/{deployment}/chat/completions` and `/openai/v1/chat/completions`."""

    opening = encode_event(dump(_OPENING))
    details: Detail | None = staticmethod(azure_details)


class AzureResponsesDialect(_Azure, ResponsesDialect):
    """`POST /openai/v1/responses`."""


AZURE: Final = AzureDialect()
AZURE_RESPONSES: Final = AzureResponsesDialect()
