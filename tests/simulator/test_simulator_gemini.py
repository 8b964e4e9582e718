"""What only Google's dialect has: models in the path, keys in the URL, streams that are one JSON array."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.simulator.dialects import body_of
from yarl import URL

from waypost.simulator import Simulator

KEY = {"x-goog-api-key": "any"}
MODEL = "/v1beta/models/simulated"
ARRAY = f"{MODEL}:streamGenerateContent"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


Reply = tuple[int, str, bytes]


async def post(session: aiohttp.ClientSession, url: str, body: Any = None, headers: Any = KEY) -> Reply:
    content = json.dumps(body_of("gemini", "grüß dich") if body is None else body)
    async with session.post(URL(url, encoded=True), data=content, headers=headers) as reply:
        data = b""
        try:
            async for chunk in reply.content.iter_any():
                data += chunk
        except aiohttp.ClientError:
            pass
        return reply.status, reply.headers["content-type"], data


def said(chunks: list[dict[str, Any]]) -> str:
    candidates = [candidate for chunk in chunks for candidate in chunk["candidates"]]
    return "".join(part["text"] for candidate in candidates for part in candidate["content"].get("parts", []))


async def test_without_alt_sse_a_stream_is_one_json_array(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    status, content_type, data = await post(session, simulator.gemini_url + ARRAY)
    chunks = json.loads(data)
    assert (status, content_type) == (200, "application/json; charset=UTF-8")
    assert len(chunks) > 3
    assert said(chunks) == "You said: grüß dich"
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert data.startswith(b"[{\n")
    assert b"}\n,\r\n{" in data or b"},\r\n{" in data


@pytest.mark.parametrize("delivery", [{"write_bytes": 3}, {"line_end": "crlf"}, {"comments": True}])
async def test_the_array_is_json_however_it_is_delivered(
    session: aiohttp.ClientSession, delivery: dict[str, object]
) -> None:
    async with Simulator({"delivery": delivery}) as simulator:
        assert said(json.loads((await post(session, simulator.url + ARRAY))[2])) == "You said: grüß dich"


@pytest.mark.parametrize("kind", ["cut-2", "cut-2-event", "cut-0-character", "end-2", "malformed-2"])
async def test_an_array_that_broke_is_no_json(simulator: Simulator, session: aiohttp.ClientSession, kind: str) -> None:
    status, _, data = await post(session, f"{simulator.url}/v1beta/models/{kind}:streamGenerateContent")
    assert status == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|can't decode|Invalid|Extra"):
        json.loads(data)
    assert simulator.requests[0].outcome == "fault"


async def test_errors_of_an_array_are_items_of_an_array(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    *chunks, last = json.loads((await post(session, f"{simulator.url}/v1beta/models/error-2:streamGenerateContent"))[2])
    assert len(chunks) == 2
    assert last["error"]["status"] == "UNAVAILABLE"
    status, _, data = await post(session, f"{simulator.url}/v1beta/models/status-503:streamGenerateContent")
    assert (status, json.loads(data)[0]["error"]["code"]) == (503, 503)


async def test_a_huge_item_leaves_the_array_whole(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    url = f"{simulator.url}/v1beta/models/huge-1:streamGenerateContent"
    data = (await post(session, url))[2]
    assert len(data) > 20_000_000
    assert said(json.loads(data)) == "You said: grüß dich"


async def test_the_colon_may_be_escaped_and_the_version_be_v1(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    for path in ("/v1beta/models/simulated%3AgenerateContent", "/v1/models/simulated:generateContent"):
        status, _, data = await post(session, simulator.url + path)
        assert (status, json.loads(data)["modelVersion"]) == (200, "simulated")
    path = "/v1beta/models/tuned:mine:generateContent"
    assert json.loads((await post(session, simulator.url + path))[2])["modelVersion"] == "tuned:mine"


async def test_vertexs_paths_take_a_bearer_token(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    path = "/v1/projects/ours/locations/europe-west4/publishers/google/models/simulated:generateContent"
    status, _, data = await post(session, simulator.url + path, headers={"authorization": "Bearer ya29.any"})
    assert (status, json.loads(data)["modelVersion"]) == (200, "simulated")
    status, _, data = await post(session, simulator.url + path, headers={})
    assert (status, json.loads(data)["error"]["status"]) == (401, "UNAUTHENTICATED")


async def test_the_key_may_be_in_the_url_and_is_written_down_nowhere(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    url = f"{simulator.url}{MODEL}:generateContent?key=very-secret"
    assert (await post(session, url, headers={}))[0] == 200
    assert "very-secret" not in str(simulator.requests)
    assert (await post(session, f"{simulator.url}{MODEL}:generateContent", headers={}))[0] == 403
    status, _, data = await post(session, f"{simulator.url}{MODEL}:generateContent?key=invalid", headers={})
    error = json.loads(data)["error"]
    assert (status, error["status"], error["details"][0]["reason"]) == (400, "INVALID_ARGUMENT", "API_KEY_INVALID")


async def test_models_are_listed_in_googles_form_for_googles_clients(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    for path in ("/v1beta/models", "/v1/models"):
        async with session.get(simulator.url + path, headers=KEY) as reply:
            assert (await reply.json())["models"][0]["name"] == "models/simulated-small"
    async with session.get(f"{simulator.url}/v1beta/models/none", headers=KEY) as reply:
        assert (reply.status, (await reply.json())["error"]["status"]) == (404, "NOT_FOUND")


async def test_the_wait_is_told_in_the_body_too_and_a_days_quota_apart(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    url = f"{simulator.url}/v1beta/models/status-429-7:generateContent"
    details = json.loads((await post(session, url))[2])["error"]["details"]
    assert [detail["retryDelay"] for detail in details if detail["@type"].endswith("RetryInfo")] == ["7s"]
    url = f"{simulator.url}/v1beta/models/quota:generateContent"
    details = json.loads((await post(session, url))[2])["error"]["details"]
    assert "PerDay" in details[0]["violations"][0]["quotaId"]


async def test_a_count_and_an_embedding_refuse_a_body_that_has_nothing(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    for method in ("countTokens", "embedContent", "batchEmbedContents", "generateContent"):
        status, _, data = await post(session, f"{simulator.url}{MODEL}:{method}", body={})
        assert (method, status, json.loads(data)["error"]["status"]) == (method, 400, "INVALID_ARGUMENT")
    assert (await post(session, f"{simulator.url}{MODEL}:predict"))[0] == 404
