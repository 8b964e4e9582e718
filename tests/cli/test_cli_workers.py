"""`waypost serve --workers 2`: real processes are killed, told to reload and to end, while requests are under way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from waypost.codecs.sse import SseDecoder
from waypost.server.ids import worker_of

pytestmark = pytest.mark.process

GENERATE = "/api/ai/generate"
SLOW = "first/slow"
"""Its answers take about two seconds."""
SCRIPT = """
rules:
  - match: {model: slow}
    reply: {text: "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"}
    pacing: {token_interval_s: 0.1, tokens_per_chunk: 1}
"""
WHOLE = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


@dataclass
class House:
    """A server with two workers, and the simulator behind it."""

    supervisor: subprocess.Popen[str]
    url: str
    simulator: str
    file: Path
    log: Path
    temporary: Path

    def status(self) -> list[dict[str, Any]]:
        workers: list[dict[str, Any]] = httpx.get(f"{self.url}/api/admin/status").json()["workers"]
        return workers

    def pids(self) -> list[int]:
        """0: that worker does not answer now, as one that was killed just before."""
        return [worker.get("pid", 0) for worker in self.status()]

    def calls(self) -> int:
        return len(httpx.get(f"{self.simulator}/simulator/requests").json()["requests"])

    def logged(self) -> str:
        return self.log.read_text()

    def set_default_model(self, model: str) -> None:
        self.file.write_text(self.file.read_text().replace("default_model: one", f"default_model: {model}"))


def becomes(condition: Callable[[], bool], limit_s: float = 10.0) -> bool:
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def waypost(*arguments: str, environment: Mapping[str, str], log: Path) -> subprocess.Popen[str]:
    with log.open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "waypost.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=dict(environment),
        )


@pytest.fixture
def slow_simulator(environment: Mapping[str, str], tmp_path: Path) -> Iterator[str]:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    arguments = ("simulate", "--port", "0", "--script", str(script))
    with waypost(*arguments, environment=environment, log=tmp_path / "simulator.log") as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[3]
        finally:
            process.kill()


@pytest.fixture
def house(environment: Mapping[str, str], slow_simulator: str, tmp_path: Path) -> Iterator[House]:
    file, log = Path("waypost.yaml").absolute(), tmp_path / "server.log"
    file.write_text(
        "providers:\n"
        f"  first: {{kind: anthropic, api_key: a-long-key, base_url: '{slow_simulator}', default_model: one}}\n"
    )
    with started(environment, slow_simulator, file, log) as house:
        yield house


@contextmanager
def started(environment: Mapping[str, str], simulator: str, file: Path, log: Path) -> Iterator[House]:
    # Not the test's own folder: its name is too long for a Unix socket, and another folder would be taken.
    temporary = Path(tempfile.mkdtemp(prefix="test-"))
    own = {**environment, "TMPDIR": str(temporary)}
    with waypost("serve", "--port", "0", "--workers", "2", environment=own, log=log) as process:
        children: list[psutil.Process] = []
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[3]
            children = psutil.Process(process.pid).children()
            yield House(process, url, simulator, file, log, temporary)
        finally:
            process.kill()
            # A supervisor that was killed has workers that end by themselves; a failed test leaves none either way.
            for child in children:
                if child.is_running():
                    child.kill()
            shutil.rmtree(temporary)


class Reader(threading.Thread):
    """Reads a stream of `/api/ai/generate` to its end."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.begun = threading.Event()
        self.request_id = ""
        self.stream_id = ""
        self.events: list[tuple[str, Any]] = []
        self.error: Exception | None = None
        self.start()
        assert self.begun.wait(15)

    @property
    def worker(self) -> int | None:
        return worker_of(self.request_id)

    def run(self) -> None:
        decoder = SseDecoder()
        body = {"prompt": "p", "model": SLOW, "stream": True}
        try:
            with httpx.stream("POST", self._url + GENERATE, json=body, timeout=20) as reply:
                self.request_id = reply.headers["x-request-id"]
                self.stream_id = reply.headers.get("x-waypost-response-id", "")
                for chunk in reply.iter_bytes():
                    self.events += [(event.event, json.loads(event.data)) for event in decoder.feed(chunk)]
                    self.begun.set()
        except httpx.HTTPError as error:
            self.error = error

    def text(self) -> str:
        self.join(20)
        return "".join(data["text"] for name, data in self.events if name == "delta")

    def is_whole(self) -> bool:
        return self.text() == WHOLE and self.error is None and self.events[-1][0] == "done"


def test_both_workers_answer_and_share_the_connections(house: House) -> None:
    """By the kernel's hash of the connection: 60 of them never all go to one, as they may with one socket for all."""
    with ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda _: httpx.post(house.url + GENERATE, json={"prompt": "p"}), range(60)))
    assert {reply.status_code for reply in replies} == {200}
    shares = Counter(worker_of(reply.headers["x-request-id"]) for reply in replies)
    assert set(shares) == {1, 2}
    if sys.platform == "linux":
        assert min(shares.values()) >= 12


