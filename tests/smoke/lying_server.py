"""A server that answers as Waypost does, but for one lie: what a smoke test is there to find."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.test_utils import TestServer

Answer: TypeAlias = Callable[[web.Request, Mapping[str, Any]], web.Response]
"""What is answered to a request with that body."""
KEY = "wp_the-right-one"
ADMIN_KEY = "wpa_the-right-one"
STREAM_TYPE = "text/event-stream"


def as_json(value: Mapping[str, Any], status: int = 200, **headers: str) -> web.Response:
    return web.json_response(value, status=status, headers=headers)


def refused(status: int, code: str, **headers: str) -> web.Response:
    return as_json({"error": {"code": code, "message": f"refused: {code}"}}, status, **headers)


def events(*told: tuple[str, Mapping[str, Any]]) -> web.Response:
    """A stream of /api/ai/generate."""
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in told)
    return web.Response(text=text, content_type=STREAM_TYPE)


def chunks(*data: str) -> web.Response:
    """A stream of /v1/chat/completions."""
    return web.Response(text="".join(f"data: {each}\n\n" for each in data), content_type=STREAM_TYPE)


def chunk(text: str, reason: str | None = None) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


START, TEXT, DONE = ("start", {"id": "1"}), ("text", {"text": "Hello."}), ("done", {"finish_reason": "stop"})


class HonestServer:
    """Answers every check as a good server would. `lies` are answers by method and path that are given instead."""

    def __init__(self, lies: Mapping[str, Answer]) -> None:
        self._lies = lies
        self.asked_with_limited_key = 0
        self.revoked: list[str] = []

    async def on_expect(self, request: web.Request) -> None:
        """An announced body is not asked for: the handler answers first."""
        if "continue" in self._lies and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("expect") and "continue" in self._lies:
            await request.read()
        if request.headers.get("expect"):
            return self._given("huge", request, {}) or refused(413, "body_too_large")
        body = await request.json() if request.can_read_body else {}
        place = f"{request.method} {request.path}" + (" stream" if body.get("stream") else "")
        if (lie := self._given(place, request, body)) is not None:
            return lie
        return self._honest(place, request, body)

    def _given(self, place: str, request: web.Request, body: Mapping[str, Any]) -> web.Response | None:
        lie = self._lies.get(place)
        return None if lie is None else lie(request, body)

    def _honest(self, place: str, request: web.Request, body: Mapping[str, Any]) -> web.Response:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if place not in ("GET /health", "GET /ready") and key not in (KEY, ADMIN_KEY, "wp_limited"):
            return refused(401, "authentication_required")
        if key == "wp_limited":
            self.asked_with_limited_key += 1
            if self.asked_with_limited_key > 1:
                return refused(429, "rate_limit_exceeded", **{"retry-after": "30"})
        if request.method == "DELETE":
            self.revoked.append(request.path)
        answers: Mapping[str, web.Response] = {
            "GET /health": as_json({"status": "ok", "version": "1.2.3", "uptime_s": 1}),
            "GET /ready": as_json({"status": "ready", "providers": {"a": {"status": "ready"}}}),
            "POST /api/ai/generate": as_json({"content": "Hello.", "finish_reason": "stop", "attempts": []}),
            "POST /api/ai/generate stream": events(START, TEXT, DONE),
            "POST /v1/chat/completions stream": chunks(chunk("Hello."), chunk("", "stop"), "[DONE]"),
            "POST /api/ai/analyze": as_json({"job_id": "job_1", "url": "/api/ai/jobs/job_1"}, 202),
            "GET /api/ai/jobs/job_1": as_json(
                {"id": "job_1", "state": "succeeded", "result": {"results": {"analysis": {"status": "complete"}}}}
            ),
            "GET /v1/models": as_json({"data": []}),
            "GET /api/admin/projects": as_json({"items": [{"id": "project_1", "name": "smoke-test"}]}),
            "POST /api/admin/keys": as_json({"id": "key_1", "key": "wp_limited"}, 201),
            "DELETE /api/admin/keys/key_1": as_json({}),
            "GET /metrics": web.Response(text='# HELP x\nwaypost_build_info{version="1.2.3"} 1.0\n'),
        }
        return answers.get(place) or refused(404, "unknown_path")


@asynccontextmanager
async def lying(lies: Mapping[str, Answer]) -> AsyncIterator[tuple[str, HonestServer]]:
    """Its address, and what it saw."""
    served = HonestServer(lies)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer, expect_handler=served.on_expect)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/"), served
