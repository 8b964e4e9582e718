"""/providers/{name}/…: what goes up, what comes back, and what neither may hold."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from tests.server.gated import becomes

from waypost.app import build
from waypost.settings import Settings

KEY = "key-of-the-provider"
RAW = {"x-waypost-raw": "1"}
WHOLE, NARROW = "wp-whole-0123456789abcdef0123456789", "wp-narrow-0123456789abcdef0123456789"


EVENTS = (
    b": a comment\r\n\r\n"
    b'data:{"id": "c", "choices": [{"index": 0, "delta": {"content": "h\xc3\xa9"}}],  "odd":1.50}\r\n\r\n'
    b"event: ping\r\ndata: not JSON at all\r\n\r\n"
    b'data: {"id": "c", "choices": [], "usage": {"prompt_tokens": 1}}\n\ndata: [DONE]\n\ntail without an end'
)
"""What no codec of ours would write."""
VECTORS = b'\n{ "data" : [' + b'{"embedding":[1e-3, 2]},' * 9 + b'{}], "usage":{"prompt_tokens":2},"model":"m"}  \n'


@dataclass
class Upstream:
    """A provider that tells what it was asked, and misbehaves where its path says so."""

    url: str = ""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    answered: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        special = {
            "began": self._began,
            "early": self._early,
            "hang": self._hang,
            "pieces": self._pieces,
            "cut": self._cut,
            "wrong-key": self._wrong_key,
            "completions": self._events,
            "embeddings": self._vectors,
        }
        handler = special.get(request.path.rpartition("/")[2], self._echo)
        reply = await handler(request)
        self.answered += 1
        return reply

    async def _began(self, request: web.Request) -> web.Response:
        try:
            body = await request.content.readany()
            self.began.set()
            body += await request.content.read()
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        return web.json_response({"body": body.decode()})

    async def _early(self, _request: web.Request) -> web.Response:
        return web.Response(text="too much", status=413)

    async def _echo(self, request: web.Request) -> web.Response:
        told = {
            "method": request.method,
            "target": request.raw_path,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": (await request.read()).decode("latin-1"),
        }
        headers = {
            "x-ratelimit-remaining-requests": "7",
            "etag": '"e"',
            "set-cookie": "session=secret",
            "server": "upstream",
            "x-internal": "1",
            "keep-alive": "timeout=5",
            "access-control-allow-origin": "*",
        }
        status = int(request.query.get("status", "200"))
        location = {"location": "https://elsewhere.example/x"} if 300 <= status < 400 else {}
        return web.json_response(told, status=status, headers={**headers, **location})

    async def _hang(self, _request: web.Request) -> web.Response:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.left.set()
            raise
        return web.Response()

    async def _pieces(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"content-type": "audio/mpeg"})
        await reply.prepare(request)
        await reply.write(b"first")
        try:
            await asyncio.sleep(30 if "wait" in request.query else 0)
        except asyncio.CancelledError:
            self.left.set()
            raise
        await reply.write(b"second")
        return reply

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={} if "chunked" in request.query else {"content-length": "100"})
        await reply.prepare(request)
        await reply.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return reply

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """In pieces that follow no border of events; `left` keeps the end back until the caller has seen the rest."""
        reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await reply.prepare(request)
        for at in range(0, len(EVENTS), 17):
            await reply.write(EVENTS[at : at + 17])
            if at == 17 and "wait" in request.query:
                await asyncio.wait_for(self.began.wait(), 5)
        return reply

    async def _vectors(self, _request: web.Request) -> web.Response:
        return web.Response(body=VECTORS, content_type="application/json")

    async def _wrong_key(self, _request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status=401)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    app = web.Application(client_max_size=10_000_000, handler_args={"handler_cancellation": True})
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def settings_of(upstream: Upstream, **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "server": {"max_body_bytes": 200_000},
            "providers": {
                "own": {"kind": "openai_compatible", "api_key": KEY, "base_url": f"{upstream.url}/base/v1"},
                "claude": {"kind": "anthropic", "api_key": KEY, "base_url": upstream.url},
            },
            "routes": {"default": {"targets": ["claude"]}},
            **more,
        }
    )


Live = Callable[[Any], AbstractContextManager[Any]]


@pytest.fixture
def server(upstream: Upstream, live: Live) -> Iterator[Any]:
    with live(build(settings_of(upstream))) as running:
        yield running


@pytest.fixture
async def raw(server: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=10, headers=RAW) as client:
        yield client


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_any_method_and_content_type_goes_up(raw: httpx.AsyncClient, method: str) -> None:
    reply = await raw.request(
        method, "/providers/own/audio/speech?a=1&b=%20x", content=b"\x00\xff", headers={"content-type": "audio/mpeg"}
    )
    told = reply.json()
    assert (reply.status_code, told["method"]) == (200, method)
    assert told["target"] == "/base/v1/audio/speech?a=1&b=%20x"
    assert (told["headers"]["content-type"], told["body"]) == ("audio/mpeg", "\x00\xff")
    assert reply.headers["x-waypost-provider"] == "own"


async def test_the_head_of_a_reply_alone(raw: httpx.AsyncClient) -> None:
    reply = await raw.head("/providers/own/files")
    assert (reply.status_code, reply.content, reply.headers["etag"]) == (200, b"", '"e"')


async def test_only_listed_headers_go_up_and_never_the_caller_s_credentials(raw: httpx.AsyncClient) -> None:
    sent = {
        "authorization": "Bearer callers",
        "x-api-key": "callers",
        "x-goog-api-key": "callers",
        "cookie": "a=callers",
        "openai-organization": "callers",
        "x-forwarded-for": "callers",
        "connection": "keep-alive, x-private",
        "x-private": "callers",
        "te": "trailers",
        "accept": "text/plain",
        "range": "bytes=0-9",
        "openai-beta": "assistants=v2",
    }
    told = (await raw.get("/providers/own/files", headers=sent)).json()["headers"]
    assert "callers" not in json.dumps(told)
    assert told["authorization"] == f"Bearer {KEY}"
    assert (told["accept"], told["range"], told["openai-beta"]) == ("text/plain", "bytes=0-9", "assistants=v2")
    assert "x-waypost-raw" not in told


async def test_a_key_in_the_query_stays_here_too(raw: httpx.AsyncClient) -> None:
    told = (await raw.get("/providers/own/files?key=callers&limit=2")).json()
    assert told["target"] == "/base/v1/files?limit=2"


async def test_the_vendor_s_own_credentials_and_version_go_in(raw: httpx.AsyncClient) -> None:
    told = (await raw.get("/providers/claude/v1/files", headers={"anthropic-beta": "files-api"})).json()
    assert told["target"] == "/v1/files"
    shown = {name: told["headers"][name] for name in ("x-api-key", "anthropic-version", "anthropic-beta")}
    assert shown == {"x-api-key": KEY, "anthropic-version": "2023-06-01", "anthropic-beta": "files-api"}


async def test_only_listed_headers_come_back(raw: httpx.AsyncClient) -> None:
    headers = (await raw.get("/providers/own/files")).headers
    assert (headers["etag"], headers["x-ratelimit-remaining-requests"]) == ('"e"', "7")
    for name in ("set-cookie", "x-internal", "keep-alive", "access-control-allow-origin"):
        assert name not in headers
    assert headers.get("server") != "upstream"
    assert (headers["x-content-type-options"], headers["content-security-policy"]) == ("nosniff", "sandbox")


@pytest.mark.parametrize("status", [201, 204, 302, 404, 429, 500, 503])
async def test_the_status_is_the_provider_s(raw: httpx.AsyncClient, upstream: Upstream, status: int) -> None:
    """A redirect too: it is told and not followed, since it would take the key along."""
    reply = await raw.post(f"/providers/own/batches?status={status}", json={})
    assert reply.status_code == status
    assert reply.headers.get("location") == ("https://elsewhere.example/x" if status == 302 else None)
    assert upstream.asked == 1, "nothing is asked again: what it does is not known here"


async def test_an_error_does_not_repeat_our_key(raw: httpx.AsyncClient) -> None:
    reply = await raw.get("/providers/own/wrong-key")
    assert reply.status_code == 401
    assert reply.json()["error"]["message"] == "Incorrect API key provided: [key]"


@pytest.mark.parametrize(
    "path",
    [
        "own/../admin",
        "own/%2e%2e/admin",
        "own/a/%2e%2e%2fadmin",
        "own/a/%252e%252e/admin",
        "own//evil.example/x",
        "own/http://evil.example/x",
        "own/a%5c..%5cadmin",
        "own/a%00b",
        "own/",
    ],
)
async def test_no_path_leads_elsewhere(server: Any, upstream: Upstream, path: str) -> None:
    """Sent as it is: clients would tidy it up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"GET /providers/{path} HTTP/1.1\r\nhost: localhost\r\nx-waypost-raw: 1\r\nconnection: close\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404")), answer
    assert upstream.asked == 0