def test_a_worker_that_is_killed_is_started_anew_and_the_other_goes_on(house: House) -> None:
    before = house.status()
    stream = Reader(house.url)
    victim = next(worker for worker in before if worker["worker"] != stream.worker)
    os.kill(victim["pid"], signal.SIGKILL)
    assert becomes(lambda: house.pids() != [worker["pid"] for worker in before] and all(house.pids()))
    after = {worker["worker"]: worker["pid"] for worker in house.status()}
    assert after[stream.worker] == {worker["worker"]: worker["pid"] for worker in before}[stream.worker]
    assert stream.is_whole()
    assert "ended by signal 9; it is started anew" in house.logged()
    assert {httpx.post(house.url + GENERATE, json={"prompt": "p"}).status_code for _ in range(8)} == {200}


def test_a_worker_that_keeps_ending_waits_and_takes_no_connections_meanwhile(house: House) -> None:
    for _ in range(2):
        pids = {worker["worker"]: worker.get("pid") for worker in house.status()}
        victim = psutil.Process(pids[1])
        victim.kill()
        assert becomes(lambda victim=victim: not victim.is_running())  # type: ignore[misc]
        if house.logged().count("it is started anew") == 1:
            assert becomes(lambda: None not in {worker.get("pid") for worker in house.status()})
    assert becomes(lambda: "it is started anew in 0.5 s" in house.logged())
    replies = [httpx.post(house.url + GENERATE, json={"prompt": "p"}, timeout=2) for _ in range(10)]
    assert {reply.status_code for reply in replies} == {200}
    assert becomes(lambda: None not in {worker.get("pid") for worker in house.status()})


def test_a_good_file_is_in_force_everywhere_while_a_stream_runs_on(house: House) -> None:
    stream = Reader(house.url)
    house.set_default_model("uno")
    os.kill(house.supervisor.pid, signal.SIGHUP)
    assert becomes(lambda: house.logged().count("settings read anew: providers.first") == 2)
    models = {httpx.post(house.url + GENERATE, json={"prompt": "p"}).json()["model"] for _ in range(12)}
    assert models == {"uno"}
    assert stream.is_whole()


def test_a_bad_file_changes_nothing_anywhere_and_the_log_says_why(house: House) -> None:
    stream = Reader(house.url)
    with house.file.open("a") as file:
        file.write("  second: {kind: anthropik}\nserver: {prot: 1}\n")
    os.kill(house.supervisor.pid, signal.SIGHUP)
    assert becomes(lambda: "did you mean port?" in house.logged())
    assert "waypost.yaml line 3: providers.second has the unknown kind" in house.logged()
    assert "settings read anew" not in house.logged()
    models = {httpx.post(house.url + GENERATE, json={"prompt": "p"}).json()["model"] for _ in range(12)}
    assert models == {"one"}
    assert stream.is_whole()
    refused = httpx.post(f"{house.url}/api/admin/reload")
    assert refused.status_code == 422
    assert [finding["line"] for finding in refused.json()["error"]["details"]["findings"]] == [3, 4]


def test_a_reload_over_http_reaches_every_worker_and_those_started_later(house: House) -> None:
    house.set_default_model("uno")
    told = httpx.post(f"{house.url}/api/admin/reload")
    assert (told.status_code, told.json()) == (200, {"changed": ["providers.first"], "needs_restart": []})
    # What is written now is not in force, and must not be in a worker that begins now.
    time.sleep(0.3)
    house.file.write_text(house.file.read_text().replace("default_model: uno", "default_model: eins"))
    killed = house.pids()[0]
    os.kill(killed, signal.SIGKILL)
    assert becomes(lambda: killed not in house.pids() and all(house.pids()))
    models = {httpx.post(house.url + GENERATE, json={"prompt": "p"}).json()["model"] for _ in range(12)}
    assert models == {"uno"}


def test_one_key_makes_one_call_whichever_worker_is_asked(house: House) -> None:
    """Twenty at once, and once more: the provider saw one."""

    def ask(key: str) -> httpx.Response:
        asked = {"prompt": "p", "model": SLOW}
        return httpx.post(house.url + GENERATE, json=asked, headers={"idempotency-key": key}, timeout=20)

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(ask, ["order-66"] * 20))
    replies.append(ask("order-66"))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert {worker_of(reply.headers["x-request-id"]) for reply in replies} == {1, 2}
    for header in ("x-request-id", "date", "content-type"):
        assert {len(reply.headers.get_list(header)) for reply in replies} == {1}
    assert house.calls() == 1
    # Another key may belong to the other worker.
    assert {ask(f"order-{number}").status_code for number in range(3)} == {200}
    assert house.calls() == 4


