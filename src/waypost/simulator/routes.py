"""Which request goes where, as one table: method, path, dialect, endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from waypost.simulator import (
    anthropic_batches,
    conversation,
    embeddings,
    endpoints,
    openai_batches,
    openai_endpoints,
    openai_files,
    responses_endpoints,
)
from waypost.simulator.anthropic_dialect import ANTHROPIC
from waypost.simulator.azure_dialect import AZURE, AZURE_RESPONSES
from waypost.simulator.calls import call
from waypost.simulator.dialect import Dialect
from waypost.simulator.exchange import Call, Endpoint, unknown_path, wrong_method
from waypost.simulator.gemini_dialect import GEMINI, VERTEX
from waypost.simulator.openai_dialect import OPENAI
from waypost.simulator.responses_dialect import RESPONSES


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. `path` has `{name}` for a part of any characters; `dialect` None: told by the headers."""

    method: str
    path: str
    dialect: Dialect | None
    endpoint: Endpoint
    pattern: re.Pattern[str]


# The parts of a path that are not any text. A model's name may hold a colon: the method follows the last one.
_PARTS: Final[Mapping[str, str]] = {
    "version": r"(?:v1|v1beta|v1alpha)",
    "model": r"(?P<model>.+)",
    "place": r"[^/]+/locations/[^/]+/publishers/google",
    "id": r"(?P<id>[^/]+)",
    "listed": r"(?P<model>[^:]+)",
    "generate": r"(?P<method>generateContent|streamGenerateContent)",
}


def _route(method: str, path: str, dialect: Dialect | None, endpoint: Endpoint) -> Route:
    pieces = re.split(r"\{(\w+)\}", path)
    pattern = "".join(_PARTS[piece] if number % 2 else re.escape(piece) for number, piece in enumerate(pieces))
    return Route(method, path, dialect, endpoint, re.compile(pattern))


ROUTES: Final = (
    _route("POST", "/v1/chat/completions", OPENAI, conversation.chat),
    _route("POST", "/v1/responses", RESPONSES, responses_endpoints.respond),
    _route("POST", "/v1/responses/compact", RESPONSES, responses_endpoints.compact),
    _route("GET", "/v1/responses/{id}", RESPONSES, responses_endpoints.fetch),
    _route("DELETE", "/v1/responses/{id}", RESPONSES, responses_endpoints.delete),
    _route("POST", "/v1/messages", ANTHROPIC, conversation.chat),
    _route("POST", "/v1/messages/count_tokens", ANTHROPIC, endpoints.count_tokens),
    _route(
        "POST",
        "/v1/messages/batches",
        ANTHROPIC,
        call(anthropic_batches.create, max_bytes=anthropic_batches.MAX_BYTES),
    ),
    _route("GET", "/v1/messages/batches", ANTHROPIC, call(anthropic_batches.listed)),
    _route("GET", "/v1/messages/batches/{id}", ANTHROPIC, call(anthropic_batches.retrieve)),
    _route("DELETE", "/v1/messages/batches/{id}", ANTHROPIC, call(anthropic_batches.delete)),
    _route("POST", "/v1/messages/batches/{id}/cancel", ANTHROPIC, call(anthropic_batches.cancel)),
    _route("GET", "/v1/messages/batches/{id}/results", ANTHROPIC, call(anthropic_batches.results)),
    _route("POST", "/{version}/models/{model}:{generate}", GEMINI, conversation.generate),
    _route("POST", "/{version}/projects/{place}/models/{model}:{generate}", VERTEX, conversation.generate),
    _route("POST", "/{version}/projects/{place}/models/{model}:countTokens", VERTEX, endpoints.count_contents),
    _route("POST", "/{version}/models/{model}:countTokens", GEMINI, endpoints.count_contents),
    _route("POST", "/{version}/models/{model}:embedContent", GEMINI, embeddings.gemini_embedding),
    _route("POST", "/{version}/models/{model}:batchEmbedContents", GEMINI, embeddings.gemini_embeddings),
    _route("POST", "/v1/embeddings", OPENAI, embeddings.openai_embeddings),
    _route("POST", "/v1/moderations", OPENAI, openai_endpoints.moderations),
    _route("POST", "/v1/files", OPENAI, call(openai_files.upload, max_bytes=openai_files.MAX_FORM_BYTES)),
    _route("GET", "/v1/files", OPENAI, call(openai_files.listed)),
    _route("GET", "/v1/files/{id}", OPENAI, call(openai_files.retrieve)),
    _route("DELETE", "/v1/files/{id}", OPENAI, call(openai_files.delete)),
    _route("GET", "/v1/files/{id}/content", OPENAI, call(openai_files.content)),
    _route("POST", "/v1/batches", OPENAI, call(openai_batches.create)),
    _route("GET", "/v1/batches", OPENAI, call(openai_batches.listed)),
    _route("GET", "/v1/batches/{id}", OPENAI, call(openai_batches.retrieve)),
    _route("POST", "/v1/batches/{id}/cancel", OPENAI, call(openai_batches.cancel)),
    _route("POST", "/openai/deployments/{model}/chat/completions", AZURE, conversation.azure_chat),
    _route("POST", "/openai/deployments/{model}/embeddings", AZURE, embeddings.openai_embeddings),
    _route("POST", "/openai/v1/chat/completions", AZURE, conversation.chat),
    _route("POST", "/openai/v1/responses", AZURE_RESPONSES, responses_endpoints.respond),
    _route("POST", "/openai/v1/embeddings", AZURE, embeddings.openai_embeddings),
    _route("GET", "/v1/models", None, endpoints.models),
    _route("GET", "/v1/models/{model}", None, endpoints.model),
    _route("GET", "/{version}/models", GEMINI, endpoints.models),
    _route("GET", "/{version}/models/{listed}", GEMINI, endpoints.model),
)
"""The first whose path fits, and method too if there is one."""


def call_of(request: web.Request) -> Call:
    """Where the request goes."""
    fitting = [(route, found) for route in ROUTES if (found := route.pattern.fullmatch(request.path))]
    if not fitting:
        return Call(_dialect_of(request), unknown_path)
    for route, found in fitting:
        if route.method == request.method:
            return Call(route.dialect or _dialect_of(request), route.endpoint, found.groupdict())
    route, _ = fitting[0]
    return Call(route.dialect or _dialect_of(request), wrong_method)


_BY_HEADER: Final[Mapping[str, Dialect]] = {
    "x-goog-api-key": GEMINI,
    "anthropic-version": ANTHROPIC,
    "x-api-key": ANTHROPIC,
}
"""Headers that only one provider's clients send."""
_BY_PATH: Final[Mapping[str, Dialect]] = {
    "/v1/messages": ANTHROPIC,
    "/v1/responses": RESPONSES,
    "/openai/": AZURE,
    "/v1beta/": GEMINI,
    "/v1alpha/": GEMINI,
}


def _dialect_of(request: web.Request) -> Dialect:
    """Where the path does not tell."""
    by_header = (dialect for name, dialect in _BY_HEADER.items() if name in request.headers)
    by_path = (dialect for start, dialect in _BY_PATH.items() if request.path.startswith(start))
    by_query = (GEMINI for name in request.query if name == "key")
    return next((dialect for found in (by_header, by_path, by_query) for dialect in found), OPENAI)