async def test_an_encoded_name_is_read_one_way_only(server: Any, upstream: Upstream) -> None:
    async with httpx.AsyncClient(base_url=server.url, headers=RAW) as client:
        for path in ("/providers%2Fown/files", "/providers/own%2Ffiles/x", "/providers/claude%2F..%2Fown/files"):
            assert (await client.get(path)).status_code in (400, 404)
    assert upstream.asked == 0


async def test_unknown_providers_are_a_404_that_lists_the_known(raw: httpx.AsyncClient) -> None:
    reply = await raw.get("/providers/nobody/files")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_path")
    assert "own, claude" in reply.json()["error"]["hint"]


async def test_a_method_that_would_show_our_key_is_refused(raw: httpx.AsyncClient, upstream: Upstream) -> None:
    assert (await raw.request("TRACE", "/providers/own/files")).status_code in (400, 405)
    assert upstream.asked == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"content-type": "text/plain"}, 403),
        ({"content-type": "multipart/form-data; boundary=x"}, 403),
        ({"content-type": "text/plain; application/json"}, 403),
        ({"x-waypost-raw": "0"}, 403),
        ({"content-type": "application/json"}, 200),
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": "text/plain", "x-waypost-raw": "1"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_without_keys_no_page_can_forge_a_call(
    server: Any, upstream: Upstream, method: str, headers: dict[str, str], status: int
) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        reply = await client.request(method, "/providers/own/files", content=b"{}", headers=headers)
    assert (reply.status_code, upstream.asked) == (status, int(status == 200))


