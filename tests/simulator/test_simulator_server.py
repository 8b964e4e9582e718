"""The server around the answers: keys, paths, models, the ledger, and the process that `serve` is."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from waypost.errors import ConfigurationError
from waypost.simulator import Simulator, serve

OPENAI = {"authorization": "Bearer any"}
ANTHROPIC = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
HELLO: dict[str, Any] = {"model": "simulated", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def fetch(
    session: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str], **more: Any
) -> tuple[int, Any]:
    async with session.request(method, url, headers=headers, **more) as reply:
        data = await reply.read()
        return reply.status, json.loads(data) if data else None


REFUSED_KEYS: list[tuple[str, dict[str, str], int, str]] = [
    (CHAT, {}, 401, "invalid_request_error"),
    (CHAT, {"authorization": "Bearer "}, 401, "invalid_request_error"),
    (CHAT, {"authorization": "Basic any"}, 401, "invalid_request_error"),
    (CHAT, {"x-api-key": "any"}, 401, "invalid_request_error"),
    (CHAT, {"authorization": "Bearer invalid"}, 401, "invalid_request_error"),
    (MESSAGES, {"anthropic-version": "2023-06-01"}, 401, "authentication_error"),
    (MESSAGES, {"anthropic-version": "2023-06-01", "x-api-key": " "}, 401, "authentication_error"),
    (MESSAGES, {"anthropic-version": "2023-06-01", "x-api-key": "invalid"}, 401, "authentication_error"),
    (MESSAGES, {"x-api-key": "any"}, 400, "invalid_request_error"),
]


@pytest.mark.parametrize(("path", "headers", "status", "kind"), REFUSED_KEYS)
async def test_a_request_without_a_good_key_is_refused_in_the_dialect(
    simulator: Simulator, session: aiohttp.ClientSession, path: str, headers: dict[str, str], status: int, kind: str
) -> None:
    got, error = await fetch(session, "POST", simulator.url + path, headers, json=HELLO)
    assert (got, error["error"]["type"]) == (status, kind)
    assert simulator.requests[0].outcome == "refused"
    assert simulator.requests[0].status == status


async def test_keys_in_either_header_are_good_for_anthropics_format(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    for key in ({"x-api-key": "any"}, {"authorization": "Bearer any"}):
        headers = {**key, "anthropic-version": "2023-06-01"}
        assert (await fetch(session, "POST", simulator.url + MESSAGES, headers, json=HELLO))[0] == 200


async def test_the_refused_openai_key_has_its_code(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    headers = {"authorization": "Bearer invalid"}
    _, error = await fetch(session, "POST", simulator.url + CHAT, headers, json=HELLO)
    assert error["error"]["code"] == "invalid_api_key"


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", ""),
    (b"{", ""),
    (b"[]", ""),
    (b"\xff", ""),
    (json.dumps({**HELLO, "messages": []}).encode(), "messages"),
    (json.dumps({**HELLO, "messages": 3}).encode(), "messages"),
    (json.dumps({key: value for key, value in HELLO.items() if key != "model"}).encode(), "model"),
    (json.dumps({**HELLO, "temperature": "hot"}).encode(), "temperature"),
]


@pytest.mark.parametrize(("body", "field"), BAD_BODIES)
@pytest.mark.parametrize(("path", "headers"), [(CHAT, OPENAI), (MESSAGES, ANTHROPIC)])
async def test_a_wrong_body_is_refused_with_the_field_named(
    simulator: Simulator,
    session: aiohttp.ClientSession,
    path: str,
    headers: dict[str, str],
    body: bytes,
    field: str,
) -> None:
    status, error = await fetch(session, "POST", simulator.url + path, headers, data=body)
    assert (status, error["error"]["type"]) == (400, "invalid_request_error")
    assert field in error["error"]["message"] + str(error["error"].get("param"))


async def test_a_body_over_the_limit_is_refused(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    body = io.BytesIO(b'{"x": "' + b"a" * (32 * 1024 * 1024) + b'"}')
    status, error = await fetch(session, "POST", simulator.url + MESSAGES, ANTHROPIC, data=body)
    assert (status, error["error"]["type"]) == (413, "request_too_large")


async def test_unknown_paths_and_methods_are_refused_in_the_callers_dialect(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    status, error = await fetch(session, "POST", f"{simulator.url}/v1/nothing", OPENAI)
    assert (status, error["error"]["message"]) == (404, "Invalid URL (POST /v1/nothing)")
    status, error = await fetch(session, "POST", f"{simulator.url}/v1/nothing", ANTHROPIC)
    assert (status, error["error"]["type"]) == (404, "not_found_error")
    status, error = await fetch(session, "GET", simulator.url + MESSAGES, ANTHROPIC)
    assert (status, error["type"]) == (405, "error")
    status, error = await fetch(session, "GET", simulator.url + CHAT, OPENAI)
    assert (status, error["error"]["type"]) == (405, "invalid_request_error")


async def test_models_are_listed_in_the_callers_dialect(session: aiohttp.ClientSession) -> None:
    async with Simulator({"models": ["gpt-4o", "claude-sonnet-4-5"]}) as simulator:
        url = f"{simulator.url}/v1/models"
        _, listed = await fetch(session, "GET", url, OPENAI)
        assert [model["id"] for model in listed["data"]] == ["gpt-4o", "claude-sonnet-4-5"]
        assert listed["object"] == "list"
        _, listed = await fetch(session, "GET", url, ANTHROPIC)
        assert (listed["first_id"], listed["has_more"]) == ("gpt-4o", False)
        assert (await fetch(session, "GET", f"{url}/gpt-4o", OPENAI))[1]["id"] == "gpt-4o"
        status, error = await fetch(session, "GET", f"{url}/gpt-5", ANTHROPIC)
        assert (status, error["error"]["message"]) == (404, "model: gpt-5")
        assert (await fetch(session, "GET", url, {}))[0] == 401


async def test_a_model_the_script_does_not_list_is_unknown_but_faults_are_known(
    session: aiohttp.ClientSession,
) -> None:
    async with Simulator({"models": ["gpt-4o"]}) as simulator:

        async def status(model: str) -> tuple[int, str | None]:
            body = {**HELLO, "model": model}
            got, reply = await fetch(session, "POST", simulator.url + CHAT, OPENAI, json=body)
            return got, reply.get("error", {}).get("code")

        assert await status("gpt-4o") == (200, None)
        assert await status("gpt-5") == (404, "model_not_found")
        assert await status("status-503") == (503, None)


async def test_tokens_are_counted_as_the_answer_counts_them(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    question = {"model": "simulated", "messages": HELLO["messages"]}
    url = f"{simulator.url}/v1/messages/count_tokens"
    status, counted = await fetch(session, "POST", url, ANTHROPIC, json=question)
    _, answer = await fetch(session, "POST", simulator.url + MESSAGES, ANTHROPIC, json=HELLO)
    assert status == 200
    assert counted == {"input_tokens": answer["usage"]["input_tokens"]}
    assert (await fetch(session, "POST", url, ANTHROPIC, data=b"{"))[0] == 400


async def test_the_ledger_tells_what_was_seen_without_secrets(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    secret = dict.fromkeys(("cookie", "x-my-secret", "x-goog-api-key", "x-team"), "sk-secret")
    harmless = {"user-agent": "probe/1", "X-Stainless-Lang": "python", "openai-organization": "org-1"}
    headers = {"authorization": "Bearer sk-secret", **secret, **harmless}
    await fetch(session, "POST", simulator.url + CHAT, headers, json=HELLO)
    url = f"{simulator.url}/simulator/requests"
    _, told = await fetch(session, "GET", url, {})
    [entry] = told["requests"]
    assert (entry["number"], entry["method"], entry["path"], entry["dialect"]) == (1, "POST", CHAT, "openai")
    assert (entry["model"], entry["streamed"], entry["outcome"], entry["status"]) == (
        "simulated",
        False,
        "completed",
        200,
    )
    assert entry["body"] == HELLO
    for name in ("authorization", *secret):
        assert entry["headers"][name] == "***"
    assert entry["headers"].items() >= {name.lower(): value for name, value in harmless.items()}.items()
    assert entry["duration_ms"] >= 0
    assert "sk-secret" not in json.dumps(told)
    assert [one.number for one in simulator.requests] == [1]
    assert (await fetch(session, "DELETE", url, {}))[0] == 204
    assert not simulator.requests
    await fetch(session, "POST", simulator.url + CHAT, headers, json=HELLO)
    assert [one.number for one in simulator.requests] == [2]


PATHS = [("GET", "/"), ("GET", "/simulator/requests"), ("DELETE", "/simulator/requests"), ("POST", CHAT)]
REFUSED = [
    ({"host": "evil.example"}, 'does not answer to the host "evil.example"'),
    ({"host": "evil.example:8100"}, "Use 127.0.0.1 or localhost."),
    ({"host": "127.0.0.1.evil.example"}, "does not answer"),
    ({"host": "localhost@evil.example"}, "does not answer"),
    ({"origin": "http://evil.example"}, 'Pages of "http://evil.example" may not use'),
    ({"origin": "http://127.0.0.1:1"}, "may not use"),
    ({"origin": "null"}, "may not use"),
    ({"origin": "http://[evil"}, "may not use"),
]


@pytest.mark.parametrize(("headers", "told"), REFUSED)
async def test_web_pages_are_kept_out_of_every_path(
    simulator: Simulator, session: aiohttp.ClientSession, headers: dict[str, str], told: str
) -> None:
    """DNS rebinding gives a foreign Host, a page of another address a foreign Origin."""
    for method, path in PATHS:
        status, reply = await fetch(session, method, simulator.url + path, {**OPENAI, **headers}, json=HELLO)
        assert (status, reply["error"]["type"]) == (403, "origin_refused")
        assert told in reply["error"]["message"]
    assert not simulator.requests


async def test_this_machines_names_and_its_own_pages_are_let_in(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    port = simulator.url.rpartition(":")[2]
    own = f"http://localhost:{port}"
    for headers in ({"host": f"LOCALHOST:{port}", "origin": own}, {"host": f"[::1]:{port}"}, {"host": "127.0.0.1"}):
        assert (await fetch(session, "GET", f"{simulator.url}/simulator/requests", headers))[0] == 200


async def test_a_request_without_a_host_is_refused(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.url.rpartition(":")[2]))
    writer.write(b"GET /simulator/requests HTTP/1.0\r\n\r\n")
    reply = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert b" 403 " in reply.splitlines()[0]
    assert b"no Host headers" in reply


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_is_noticed(session: aiohttp.ClientSession, stream: bool) -> None:
    async with Simulator({"pacing": {"first_token_s": 30}}) as simulator:
        asked = asyncio.create_task(
            fetch(session, "POST", simulator.url + CHAT, OPENAI, json={**HELLO, "stream": stream})
        )
        async with asyncio.timeout(5):
            await simulator.request(1, ended=False)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert (await simulator.request(1)).outcome == "client_closed"


async def test_what_a_format_cannot_carry_is_in_the_ledger(session: aiohttp.ClientSession) -> None:
    async with Simulator({"rules": [{"reply": {"tool_calls": [{"name": "x", "arguments": "[not an object"}]}}]}) as (
        simulator
    ):
        await fetch(session, "POST", simulator.url + MESSAGES, ANTHROPIC, json=HELLO)
        assert simulator.requests[0].losses


async def test_another_script_can_be_used_at_any_time(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    async def said() -> str:
        _, reply = await fetch(session, "POST", simulator.url + CHAT, OPENAI, json=HELLO)
        return str(reply["choices"][0]["message"]["content"])

    assert await said() == "You said: hello"
    simulator.use({"rules": [{"reply": "something else"}]})
    assert await said() == "something else"


async def test_the_first_page_tells_where_to_go(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    _, page = await fetch(session, "GET", simulator.url, {})
    assert page["base_urls"] == {
        "openai": f"{simulator.url}/v1",
        "anthropic": simulator.url,
        "gemini": simulator.url,
    }
    assert f"POST {CHAT}" in page["endpoints"]


async def test_a_taken_port_is_named() -> None:
    async with Simulator() as simulator:
        port = int(simulator.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"Port {port} on 127.0.0.1 is taken"):
            await Simulator(port=port).start()


def test_serve_refuses_a_missing_script_before_it_listens(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        serve("127.0.0.1", 0, tmp_path / "none.yaml")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_serve_is_a_process_that_prints_its_addresses_and_ends_on_a_signal(
    session: aiohttp.ClientSession, tmp_path: Path, sent: signal.Signals
) -> None:
    """A held request does not keep it alive."""
    script = tmp_path / "script.yaml"
    script.write_text("rules: [{match: {contains: hello}, reply: from the file}]", encoding="utf-8")
    code = (
        f"from pathlib import Path; from waypost.simulator import serve; serve('127.0.0.1', 0, Path({str(script)!r}))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(script), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [(await asyncio.wait_for(process.stdout.readline(), 20)).decode() for _ in range(4)]
        found = re.search(r"base_url=(http://127\.0\.0\.1:\d+)/v1\n", lines[1])
        assert found
        assert f"base_url={found[1]}\n" in lines[2]
        _, reply = await fetch(session, "POST", found[1] + CHAT, OPENAI, json=HELLO)
        assert reply["choices"][0]["message"]["content"] == "from the file"
        silent = asyncio.create_task(
            fetch(session, "POST", found[1] + CHAT, OPENAI, json={**HELLO, "model": "silence"})
        )
        await asyncio.sleep(0.2)
        process.send_signal(sent)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        with pytest.raises(aiohttp.ClientError):
            await silent
        assert await process.stderr.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only there is all of 127/8 this machine")
async def test_only_one_address_is_listened_on_by_default(simulator: Simulator) -> None:
    """A server on every address would answer on 127.0.0.2 too."""
    port = int(simulator.url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.2", port)


async def test_a_closed_simulator_can_come_back_at_the_same_address(session: aiohttp.ClientSession) -> None:
    simulator = Simulator()
    await simulator.start()
    url = simulator.url
    await simulator.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await fetch(session, "POST", url + CHAT, OPENAI, json=HELLO)
    async with simulator:
        assert simulator.url == url
        status, _ = await fetch(session, "POST", url + CHAT, OPENAI, json={**HELLO, "model": "status-503"})
        assert status == 503


@pytest.mark.parametrize("header", ["{", "[" * 5000, "null", "\udcff"])
async def test_a_fault_header_of_any_bytes_is_refused(
    simulator: Simulator, session: aiohttp.ClientSession, header: str
) -> None:
    headers = {**OPENAI, "x-waypost-simulate": header}
    status, error = await fetch(session, "POST", simulator.url + CHAT, headers, json=HELLO)
    assert status == 400
    assert error["error"]["message"].startswith("header x-waypost-simulate: must be a mapping")


async def test_a_tool_whose_schema_is_none_is_refused(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    tool = {"type": "function", "function": {"name": "x", "parameters": {"type": "string", "minLength": "long"}}}
    body = {**HELLO, "tools": [tool], "tool_choice": "required"}
    status, error = await fetch(session, "POST", simulator.url + CHAT, OPENAI, json=body)
    assert (status, error["error"]["type"]) == (400, "invalid_request_error")
