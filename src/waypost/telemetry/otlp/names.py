"""What things are called: the semantic conventions for generative AI and HTTP, and our own names beside them.

Source: OpenTelemetry semantic conventions for GenAI (spans and metrics), and for HTTP 1.41.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from waypost.telemetry.facts import AttemptFacts, RequestFacts

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FIRST_CHUNK_S: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - of a count of tokens
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
METHOD: Final = "http.request.method"
STATUS: Final = "http.response.status_code"
PATH: Final = "url.path"
FIRST_TOKEN: Final = "waypost.first_token"  # noqa: S105 - of an answer
"""An event's name."""

OTHER: Final = "_OTHER"
"""The conventions' word for an error that has none."""

VENDORS: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "openai": "openai",
    "vertex": "gcp.vertex_ai",
}
"""The conventions' word for the vendor, by a provider's kind; any other kind is its own."""
HOSTS: Final[Mapping[str, str]] = {
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
"""The same by the host that is asked, for those with OpenAI's format."""

_OPERATIONS: Final[Mapping[str, str]] = {
    "embeddings": "embeddings",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "count_tokens": "count_tokens",
    "countTokens": "count_tokens",
    "input_tokens": "count_tokens",
}
"""By how the path ends; that of all others is a conversation, but for calls that are passed through as they are."""
_CONVERSATIONS: Final = frozenset(
    {"completions", "responses", "messages", "generateContent", "streamGenerateContent", "converse", "invoke"}
)
_GEMINI_KINDS: Final = frozenset({"gemini", "vertex"})
CHAT: Final = "chat"
GENERATE_CONTENT: Final = "generate_content"
RAW: Final = "raw"


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a provider is reached. Port None: it is not known."""

    vendor: str
    address: str = ""
    port: int | None = None


def operation_of(facts: RequestFacts, attempt: AttemptFacts) -> str:
    """What the call does."""
    last = facts.path.rpartition("/")[2].rpartition(":")[2]
    named = _OPERATIONS.get(last)
    if named is not None:
        return named
    if facts.door == RAW and last not in _CONVERSATIONS:
        return RAW
    return GENERATE_CONTENT if attempt.kind in _GEMINI_KINDS else CHAT


def peer_of(peers: Mapping[str, Peer], attempt: AttemptFacts) -> Peer:
    """Whom the call asks, as far as that is known."""
    known = peers.get(attempt.provider)
    return Peer(VENDORS.get(attempt.kind, attempt.kind or attempt.provider)) if known is None else known