def until_both_answered(url: str) -> Iterator[httpx.Response]:
    """Replies until both workers gave one: which worker gets a connection is the system's choice."""
    answered: set[int | None] = set()
    for _ in range(64):
        reply = httpx.get(url, timeout=20)
        answered.add(worker_of(reply.headers["x-request-id"]))
        yield reply
        if answered == {1, 2}:
            return
    raise AssertionError(f"64 connections, and only these workers answered: {answered}")


def test_a_stream_is_gone_on_with_at_any_worker(house: House) -> None:
    stream = Reader(house.url)
    assert worker_of(stream.stream_id) == stream.worker
    path = f"{house.url}/api/ai/responses/{stream.stream_id}/events"
    for reply in until_both_answered(path):
        events = SseDecoder().feed(reply.content)
        assert "".join(json.loads(event.data)["text"] for event in events if event.event == "delta") == WHOLE
    assert stream.is_whole()


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}], ids=["any worker", "the key's worker"])
@pytest.mark.parametrize("given", ["", "the-caller-s-own"])
def test_a_request_is_explained_by_any_worker(house: House, headers: dict[str, str], given: str) -> None:
    own = {**headers, "x-request-id": given} if given else headers
    request_id = httpx.post(house.url + GENERATE, json={"prompt": "p"}, headers=own).headers["x-request-id"]
    assert given in request_id
    path = f"{house.url}/api/ai/requests/{request_id}/explain"
    for reply in until_both_answered(path):
        assert (reply.status_code, reply.json()["request_id"]) == (200, request_id)
    assert httpx.get(f"{house.url}/api/ai/requests/nobody-s/explain").status_code == 404


def test_the_stream_of_a_worker_that_is_gone_is_unknown(house: House) -> None:
    stream = Reader(house.url)
    pid = {worker["worker"]: worker["pid"] for worker in house.status()}[stream.worker]
    os.kill(pid, signal.SIGKILL)
    stream.join(10)
    assert stream.error is not None
    assert [name for name, _ in stream.events].count("done") == 0
    reply = httpx.get(f"{house.url}/api/ai/responses/{stream.stream_id}/events")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_stream")


def test_a_drain_lets_streams_end_in_both_workers(house: House) -> None:
    streams = [Reader(house.url) for _ in range(6)]
    workers = [psutil.Process(pid) for pid in house.pids()]
    house.supervisor.send_signal(signal.SIGTERM)
    assert all(stream.is_whole() for stream in streams)
    assert house.supervisor.wait(15) == 0
    assert not any(worker.is_running() for worker in workers)
    assert "Traceback" not in house.logged()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_every_process_is_one_signal(house: House, number: signal.Signals) -> None:
    """As a terminal's Ctrl-C and a service manager's stop are: the workers' copies must not end the grace time."""
    stream = Reader(house.url)
    for pid in [*house.pids(), house.supervisor.pid]:
        os.kill(pid, number)
    assert stream.is_whole()
    assert house.supervisor.wait(15) == 0


def test_the_third_signal_waits_for_nothing(house: House) -> None:
    streams = [Reader(house.url) for _ in range(2)]
    for _ in range(3):
        house.supervisor.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    assert house.supervisor.wait(5) == 0
    for stream in streams:
        stream.join(5)
        assert stream.events[-1][0] != "done"


def test_no_worker_outlives_a_supervisor_that_is_killed(house: House) -> None:
    """A stream may end first, but the port is free at once and nothing stays in the temporary folder."""
    stream = Reader(house.url)
    workers = [psutil.Process(pid) for pid in house.pids()]
    [folder] = house.temporary.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    house.supervisor.kill()
    assert becomes(lambda: _is_free(house.url), 3)
    assert list(house.temporary.iterdir()) == []
    assert stream.is_whole()
    assert becomes(lambda: not any(worker.is_running() for worker in workers), 5)


def _is_free(url: str) -> bool:
    try:
        httpx.get(f"{url}/health")
    except httpx.ConnectError:
        return True
    return False


def test_a_local_model_on_a_route_is_refused_with_several_workers(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    Path("waypost.yaml").write_text("providers: {local: {kind: llama_cpp}}\n")
    with waypost("serve", "--port", "0", "--workers", "2", environment=environment, log=tmp_path / "log") as process:
        out, _ = process.communicate(timeout=20)
    told = (tmp_path / "log").read_text()
    assert (process.returncode, out) == (3, "")
    assert "each of the 2 workers would run one of its own. Set server.workers to 1" in told
    assert "Traceback" not in told


def test_a_busy_port_is_told_before_anything_is_started(house: House, environment: Mapping[str, str]) -> None:
    port = house.url.rpartition(":")[2]
    ran = subprocess.run(
        [sys.executable, "-m", "waypost.cli.main", "serve", "--port", port, "--workers", "2"],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ran.returncode == 5
    assert f"Port {port} on 127.0.0.1 is in use." in ran.stderr
