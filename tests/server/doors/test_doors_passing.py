"""Text of a provider that speaks the caller's dialect goes straight through: each event at once, whatever follows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.transport.replies import STREAM_HEAD, http_chunk

from waypost.app import build
from waypost.settings import Settings

if TYPE_CHECKING:
    from tests.transport.raw_server import RawConnection, RawServer, StartRawServer

pytest_plugins = ("tests.transport.raw_server",)

WORDS = [f" word{number}" for number in range(12)]
ASKED = {"model": "r", "messages": [{"role": "user", "content": "go"}], "stream": True}
LAST = (
    b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n',
    b"data: [DONE]\n\n",
)


def event(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


BEGIN = event({"role": "assistant", "content": ""})
TEXTS = [event({"content": word}) for word in WORDS]


@contextmanager
def house(
    live: Callable[[Any], AbstractContextManager[Any]], *servers: RawServer, **policy: Any
) -> Iterator[httpx.AsyncClient]:
    """A client of a real server whose route "r" asks these, in this order."""
    names = [f"p{number}" for number in range(len(servers))]
    settings = {
        "providers": {
            name: {"kind": "openai", "api_key": "k", "base_url": f"{server.url}/v1"}
            for name, server in zip(names, servers, strict=True)
        },
        "routes": {"r": {"targets": [f"{name}/m" for name in names], "policy": {"max_retries": 0, **policy}}},
    }
    with live(build(Settings.model_validate(settings))) as running:
        yield httpx.AsyncClient(base_url=running.url, timeout=20)


def said(text: str) -> str:
    """The words of a stream's events."""
    datas = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for data in datas for choice in data.get("choices", ()))


async def pieces(reply: httpx.Response) -> AsyncIterator[str]:
    """What comes, in whole events."""
    held = ""
    async for text in reply.aiter_text():
        held += text
        while "\n\n" in held:
            whole, _, held = held.partition("\n\n")
            yield whole + "\n\n"


class Walk:
    """A provider's stream step by step: the next event is written when the caller has the one before it."""

    def __init__(self) -> None:
        self._seen = asyncio.Event()

    async def begin(self, connection: RawConnection) -> None:
        """Up to the end of the text."""
        await connection.request()
        await connection.send(STREAM_HEAD + http_chunk(BEGIN))
        for text in TEXTS:
            self._seen.clear()
            await connection.send(http_chunk(text))
            await self._seen.wait()

    async def told_to(self, client: httpx.AsyncClient) -> str:
        """All that the caller gets."""
        got = ""
        async with client, client.stream("POST", "/v1/chat/completions", json=ASKED) as reply:
            async for piece in pieces(reply):
                got += piece
                if said(piece):
                    self._seen.set()
        return got


async def finish(connection: RawConnection) -> None:
    """A provider's whole end."""
    await connection.send(b"".join(http_chunk(each) for each in (event({}, "stop"), *LAST)) + b"0\r\n\r\n")
    await connection.until_client_leaves()


async def test_each_event_reaches_the_caller_before_the_next_one_is_written(
    raw_server: StartRawServer, live: Callable[[Any], AbstractContextManager[Any]]
) -> None:
    """And the end is the provider's, without the counts that the caller did not ask for."""
    walk = Walk()

    async def script(connection: RawConnection) -> None:
        await walk.begin(connection)
        await finish(connection)

    with house(live, await raw_server(script)) as client:
        got = await walk.told_to(client)
    assert said(got) == "".join(WORDS)
    assert got.endswith("data: [DONE]\n\n")
    assert "prompt_tokens" not in got


@pytest.mark.parametrize("cut", [b"", TEXTS[0][:40]])
async def test_a_stream_that_breaks_after_them_ends_with_an_error(
    raw_server: StartRawServer, live: Callable[[Any], AbstractContextManager[Any]], cut: bytes
) -> None:
    """Between two events, or within one, which then is not told."""
    walk = Walk()

    async def script(connection: RawConnection) -> None:
        await walk.begin(connection)
        if cut:
            await connection.send(http_chunk(cut))
        await connection.reset()

    with house(live, await raw_server(script), recover=False) as client:
        got = await walk.told_to(client)
    assert said(got) == "".join(WORDS)
    assert "[DONE]" not in got
    assert json.loads(got.split("data: ")[-1])["error"]["code"] == "provider_connection_lost"


async def test_a_stream_goes_on_after_them_with_all_that_was_sent(
    raw_server: StartRawServer, live: Callable[[Any], AbstractContextManager[Any]]
) -> None:
    """The second target begins anew: what the caller has of the first is not told twice."""
    walk = Walk()

    async def breaks(connection: RawConnection) -> None:
        await walk.begin(connection)
        await connection.reset()

    async def whole(connection: RawConnection) -> None:
        await connection.request()
        more = (event({"content": " and"}), event({"content": " more"}))
        await connection.send(STREAM_HEAD + b"".join(http_chunk(each) for each in (BEGIN, *TEXTS, *more)))
        await finish(connection)

    with house(live, await raw_server(breaks), await raw_server(whole)) as client:
        got = await walk.told_to(client)
    assert said(got) == "".join(WORDS) + " and more"
    assert got.endswith("data: [DONE]\n\n")


async def test_a_caller_who_leaves_between_them_ends_the_call(
    raw_server: StartRawServer, live: Callable[[Any], AbstractContextManager[Any]]
) -> None:
    left = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD + http_chunk(BEGIN) + http_chunk(TEXTS[0]))
        await connection.send(http_chunk(TEXTS[1]))
        await connection.until_client_leaves()
        left.set()

    with house(live, await raw_server(script)) as client:
        async with client, client.stream("POST", "/v1/chat/completions", json=ASKED) as reply:
            got = pieces(reply)
            while said(await anext(got)) != WORDS[1]:
                pass
        await asyncio.wait_for(left.wait(), 5)
