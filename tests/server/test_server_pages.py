"""/health, /ready, / and /docs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from waypost import __version__
from waypost.providers.provider import ProviderState
from waypost.server.api import create_app
from waypost.server.assets import ASSETS, page_text
from waypost.server.home import COLOURS, MEANINGS
from waypost.server.service import get_ai_service

Client = Callable[..., TestClient]
DOWN = ProviderState("unavailable", "Set OPENAI_API_KEY.")
STATUSES = ("ready", "starting", "idle", "unavailable")


def test_health_tells_version_and_uptime(client: Client) -> None:
    body = client().get("/health").json()
    assert (body["status"], body["version"]) == ("ok", __version__)
    assert 0 <= body["uptime_s"] < 60


@pytest.mark.parametrize("path", ["/health", "/ready", "/", "/docs"])
def test_head_is_get_without_the_body(client: Client, path: str) -> None:
    http = client()
    head, get = http.head(path), http.get(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("status", ["ready", "starting", "idle"])
def test_ready_needs_one_provider_of_the_default_route(client: Client, scripted: Any, status: Any) -> None:
    reply = client(scripted(state=ProviderState(status)), scripted(state=DOWN)).get("/ready")
    assert reply.status_code == 200
    assert reply.json() == {
        "status": "ready",
        "providers": {
            "first": {"status": status, "detail": "", "default_route": True},
            "second": {"status": "unavailable", "detail": "Set OPENAI_API_KEY.", "default_route": False},
        },
        "keys": {"status": "ready", "detail": ""},
        "ledger": {"status": "off", "detail": ""},
    }


def test_another_provider_does_not_make_it_ready(client: Client, scripted: Any) -> None:
    reply = client(scripted(state=DOWN), scripted()).get("/ready")
    body = reply.json()
    assert (reply.status_code, body["status"], body["error"]["code"]) == (503, "unavailable", "server_busy")
    assert body["error"]["hint"] == "Set OPENAI_API_KEY."
    assert reply.headers["retry-after"] == "5"


def test_while_draining_it_lives_and_is_not_ready(serve: Any, scripted: Any) -> None:
    app = create_app(serve(scripted()))
    app.state.lifecycle.draining = True
    http = TestClient(app)
    assert http.get("/health").status_code == 200
    ready = http.get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    refused = http.post("/api/ai/generate", json={"prompt": "p"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_busy")
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["connection"] == "close"


class Mute:
    """A double that only answers."""

    async def generate_response(self, prompt: str, **kwargs: Any) -> Any: ...


@pytest.mark.parametrize("path", ["/ready", "/"])
def test_a_double_that_tells_no_states_is_ready(serve: Any, path: str) -> None:
    app = create_app(serve())
    app.dependency_overrides[get_ai_service] = Mute
    assert TestClient(app).get(path).status_code == 200


def test_the_home_page_says_what_runs_and_where_to_go(client: Client, scripted: Any) -> None:
    page = client(scripted(), scripted(state=ProviderState("unavailable", "Get <a key>."))).get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for part in (
        __version__,
        "first",
        "second",
        "Get &lt;a key&gt;.",
        'href="/docs"',
        "http://testserver/api/ai/generate",
    ):
        assert part in page.text
    assert re.search(r"names no model goes to <code>first</code>", page.text)
    assert "$" not in page.text


def test_the_home_page_names_the_address_it_was_asked_at(client: Client) -> None:
    page = client().get("/", headers={"host": "localhost:8123"})
    assert "http://localhost:8123/api/ai/generate" in page.text


def test_every_state_has_a_colour_and_a_meaning() -> None:
    assert set(COLOURS) == set(MEANINGS) == set(STATUSES)


@pytest.mark.parametrize("path", ["/", "/docs", *(f"/assets/{name}" for name in ASSETS)])
def test_pages_use_nothing_from_elsewhere(client: Client, path: str) -> None:
    reply = client().get(path)
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    own = reply.text.replace("http://testserver", "").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]+\.", own)
    assert not re.search(r"<script>|<style|\son[a-z]+=|style=|innerHTML|eval\(", own)


@pytest.mark.parametrize("page", ["home.html", "docs.html", "docs.js", "try.js"])
def test_what_a_page_asks_for_exists(page: str) -> None:
    asked = re.findall(r'(?:"/assets/|from "\./)([a-z.]+)"', page_text(page))
    assert asked
    assert set(asked) <= set(ASSETS)
