"""The real model in real child processes: started once, watched, started again after a back-off, never left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from waypost.errors import ModelError
from waypost.local.catalogue import SMOLLM2_135M_INSTRUCT
from waypost.local.keeper import KeeperLimits
from waypost.local.process import LONGEST_WAIT_S, LocalEndpoint, LocalModelOptions, LocalModelServer
from waypost.local.store import ModelStore

Script = Callable[..., subprocess.Popen[str]]
Ends = Callable[[int, float], bool]
Serve = Callable[..., LocalModelServer]

QUICK = KeeperLimits(health_interval_s=0.3, health_timeout_s=0.3)
NAME = SMOLLM2_135M_INSTRUCT.name

PARENT = """
import asyncio, sys, time
from pathlib import Path
from waypost.local.process import LocalModelOptions, LocalModelServer
from waypost.local.store import ModelStore

async def main():
    server = LocalModelServer(LocalModelOptions(), ModelStore(Path(sys.argv[1])))
    started = asyncio.ensure_future(server.endpoint())
    if sys.argv[2] == "ready":
        await started
    while server.pid is None:
        await asyncio.sleep(0.01)
    print(server.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, wait_s: float) -> None:
        """As far as whoever sleeps can tell."""
        self.now_s += wait_s


@pytest.fixture
async def serve(real_store: ModelStore) -> AsyncIterator[Serve]:
    """Make servers that are closed at the end of the test."""
    servers: list[LocalModelServer] = []

    def make(model: str = NAME, store: ModelStore = real_store, **arguments: Any) -> LocalModelServer:
        names = ("limits", "context_tokens", "parallel", "threads", "backoff_first_s", "backoff_limit_s")
        options = {name: arguments.pop(name) for name in names if name in arguments}
        servers.append(LocalModelServer(LocalModelOptions(model, **options), store, **arguments))
        return servers[-1]

    yield make
    for server in servers:
        await server.close()


@pytest.fixture
def unloadable(tmp_path: Path) -> Path:
    """A file with a sound head and nothing sound after it, which only llama.cpp can find out."""
    path = tmp_path / "unloadable.gguf"
    path.write_bytes(b"GGUF\3\0\0\0" + b"\1\0\0\0\0\0\0\0" * 2 + b"\xff" * 4096)
    return path


async def _chat(endpoint: LocalEndpoint, prompt: str, **fields: Any) -> tuple[int, Any]:
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 24, "temperature": 0, **fields}
    headers = {"authorization": f"Bearer {endpoint.api_key}"}
    url = endpoint.base_url + "/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as response:
        return response.status, await response.json()


def _status(server: LocalModelServer) -> str:
    return server.state.status


def _pid(server: LocalModelServer) -> int:
    assert server.pid is not None
    return server.pid


async def _until(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.01)


async def test_it_answers_under_its_own_name_and_wants_its_key(serve: Serve) -> None:
    server = serve()
    assert _status(server) == "idle"
    endpoint = await server.endpoint()
    assert _status(server) == "ready"
    status, reply = await _chat(endpoint, "What is the capital of France?")
    assert status == 200
    assert "Paris" in reply["choices"][0]["message"]["content"]
    assert reply["model"] == NAME
    wrong = LocalEndpoint(endpoint.base_url, endpoint.api_key[:-1])
    status, reply = await _chat(wrong, "Hello")
    assert status == 401
    assert endpoint.api_key not in repr(endpoint)


async def test_the_catalogues_sampling_holds_until_the_caller_sends_other_values(serve: Serve) -> None:
    endpoint = await serve(context_tokens=512, parallel=3).endpoint()
    url, headers = endpoint.base_url, {"authorization": f"Bearer {endpoint.api_key}"}
    async with aiohttp.ClientSession() as session, session.get(url + "/props", headers=headers) as response:
        properties = await response.json()
    settings = properties["default_generation_settings"]
    sampling = SMOLLM2_135M_INSTRUCT.sampling
    assert settings["params"]["temperature"] == pytest.approx(sampling.temperature)
    assert settings["params"]["top_p"] == pytest.approx(sampling.top_p)
    assert settings["params"]["dry_multiplier"] == pytest.approx(sampling.dry_multiplier)
    assert settings["n_ctx"] == 512
    assert properties["total_slots"] == 3
    replies = [await _chat(endpoint, "Say a number", temperature=2.0, seed=seed) for seed in range(4)]
    assert len({reply["choices"][0]["message"]["content"] for _, reply in replies}) > 1