async def test_a_page_of_another_site_is_kept_out_even_if_it_can_send_the_header(raw: httpx.AsyncClient) -> None:
    assert (await raw.get("/providers/own/files", headers={"origin": "https://evil.example"})).status_code == 403


@pytest.mark.parametrize(("declared", "size"), [(True, 200_001), (False, 200_001), (True, 199_999), (False, 199_999)])
async def test_a_body_is_bounded(raw: httpx.AsyncClient, upstream: Upstream, declared: bool, size: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, size, 50_000):
            yield b"x" * min(50_000, size - at)

    content: Any = b"x" * size if declared else pieces()
    reply = await raw.post("/providers/own/files", content=content, headers={"content-type": "video/mp4"})
    if size > 200_000:
        assert reply.status_code == 413
        assert upstream.answered == 0, "of a body without a length the provider had a part, and no end"
        # Whether the first part had left when the limit was met is a matter of speed.
        assert upstream.asked <= (0 if declared else 1)
    else:
        told = reply.json()
        assert len(told["body"]) == size
        assert ("content-length" in told["headers"]) is declared


async def test_an_upload_goes_up_as_it_comes(raw: httpx.AsyncClient, upstream: Upstream) -> None:
    """The provider has the first piece before the last is sent."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.wait_for(upstream.began.wait(), 5)
        yield b"last"

    reply = await raw.post("/providers/own/began", content=pieces(), headers={"content-type": "audio/wav"})
    assert reply.json() == {"body": "firstlast"}


async def test_an_upload_that_its_caller_leaves_is_broken_off(raw: httpx.AsyncClient, upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.wait_for(upstream.began.wait(), 5)
        raise OSError("the caller's disk failed")

    with pytest.raises(OSError, match="disk"):
        await raw.post("/providers/own/began", content=pieces(), headers={"content-type": "audio/wav"})
    await asyncio.wait_for(upstream.left.wait(), 5)


async def test_a_provider_may_answer_before_it_has_all_of_the_body(raw: httpx.AsyncClient) -> None:
    reply = await raw.post("/providers/own/early", content=b"x" * 150_000, headers={"content-type": "audio/wav"})
    assert (reply.status_code, reply.text) == (413, "too much")
    assert (await raw.get("/providers/own/files")).status_code == 200


async def test_a_reply_comes_piece_by_piece_and_leaving_ends_the_call(
    raw: httpx.AsyncClient, upstream: Upstream
) -> None:
    async with raw.stream("GET", "/providers/own/pieces?wait=1") as reply:
        assert reply.headers["content-type"] == "audio/mpeg"
        async for piece in reply.aiter_bytes():
            assert piece == b"first"
            break
    await asyncio.wait_for(upstream.left.wait(), 5)
    assert (await raw.get("/providers/own/pieces")).content == b"firstsecond"


async def test_what_is_metered_is_passed_on_byte_by_byte(raw: httpx.AsyncClient) -> None:
    """Events that we would write otherwise, or cannot read, and white space between members."""
    body = {"model": "m", "messages": [], "stream": True}
    assert (await raw.post("/providers/own/chat/completions", json=body)).content == EVENTS
    assert (await raw.post("/providers/own/embeddings", json={"model": "m", "input": "a"})).content == VECTORS


async def test_what_is_metered_is_not_held_back_for_a_whole_event(raw: httpx.AsyncClient, upstream: Upstream) -> None:
    """The second piece, which ends within the first event, is there before the provider sends the third."""
    url = "/providers/own/chat/completions?wait=1"
    async with raw.stream("POST", url, json={"model": "m", "messages": [], "stream": True}) as reply:
        come = b""
        async for piece in reply.aiter_bytes():
            come += piece
            if len(come) == 34:
                upstream.began.set()
    assert come == EVENTS


async def test_a_caller_who_leaves_before_the_reply_ends_the_call(raw: httpx.AsyncClient, upstream: Upstream) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await raw.get("/providers/own/hang", timeout=0.3)
    await asyncio.wait_for(upstream.left.wait(), 5)


@pytest.mark.parametrize("query", ["", "?chunked=1"])
async def test_a_reply_that_is_cut_is_cut_for_the_caller_too(raw: httpx.AsyncClient, query: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await raw.get(f"/providers/own/cut{query}")


async def test_no_connection_is_an_error_of_ours(upstream: Upstream, live: Live) -> None:
    provider = {"kind": "openai_compatible", "api_key": KEY, "base_url": "http://127.0.0.1:9/v1"}
    settings = settings_of(upstream, providers={"away": provider}, routes={"default": {"targets": ["away"]}})
    with live(build(settings)) as running:
        async with httpx.AsyncClient(base_url=running.url, headers=RAW) as client:
            reply = await client.get("/providers/away/files")
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "provider_unreachable")
    assert reply.json()["error"]["details"]["provider"] == "away"


async def test_the_access_log_names_provider_and_status(
    raw: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "waypost.access"):
        await raw.post("/providers/own/batches?status=404&secret=query", json={})

        def told() -> list[dict[str, Any]]:
            return [json.loads(each.getMessage()) for each in caplog.records if each.name == "waypost.access"]

        # The line is written when the last byte is on its way, which may be there first.
        assert await asyncio.to_thread(becomes, lambda: bool(told()))
    [line] = told()
    assert (line["provider"], line["status"], line["attempts"], line["outcome"]) == ("own", 404, 1, "failed")
    assert "query" not in json.dumps(line)


async def test_with_keys_they_are_asked_for_and_must_be_good_for_the_whole_provider(
    upstream: Upstream, live: Live
) -> None:
    keys = {"whole": {"key": WHOLE, "routes": ["own/*"]}, "narrow": {"key": NARROW, "routes": ["own/small"]}}
    with live(build(settings_of(upstream, keys=keys))) as running:
        async with httpx.AsyncClient(base_url=running.url) as client:
            for key, path, status in (
                (None, "/providers/own/files", 401),
                ("wrong", "/providers/own/files", 401),
                (NARROW, "/providers/own/files", 403),
                (WHOLE, "/providers/claude/files", 403),
                (WHOLE, "/providers/own/files", 200),
            ):
                headers = {"authorization": f"Bearer {key}"} if key else {}
                reply = await client.post(path, content=b"a", headers={**headers, "content-type": "text/plain"})
                assert reply.status_code == status, (key, path, reply.text)
                assert WHOLE not in reply.text
    assert upstream.asked == 1


async def test_the_official_client_uploads_a_file_and_moderates(wide: Any) -> None:
    client = AsyncOpenAI(
        base_url=f"{wide.url}/providers/gpt", api_key="any", max_retries=0, timeout=10, default_headers=RAW
    )
    async with client:
        stored = await client.files.create(file=("notes.txt", b"some notes"), purpose="assistants")
        assert (stored.filename, stored.bytes) == ("notes.txt", 10)
        judged = await client.moderations.create(input="harassment is bad")
        assert judged.results[0].flagged
    assert all(seen.status == 200 for seen in wide.simulator.requests)
