"""Gemini's paths over HTTP as its clients call them: model and method in the URL, errors and streams in its form."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from waypost.codecs.sse import SseDecoder

ROUTES = pytest.mark.parametrize(("route", "model"), [("to-gpt", "gpt-simulated"), ("to-claude", "claude-simulated")])
PREFIXES = pytest.mark.parametrize("prefix", ["/v1beta/models/", "/v1/models/"])
ASKED: Any = {
    "contents": [{"role": "user", "parts": [{"text": "one two three"}]}],
    "generationConfig": {"maxOutputTokens": 50},
}
TOOLS = [
    {
        "functionDeclarations": [
            {
                "name": "get_weather",
                "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
            }
        ]
    }
]


def text_of(body: Any) -> str:
    return "".join(part.get("text", "") for part in body["candidates"][0]["content"]["parts"])


@ROUTES
@PREFIXES
@pytest.mark.parametrize("colon", [":", "%3A"])
async def test_a_whole_answer(http: httpx.AsyncClient, prefix: str, colon: str, route: str, model: str) -> None:
    reply = await http.post(f"{prefix}{route}{colon}generateContent", json=ASKED)
    body = reply.json()
    assert (reply.status_code, text_of(body)) == (200, "You said: one two three")
    assert (body["modelVersion"], body["candidates"][0]["finishReason"]) == (model, "STOP")
    assert body["usageMetadata"]["totalTokenCount"] > 0
    assert reply.headers["x-waypost-provider"] == route.removeprefix("to-")


@ROUTES
@PREFIXES
async def test_a_stream(http: httpx.AsyncClient, prefix: str, route: str, model: str) -> None:
    reply = await http.post(f"{prefix}{route}:streamGenerateContent?alt=sse", json=ASKED)
    chunks = [json.loads(event.data) for event in SseDecoder().feed(reply.content)]
    assert "".join(text_of(chunk) for chunk in chunks) == "You said: one two three"
    assert {chunk["modelVersion"] for chunk in chunks} == {model}
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None] * (len(chunks) - 1) + ["STOP"]
    assert reply.headers["content-type"].startswith("text/event-stream")


async def test_a_target_may_be_named_with_its_provider(http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1beta/models/claude/claude-9:generateContent", json=ASKED)
    assert reply.json()["modelVersion"] == "claude-9"


@ROUTES
async def test_a_tool_loop(http: httpx.AsyncClient, route: str, model: str) -> None:
    contents = [{"role": "user", "parts": [{"text": "get_weather please"}]}]
    path = f"/v1beta/models/{route}:generateContent"
    asked: Any = {"contents": contents, "tools": TOOLS, "generationConfig": {"maxOutputTokens": 50}}
    [part] = (await http.post(path, json=asked)).json()["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["name"] == "get_weather"
    assert part["functionCall"]["args"] == {"city": "get_weather please"}
    result = {"name": "get_weather", "id": part["functionCall"].get("id"), "response": {"result": "21 degrees"}}
    asked["contents"] += [
        {"role": "model", "parts": [part]},
        {"role": "user", "parts": [{"functionResponse": result}]},
    ]
    answer = (await http.post(path, json=asked)).json()
    assert "21 degrees" in text_of(answer)
    assert answer["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize(
    ("path", "status", "name", "words"),
    [
        ("/v1beta/models/to-gpt:streamGenerateContent?alt=xml", 400, "INVALID_ARGUMENT", "alt=sse"),
        ("/v1beta/models/to-gpt:dream", 404, "NOT_FOUND", "generateContent, streamGenerateContent"),
        ("/v1/models/to-gpt:embedText", 404, "NOT_FOUND", "embedContent, batchEmbedContents"),
        ("/v1/models/to-claude:embedContent", 422, "INVALID_ARGUMENT", "embeddings"),
        ("/v1beta/models/to-gpt", 404, "NOT_FOUND", "generateContent"),
        ("/v1beta/models/to-gtp:generateContent", 404, "NOT_FOUND", "to-gpt"),
        ("/v1beta/nothing", 404, "NOT_FOUND", "/v1beta/nothing"),
        ("/v1beta/models/gpt/status-400:generateContent", 400, "INVALID_ARGUMENT", ""),
        ("/v1beta/models/gpt/status-429:generateContent", 429, "RESOURCE_EXHAUSTED", ""),
        ("/v1beta/models/claude/status-503:streamGenerateContent?alt=sse", 503, "UNAVAILABLE", ""),
    ],
)
async def test_errors_are_in_googles_form(
    http: httpx.AsyncClient, path: str, status: int, name: str, words: str
) -> None:
    reply = await http.post(path, json=ASKED)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["status"]) == (status, status, name)
    assert words in error["message"]


@ROUTES
async def test_a_stream_that_breaks_ends_with_an_error(
    http: httpx.AsyncClient, house: Any, route: str, model: str
) -> None:
    house.simulator.use({"rules": [{"fault": {"cut_after_events": 5}}]})
    reply = await http.post(f"/v1beta/models/{route}:streamGenerateContent?alt=sse", json=ASKED)
    *chunks, last = [json.loads(event.data) for event in SseDecoder().feed(reply.content)]
    assert chunks
    assert all("finishReason" not in chunk["candidates"][0] for chunk in chunks)
    assert last["error"]["code"] == 502