async def test_the_catalogues_template_takes_every_kind_of_message(serve: Serve) -> None:
    """Content in parts, none at all beside a tool call, a tool's result, and a system message of the caller's own."""
    endpoint = await serve().endpoint()
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": [{"type": "text", "text": "Look."}, {"type": "text", "text": "Now."}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "It rains."},
        {"role": "user", "content": "Well?"},
    ]
    status, reply = await _chat(endpoint, "", messages=messages)
    assert status == 200, reply
    assert reply["choices"][0]["message"]["content"]


async def test_callers_at_the_same_time_share_one_start_and_one_may_give_up(serve: Serve) -> None:
    server = serve()
    calls = [asyncio.ensure_future(server.endpoint()) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert _status(server) == "starting"
    calls[0].cancel()
    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert len({str(other) for other in others}) == 1
    assert isinstance(others[0], LocalEndpoint)
    assert len(_children()) == 1


def _children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "waypost.local.child" in child.cmdline()]


def test_one_child_serves_event_loops_one_after_another(real_store: ModelStore) -> None:
    """The thread that first asked, and its loop, are gone when the second loop asks."""
    server = LocalModelServer(LocalModelOptions(), real_store)
    thread = threading.Thread(target=lambda: asyncio.run(_answer(server)))
    thread.start()
    thread.join(20)
    pid = server.pid
    asyncio.run(_answer(server))
    assert server.pid == pid
    asyncio.run(server.close())


async def _answer(server: LocalModelServer) -> None:
    status, _ = await _chat(await server.endpoint(), "Hello", max_tokens=1)
    assert status == 200


