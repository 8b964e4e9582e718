"""Azure OpenAI, OpenAI's Responses API, Bedrock and several keys, from settings to the bytes on a real socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from waypost.errors import ConfigurationError, ProviderAuthenticationError
from waypost.manager.provider import ModelProvider
from waypost.providers.registry import create_providers
from waypost.settings import Settings

if TYPE_CHECKING:
    from tests.transport.raw_server import RawConnection, Script, StartRawServer


CHAT = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hello there"},
            "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}},
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
AZURE_CHUNKS: list[dict[str, Any]] = [
    # Azure's first event tells what its filter made of the prompt, and holds no choice.
    {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "content_filter_results": {}}]},
    {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": " there"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5",
    "content": [{"type": "text", "text": "Hello there"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "gpt-5.4-mini",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello there", "annotations": []}],
        }
    ],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}


def made(**provider: Any) -> ModelProvider:
    settings = Settings.model_validate({"providers": {"ours": provider}})
    return ModelProvider(create_providers(settings)["ours"])


def answering(seen: list[bytes], *replies: bytes) -> Script:
    """Records each request and answers it with the next reply, over and over with the last."""

    async def script(connection: RawConnection) -> None:
        while True:
            seen.append(await connection.request())
            await connection.send(replies[min(len(seen), len(replies)) - 1])

    return script


def reply(body: dict[str, Any], status: str = "200 OK") -> bytes:
    from tests.transport.raw_server import http_reply

    return http_reply(json.dumps(body).encode(), status=status, headers="content-type: application/json\r\n")


def stream(*events: bytes) -> bytes:
    from tests.transport.raw_server import STREAM_HEAD, http_chunk

    return STREAM_HEAD + http_chunk(b"".join(b"data: %b\n\n" % event for event in events)) + http_chunk(b"")


def head_of(request: bytes) -> list[str]:
    return request.partition(b"\r\n\r\n")[0].decode().lower().splitlines()


def body_of(request: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.partition(b"\r\n\r\n")[2])
    return body


@pytest.mark.parametrize(
    ("suffix", "api_version", "target"),
    [
        ("", None, "/openai/v1/chat/completions"),
        ("/openai/v1/", None, "/openai/v1/chat/completions"),
        ("", "2024-10-21", "/openai/deployments/our-deployment/chat/completions?api-version=2024-10-21"),
        ("/openai", "2024-10-21", "/openai/deployments/our-deployment/chat/completions?api-version=2024-10-21"),
    ],
)
async def test_azure_by_both_of_its_interfaces(
    raw_server: StartRawServer, suffix: str, api_version: str | None, target: str
) -> None:
    seen: list[bytes] = []
    server = await raw_server(answering(seen, reply(CHAT)))
    provider = made(
        kind="azure_openai",
        base_url=server.url + suffix,
        api_version=api_version,
        api_key="azure-key-123",
        default_model="our-deployment",
    )
    answer = await provider.generate_response("hello")
    await provider.close()
    assert answer.content == "Hello there"
    assert seen[0].startswith(f"POST {target} HTTP/1.1\r\n".encode())
    assert "api-key: azure-key-123" in head_of(seen[0])
    assert not [line for line in head_of(seen[0]) if line.startswith("authorization")]
    assert body_of(seen[0])["model"] == "our-deployment"


async def test_azures_streams_begin_with_its_filters_word_and_are_whole(raw_server: StartRawServer) -> None:
    common = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    events = [json.dumps({**common, **chunk}).encode() for chunk in AZURE_CHUNKS]
    server = await raw_server(answering([], stream(*events, b"[DONE]")))
    provider = made(kind="azure_openai", base_url=server.url, api_key="azure-key-123", default_model="d")
    assert "".join([piece async for piece in provider.stream_response("hello")]) == "Hello there"
    await provider.close()


async def test_azures_refusal_of_a_key_is_told_as_such(raw_server: StartRawServer) -> None:
    body = {"error": {"code": "401", "message": "Access denied due to invalid subscription key azure-key-123."}}
    server = await raw_server(answering([], reply(body, "401 Unauthorized")))
    provider = made(kind="azure_openai", base_url=server.url, api_key="azure-key-123", default_model="d")
    with pytest.raises(ProviderAuthenticationError) as caught:
        await provider.generate_response("hello")
    await provider.close()
    assert "azure-key-123" not in str(caught.value)


async def test_openai_by_its_responses_api(raw_server: StartRawServer) -> None:
    seen: list[bytes] = []
    server = await raw_server(answering(seen, reply(RESPONSE)))
    provider = made(kind="openai", wire="responses", base_url=f"{server.url}/v1", api_key="openai-key-123")
    answer = await provider.generate_response("hello", max_tokens=20)
    await provider.close()
    assert (answer.content, answer.provider) == ("Hello there", "ours")
    assert seen[0].startswith(b"POST /v1/responses HTTP/1.1\r\n")
    assert "authorization: bearer openai-key-123" in head_of(seen[0])
    sent = body_of(seen[0])
    assert sent["max_output_tokens"] == 20
    assert "messages" not in sent


@pytest.mark.parametrize(
    ("wire", "answer", "target", "header"),
    [
        ("anthropic", MESSAGE, "/anthropic/v1/messages", "anthropic-version: 2023-06-01"),
        ("chat", CHAT, "/openai/v1/chat/completions", ""),
        ("responses", RESPONSE, "/openai/v1/responses", ""),
    ],
)
async def test_bedrock_by_each_of_its_interfaces(
    raw_server: StartRawServer, wire: str, answer: dict[str, Any], target: str, header: str
) -> None:
    seen: list[bytes] = []
    server = await raw_server(answering(seen, reply(answer)))
    provider = made(
        kind="bedrock",
        region="eu-central-1",
        wire=wire,
        base_url=server.url,
        api_key="bedrock-key-123",
        default_model="anthropic.claude-haiku-4-5",
    )
    assert (await provider.generate_response("hello")).content == "Hello there"
    await provider.close()
    assert seen[0].startswith(f"POST {target} HTTP/1.1\r\n".encode())
    assert "authorization: bearer bedrock-key-123" in head_of(seen[0])
    assert not header or header in head_of(seen[0])
    assert body_of(seen[0])["model"] == "anthropic.claude-haiku-4-5"


def test_without_a_key_bedrock_names_awss_own_variable() -> None:
    settings = Settings.model_validate({"providers": {"ours": {"kind": "bedrock", "region": "eu-central-1"}}})
    state = create_providers(settings)["ours"].state()
    assert state.status == "unavailable"
    assert "AWS_BEARER_TOKEN_BEDROCK" in state.detail


async def test_several_keys_are_used_in_turn(raw_server: StartRawServer, tmp_path: Path) -> None:
    seen: list[bytes] = []
    server = await raw_server(answering(seen, reply(CHAT)))
    file = tmp_path / "keys"
    file.write_text("# ours\nfile-key-1\nfile-key-2\n")
    file.chmod(0o600)
    for keys in ({"api_keys": ["list-key-1", "list-key-2"]}, {"api_key_file": str(file)}):
        provider = made(kind="openai", base_url=f"{server.url}/v1", **keys)
        for _ in range(3):
            await provider.generate_response("hello")
        await provider.close()
    used = [line.rpartition(" ")[2] for request in seen for line in head_of(request) if line.startswith("authoriz")]
    assert used == [
        *["list-key-1", "list-key-2", "list-key-1"],
        *["file-key-1", "file-key-2", "file-key-1"],
    ]


def test_a_file_of_keys_is_read_when_the_providers_are_made_and_then_again(tmp_path: Path) -> None:
    """So that a reload of the settings sees new keys, and a bad file is told before anything changes."""
    file = tmp_path / "keys"
    file.write_text("key-1\n")
    file.chmod(0o600)
    settings = Settings.model_validate({"providers": {"ours": {"kind": "openai", "api_key_file": str(file)}}})
    create_providers(settings)
    file.write_text("not a key\n")
    with pytest.raises(ConfigurationError, match="holds a character in line 1"):
        create_providers(settings)
