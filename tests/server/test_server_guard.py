"""Host, Origin and cross-origin sharing: who may talk to a server without keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from waypost.errors import OriginRefused
from waypost.server.api import create_app
from waypost.server.middleware.guard import Allowed, check

Client = Callable[..., TestClient]
LOOPBACK = ("127.0.0.1", 8000)
SITE = "http://localhost:3000"


def scope(
    host: str | None, *, origin: str | None = None, method: str = "GET", server: Any = LOOPBACK, site: str | None = None
) -> dict[str, Any]:
    given = {"host": host, "origin": origin, "sec-fetch-site": site}
    headers = [(name.encode(), value.encode()) for name, value in given.items() if value is not None]
    return {"type": "http", "method": method, "headers": headers, "server": server}


ALLOWED = Allowed(frozenset({"ai.example.com"}), frozenset({SITE}))

GOOD: list[dict[str, Any]] = [
    scope("localhost:8000"),
    scope("LOCALHOST"),
    scope("localhost."),
    scope("127.0.0.1:1"),
    scope("127.9.8.7:8000"),
    scope("[::1]:8000", server=("::1", 8000)),
    scope("ai.example.com"),
    scope("ai.example.com:443"),
    scope("ai.example.com", server=("192.168.1.5", 8000)),
    scope("localhost", server=("/run/waypost.sock", None)),
    scope("localhost", server=None),
    scope("testserver", server=("testserver", 80)),
    scope("test", server=("test", None)),
    scope("localhost:8000", origin="http://localhost:8000", method="POST"),
    scope("localhost:8000", origin=SITE, method="POST"),
    scope("localhost:8000", origin=SITE, method="POST", site="same-site"),
    scope("localhost:8000", site="cross-site"),
    scope("ai.example.com", origin="https://ai.example.com", method="POST"),
]


@pytest.mark.parametrize("good", GOOD)
def test_these_pass(good: dict[str, Any]) -> None:
    check(good, ALLOWED)


BAD: list[tuple[dict[str, Any], str]] = [
    (scope("evil.example"), "Host"),
    (scope("localhost.evil.example"), "Host"),
    (scope("evil.localhost"), "Host"),
    (scope("127.0.0.1.evil.example"), "Host"),
    (scope("192.168.1.5:8000"), "Host"),
    (scope("0.0.0.0:8000"), "Host"),
    (scope("127.1"), "Host"),
    (scope("localhost@evil.example"), "Host"),
    (scope("localhost:8000:9"), "Host"),
    (scope("localhost, evil.example"), "Host"),
    (scope(""), "Host"),
    (scope(None), "Host"),
    (scope("testserver"), "Host"),
    (scope("test", server=("testserver", 80)), "Host"),
    (scope("evil.example", server=("evil.example", 80)), "Host"),
    (scope("localhost", server=("192.168.1.5", 8000)), "Host"),
    (scope("localhost:8000", origin="null"), "Origin"),
    (scope("localhost:8000", origin=""), "Origin"),
    (scope("localhost:8000", origin="https://evil.example"), "Origin"),
    (scope("localhost:8000", origin="http://localhost:8001"), "Origin"),
    (scope("localhost:8000", origin="http://127.0.0.1:8000"), "Origin"),
    (scope("localhost:8000", origin=SITE + ".evil.example"), "Origin"),
    (scope("localhost:8000", origin="http://evil.example@localhost:8000"), "Origin"),
    (scope("localhost:8000", origin="chrome-extension://localhost:8000"), "Origin"),
    (scope("localhost:8000", method="POST", site="cross-site"), "Sec-Fetch-Site"),
]


@pytest.mark.parametrize(("bad", "param"), BAD)
def test_these_are_refused(bad: dict[str, Any], param: str) -> None:
    with pytest.raises(OriginRefused) as caught:
        check(bad, ALLOWED)
    assert caught.value.param == param


@pytest.mark.parametrize("header", ["host", "origin"])
def test_a_header_given_twice_is_refused(header: str) -> None:
    doubled = scope("localhost", origin=SITE)
    doubled["headers"] += [each for each in doubled["headers"] if each[0] == header.encode()]
    with pytest.raises(OriginRefused):
        check(doubled, ALLOWED)


ROUTES = [("GET", "/"), ("GET", "/docs"), ("GET", "/assets/docs.js"), ("GET", "/openapi.json"), ("GET", "/health")]
ROUTES += [("HEAD", "/ready"), ("GET", "/nope"), ("POST", "/api/ai/generate"), ("OPTIONS", "/api/ai/generate")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("header", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
def test_every_route_is_guarded(client: Client, scripted: Any, method: str, path: str, header: dict[str, str]) -> None:
    provider = scripted("never")
    reply = client(provider).request(method, path, headers=header)
    assert reply.status_code == 403
    assert "access-control-allow-origin" not in reply.headers
    assert provider.calls == []


async def test_httpx_as_in_fastapis_guide_works(serve: Any) -> None:
    """`ASGITransport` with base_url http://test, the form of FastAPI's guide to asynchronous tests."""
    transport = httpx.ASGITransport(app=create_app(serve()))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        assert (await http.get("/health")).status_code == 200


def preflight(method: str = "POST", origin: str = SITE) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "content-type, x-request-id",
    }


@pytest.mark.parametrize("origin", [SITE, "http://localhost:4321"])
def test_the_default_sites_may_call(client: Client, scripted: Any, origin: str) -> None:
    http = client(scripted("ok"))
    asked = http.options("/api/ai/generate", headers=preflight(origin=origin))
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == origin
    assert "content-type" in asked.headers["access-control-allow-headers"]
    reply = http.post("/api/ai/generate", json={"prompt": "p"}, headers={"origin": origin})
    assert reply.headers["access-control-allow-origin"] == origin
    assert "x-request-id" in reply.headers["access-control-expose-headers"]


def test_a_site_can_read_errors_too(client: Client) -> None:
    reply = client().post("/api/ai/generate", content=b"{", headers={"origin": SITE})
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (415, SITE)


def test_a_preflight_for_an_odd_method_is_told_in_the_envelope(client: Client) -> None:
    reply = client().options("/api/ai/generate", headers=preflight("BREW"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")


def test_the_servers_own_pages_need_no_sharing(client: Client) -> None:
    assert client().options("/api/ai/generate", headers=preflight(origin="http://testserver")).status_code == 204