async def test_a_request_waits_for_a_short_back_off_of_a_killed_child(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a second at first; the log has a line for each start and for the end."""
    caplog.set_level(logging.INFO, "waypost.local")
    clock = Clock()
    server = serve(clock=clock, jitter=lambda: 1.0, sleep=clock.sleep)
    await server.endpoint()
    pid = _pid(server)
    os.kill(pid, signal.SIGKILL)
    await _until(lambda: _status(server) == "unavailable")
    calls = await asyncio.gather(*(server.endpoint() for _ in range(3)))
    assert clock.now_s == 0.5
    assert len({call.base_url for call in calls}) == 1
    assert (await _chat(calls[0], "Hello"))[0] == 200
    await server.close()
    started, ended, again = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert started == ("INFO", f"The local model {NAME} is loaded and runs as process {pid}.")
    assert ended[0] == "WARNING"
    assert f"(process {pid}) has ended: its process was ended by SIGKILL" in ended[1]
    assert again[0] == "INFO"


async def test_why_a_child_ended_is_told_to_who_noticed_first(serve: Serve) -> None:
    """The connection breaks a moment before the end of the process is known."""
    server = serve()
    await server.endpoint()
    before = server.endings
    assert await server.ending_after(before, 0.05) is None
    os.kill(_pid(server), signal.SIGKILL)
    reason = await server.ending_after(before, 5)
    assert reason is not None
    assert "SIGKILL" in reason
    assert await server.ending_after(before, 0) == reason
    assert await server.ending_after(server.endings, 0) is None


async def test_a_damaged_model_is_not_started_and_one_fetched_anew_is(
    serve: Serve, tmp_path: Path, real_store: ModelStore
) -> None:
    """The file has its right size and header, and four other bytes in the middle."""
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / f"{NAME}.gguf"
    shutil.copyfile(real_store.path_of(NAME), path)
    with path.open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"XXXX")
    server = serve(store=ModelStore(folder))
    assert _status(server) == "idle"
    for _ in range(2):
        with pytest.raises(ModelError, match=r"is damaged: its SHA-256 is .*waypost models pull .* --force"):
            await server.endpoint()
    assert server.pid is None
    assert _status(server) == "unavailable"
    path.unlink()
    path.symlink_to(real_store.path_of(NAME))
    assert (await _chat(await server.endpoint(), "Hello"))[0] == 200


async def test_a_killed_child_is_started_again_after_a_back_off_too_long_to_wait_for(serve: Serve) -> None:
    clock = Clock()
    server = serve(clock=clock, jitter=lambda: 1.0, backoff_first_s=LONGEST_WAIT_S + 0.5)
    before, pid = await server.endpoint(), _pid(server)
    os.kill(pid, signal.SIGKILL)
    await _until(lambda: _status(server) == "unavailable")
    with pytest.raises(ModelError, match=r"ended by SIGKILL.*started again at the first request after 2\.5 s"):
        await server.endpoint()
    clock.now_s += 2.5
    assert _status(server) == "idle"
    after = await server.endpoint()
    assert _pid(server) != pid
    assert (await _chat(after, "Hello"))[0] == 200
    assert after.api_key == before.api_key


async def test_the_back_off_doubles_to_its_limit_and_starts_anew_after_a_run_that_lasted(serve: Serve) -> None:
    clock = Clock()
    limits = KeeperLimits(health_interval_s=0.2)
    server = serve(clock=clock, jitter=lambda: 1.0, limits=limits, backoff_limit_s=1.5)
    waits = []
    for lasts in (False, False, False, True):
        await server.endpoint()
        if lasts:
            await asyncio.sleep(0.3)
        os.kill(_pid(server), signal.SIGKILL)
        await _until(lambda: _status(server) == "unavailable")
        waits.append(float(server.state.detail.split("after ")[1].split(" s")[0]))
        clock.now_s += 30
    assert waits == [0.5, 1.0, 1.5, 0.5]


async def test_a_child_that_hangs_is_found_and_ended(serve: Serve, ends: Ends) -> None:
    server = serve(limits=QUICK, jitter=lambda: 0.0)
    await server.endpoint()
    pid = _pid(server)
    await asyncio.sleep(0.5)
    assert server.pid == pid, "a child that is well is left alone"
    os.kill(pid, signal.SIGSTOP)
    await _until(lambda: server.pid is None)
    assert ends(pid, 1)
    assert (await _chat(await server.endpoint(), "Hello"))[0] == 200


async def test_health_checks_do_not_end_a_child_that_is_busy(serve: Serve) -> None:
    """More requests than it can answer at once, over many checks."""
    server = serve(limits=KeeperLimits(health_interval_s=0.1, health_timeout_s=2.0))
    endpoint = await server.endpoint()
    pid = _pid(server)
    replies = await asyncio.gather(*(_chat(endpoint, f"Count from {start}", max_tokens=16) for start in range(12)))
    assert [status for status, _ in replies] == [200] * 12
    assert server.pid == pid


@pytest.mark.parametrize("when", ["ready", "starting"])
def test_sigkill_of_the_parent_leaves_no_child(when: str, real_store: ModelStore, script: Script, ends: Ends) -> None:
    parent = script(PARENT, str(real_store.folder), when)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    assert ends(pid, 3)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
async def test_no_secret_can_be_read_from_the_process_list(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VENDOR_API_KEY", "vendor-secret")
    server = serve()
    endpoint = await server.endpoint()
    for name in ("cmdline", "environ"):
        content = await asyncio.to_thread(Path(f"/proc/{_pid(server)}/{name}").read_bytes)
        assert content
        assert endpoint.api_key.encode() not in content
        assert b"vendor-secret" not in content


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_the_whole_group_does_not_end_the_child(number: signal.Signals, serve: Serve) -> None:
    server = serve()
    endpoint = await server.endpoint()
    os.kill(_pid(server), number)
    assert (await _chat(endpoint, "Hello"))[0] == 200


@pytest.mark.parametrize("stopped", [False, True])
async def test_close_ends_and_reaps_the_child_even_one_that_hangs(stopped: bool, serve: Serve) -> None:
    server = serve()
    await server.endpoint()
    pid = _pid(server)
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    await server.close()
    assert time.monotonic() - begin < (3.5 if stopped else 1.5)
    assert not psutil.pid_exists(pid)
    with pytest.raises(ModelError, match="shut down"):
        await server.endpoint()
    await server.close()


async def test_close_during_the_start_ends_it_and_tells_those_who_wait(serve: Serve) -> None:
    server = serve()
    waiting = asyncio.ensure_future(server.endpoint())
    await _until(lambda: server.pid is not None)
    pid = _pid(server)
    await server.close()
    with pytest.raises(ModelError, match="shut down"):
        await waiting
    assert not psutil.pid_exists(pid)


async def test_close_during_a_health_check_of_a_hanging_child_does_not_wait_for_it(serve: Serve) -> None:
    server = serve(limits=KeeperLimits(health_interval_s=0.1, health_timeout_s=30, stop_s=0.3))
    await server.endpoint()
    pid = _pid(server)
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(0.3)
    begin = time.monotonic()
    await server.close()
    assert time.monotonic() - begin < 2
    assert not psutil.pid_exists(pid)


async def test_a_file_llama_cpp_cannot_load_is_told_with_its_reason_and_not_tried_at_every_request(
    serve: Serve, unloadable: Path
) -> None:
    clock = Clock()
    server = serve(str(unloadable), clock=clock, jitter=lambda: 1.0)
    assert _status(server) == "idle"
    with pytest.raises(ModelError, match="the model cannot be loaded: ") as first:
        await server.endpoint()
    assert "after 0.5 s" in first.value.hint
    begin = time.monotonic()
    with pytest.raises(ModelError, match="the model cannot be loaded: "):
        await server.endpoint()
    assert time.monotonic() - begin < 0.1
    clock.now_s += 10
    assert _status(server) == "unavailable"
    with pytest.raises(ModelError) as second:
        await server.endpoint()
    assert "after 1.0 s" in second.value.hint


async def test_a_model_that_takes_too_long_to_load_is_given_up(serve: Serve) -> None:
    server = serve(limits=KeeperLimits(start_s=0.01))
    with pytest.raises(ModelError, match=r"not loaded within 0\.01 s.*waypost models verify"):
        await server.endpoint()
    assert server.pid is None


def _cases() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "missing file", {}, f"waypost models pull {NAME}"
    yield "unknown name", {"model": "smolm2-135m-instruct"}, f"Did you mean {NAME}"
    yield "no such path", {"model": "/nowhere/model.gguf"}, "/nowhere/model.gguf"


@pytest.mark.parametrize(("fields", "told"), [case[1:] for case in _cases()], ids=[case[0] for case in _cases()])
async def test_what_is_missing_is_told_without_a_start_or_a_back_off(
    fields: dict[str, Any], told: str, serve: Serve, tmp_path: Path
) -> None:
    server = serve(store=ModelStore(tmp_path), **fields)
    assert _status(server) == "unavailable"
    assert told in server.state.detail
    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            await server.endpoint()
        assert told in str(caught.value)
    assert server.pid is None


async def test_a_model_pulled_later_is_found_without_a_restart(
    serve: Serve, tmp_path: Path, real_store: ModelStore
) -> None:
    folder = tmp_path / "models"
    server = serve(store=ModelStore(folder))
    assert _status(server) == "unavailable"
    folder.mkdir()
    (folder / f"{NAME}.gguf").symlink_to(real_store.path_of(NAME))
    assert _status(server) == "idle"
    await server.endpoint()


async def test_without_the_extra_the_mend_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=r"needs the extra 'local'.*pip install 'waypost\[local\]'"):
        await serve().endpoint()


async def test_a_context_over_the_models_window_is_refused(serve: Serve) -> None:
    with pytest.raises(ModelError, match=r"window of 8192 tokens; 9000 are configured.*8192 or less"):
        await serve(context_tokens=9000).endpoint()
