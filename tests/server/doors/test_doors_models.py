"""Lists of models as each vendor writes them, told apart by path and header."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

ROUTES = ["default", "to-gpt", "to-claude", "to-both", "quick"]


async def test_google_s_list_and_one_of_it(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1beta/models?pageSize=50")).json()["models"]
    assert [model["name"].removeprefix("models/") for model in listed][: len(ROUTES)] == ROUTES
    assert all("generateContent" in model["supportedGenerationMethods"] for model in listed)
    one = await http.get("/v1beta/models/to-gpt")
    assert one.json() in listed


async def test_a_target_may_be_looked_up_too(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1beta/models/claude/claude-9")
    assert (reply.status_code, reply.json()["name"]) == (200, "models/claude/claude-9")


async def test_an_unknown_one_is_google_s_404_with_the_nearest_name(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1beta/models/to-gtp")
    assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")
    assert "to-gpt" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("header", "member"), [("x-goog-api-key", "models"), ("anthropic-version", "has_more"), ("x-other", "object")]
)
async def test_the_shared_path_answers_in_the_caller_s_dialect(
    http: httpx.AsyncClient, header: str, member: str
) -> None:
    assert member in (await http.get("/v1/models", headers={header: "any"})).json()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_other_methods_are_refused_in_google_s_form(http: httpx.AsyncClient, method: str) -> None:
    reply = await http.request(method, "/v1beta/models", json={})
    error: Any = reply.json()["error"]
    assert (reply.status_code, error["code"], reply.headers["allow"]) == (405, 405, "GET, HEAD")
