"""Overload of Waypost itself: new requests are turned away in their dialect, whatever was admitted goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from tests.server.gated import Gated, becomes

from waypost.gateway.overload import Admission
from waypost.server.middleware.draining import limits_of
from waypost.settings import ServerSettings

GENERATE = "/api/ai/generate"
Live = Callable[[Any], AbstractContextManager[Any]]


class Streaming(threading.Thread):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.lines: list[str] = []
        self.start()

    def run(self) -> None:
        with httpx.stream("POST", self._url + GENERATE, json={"prompt": "p", "stream": True}, timeout=20) as reply:
            self.lines += reply.iter_lines()


def test_over_the_limit_new_requests_are_told_when_to_come_back(live: Live, serve: Any) -> None:
    provider = Gated(3)
    with live(serve(provider, max_in_flight=1)) as running:
        stream = Streaming(running.url)
        provider.let_go(1)
        assert becomes(lambda: provider.said == 1)
        with httpx.Client(base_url=running.url) as http:
            own = http.post(GENERATE, json={"prompt": "p"})
            assert (own.status_code, own.json()["error"]["code"]) == (503, "server_busy")
            assert int(own.headers["retry-after"]) >= 1
            assert "1 requests are in flight" in own.json()["error"]["message"]
            anthropic = http.post("/v1/messages", json={"model": "m", "max_tokens": 1, "messages": []})
            assert (anthropic.status_code, anthropic.json()["type"]) == (503, "error")
            assert "retry-after" in anthropic.headers
            for path in ("/health", "/ready", "/", "/docs", "/v1/models", "/api/admin/status"):
                assert http.get(path).status_code == 200
            assert http.delete(f"/api/ai/responses/resp_{'0' * 32}").status_code == 404
            provider.let_go(2)
            stream.join(10)
            assert "event: done" in stream.lines
            assert stream.lines.count("event: delta") == 3
            provider.let_go(3)
            assert http.post(GENERATE, json={"prompt": "p"}).status_code == 200
    assert provider.calls == 2


def test_a_body_is_not_waited_for(live: Live, serve: Any) -> None:
    """The refusal comes while the body is still to come."""
    provider = Gated(1)
    with live(serve(provider, max_in_flight=1)) as running:
        stream = Streaming(running.url)
        assert provider.running.wait(10)
        sent = threading.Event()

        def body() -> Any:
            yield b"{"
            assert sent.wait(10)

        with httpx.stream(
            "POST", running.url + GENERATE, content=_until(body(), sent), headers={"content-type": "application/json"}
        ) as reply:
            assert reply.status_code == 503
        provider.let_go(1)
        stream.join(10)


def _until(pieces: Any, sent: threading.Event) -> Any:
    yield next(pieces)
    sent.set()


@pytest.mark.parametrize("lag_s", [2.0, 30.0])
def test_a_loop_that_is_late_counts_as_overload(lag_s: float) -> None:
    now = 0.0
    admission = Admission(limits_of(ServerSettings(max_loop_lag_s=1.0)), clock=lambda: now)
    assert admission.admit() is None
    for _ in range(20):
        admission.measured(lag_s)
    assert admission.admit() is not None


def test_the_meter_runs_with_the_server(live: Live, serve: Any, scripted: Any) -> None:
    with live(serve(scripted("ok"))) as running:
        admission: Admission = running.server.config.app.state.admission
        assert becomes(lambda: admission.lag_s > 0, 5)
    assert admission.lag_s == 0.0
