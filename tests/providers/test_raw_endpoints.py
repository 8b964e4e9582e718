"""What is known of a provider's paths: which are counted, which cost nothing; nothing else is taken as free."""

from __future__ import annotations

import pytest

from waypost.providers.raw_endpoints import place_of

KNOWN = [
    ("openai", "chat/completions", "conversation", None),
    ("openai_compatible", "/v1/chat/completions/", "conversation", None),
    ("azure_openai", "deployments/mine/chat/completions", "conversation", "mine"),
    ("openai", "responses", "conversation", None),
    ("openai", "responses/compact", "conversation", None),
    ("anthropic", "v1/messages", "conversation", None),
    ("bedrock", "anthropic/v1/messages", "conversation", None),
    ("gemini", "models/gemini-2.5-flash:generateContent", "conversation", "gemini-2.5-flash"),
    ("gemini", "models/gemini-2.5-flash%3AstreamGenerateContent", "conversation", "gemini-2.5-flash"),
    ("vertex", "publishers/google/models/gemini-2.5-pro:generateContent", "conversation", "gemini-2.5-pro"),
    ("openai", "completions", "completion", None),
    ("openai", "%65mbeddings", "embedding", None),
    ("azure_openai", "deployments/e/embeddings", "embedding", "e"),
    ("gemini", "models/gemini-embedding-001:batchEmbedContents", "embedding", "gemini-embedding-001"),
    ("openai", "images/generations", "media", None),
    ("openai", "audio/transcriptions", "media", None),
    ("openai", "moderations", "free", None),
    ("openai", "files", "free", None),
    ("openai", "responses/resp_1/cancel", "free", None),
    ("anthropic", "v1/messages/count_tokens", "free", None),
    ("gemini", "models/gemini-2.5-flash:countTokens", "free", None),
]


@pytest.mark.parametrize(("kind", "path", "wanted", "model"), KNOWN)
def test_a_path_is_known_by_its_end(kind: str, path: str, wanted: str, model: str | None) -> None:
    place = place_of(kind, "POST", path)
    assert place is not None
    if wanted == "free":
        assert place.endpoint.kind == "free"
    else:
        assert (place.endpoint.kind, place.model) == (wanted, model)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("openai", "batches"),
        ("openai", "fine_tuning/jobs"),
        ("openai", "threads/thread_1/messages"),
        ("openai", "Chat/Completions"),
        ("openai", "chat/completions;x=1"),
        ("openai_compatible", "moderations"),
        ("openai_compatible", "files"),
        ("anthropic", "v1/messages/batches"),
        ("bedrock", "model/anthropic.claude/converse"),
        ("gemini", "cachedContents"),
        ("gemini", "models/veo-3:predictLongRunning"),
    ],
)
def test_what_is_in_no_table_is_not_known(kind: str, path: str) -> None:
    assert place_of(kind, "POST", path) is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["files", "batches/b", "chat/completions", "anything"])
def test_to_look_and_to_delete_cost_nothing(method: str, path: str) -> None:
    place = place_of("openai", method, path)
    assert place is not None
    assert place.endpoint.kind == "free"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_to_change_something_is_not_known(method: str) -> None:
    assert place_of("openai", method, "chat/completions") is None
