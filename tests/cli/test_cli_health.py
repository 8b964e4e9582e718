"""`waypost health`: what a container's health check hears of a server that is well, busy, mute or gone."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from tests.cli.conftest import Waypost

HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def answering(reply: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A port where one connection gets that reply, and what was said there."""
    heard: list[bytes] = []

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(65_536))
            connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join(10)


def test_a_server_that_answers_is_well(waypost: Waypost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address it is this machine's, at the port that the environment names; the path is /health."""
    with answering(HEALTHY) as (port, heard):
        monkeypatch.setenv("WAYPOST_PORT", str(port))
        result = waypost("health")
    assert (result.exit_code, result.stdout) == (0, "ok\n")
    assert heard[0].startswith(b"GET /health HTTP/1.1\r\n")


def test_a_path_of_ones_own_is_asked_for(waypost: Waypost) -> None:
    with answering(HEALTHY) as (port, heard):
        assert waypost("health", f"http://127.0.0.1:{port}/ready?full=1").exit_code == 0
    assert heard[0].startswith(b"GET /ready?full=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("reply", "told"), [(BUSY, "answers with status 503."), (b"", "does not answer: "), (b"nonsense\r\n", "answer: ")]
)
def test_any_other_answer_is_a_failure(waypost: Waypost, reply: bytes, told: str) -> None:
    with answering(reply) as (port, _):
        result = waypost("health", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert told in result.stderr


def test_nobody_there_and_nobody_answering_are_failures(waypost: Waypost) -> None:
    """A server that takes connections and says nothing is given up after the time-out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        mute = waypost("health", f"http://127.0.0.1:{port}", "--timeout", "0.05")
    gone = waypost("health", f"http://127.0.0.1:{port}")
    assert [(result.exit_code, result.stderr.startswith("Error: http://127.0.0.1:")) for result in (mute, gone)] == [
        (1, True),
        (1, True),
    ]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "8000", "http://"])
def test_what_is_no_web_address_is_a_mistake_of_the_command_line(waypost: Waypost, url: str) -> None:
    assert waypost("health", url).exit_code == 2


def test_a_check_imports_nothing_heavy() -> None:
    """It runs every few seconds, beside the server's own work."""
    code = "import sys, waypost.cli.health; print([n for n in ('aiohttp', 'pydantic', 'yaml') if n in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "[]\n"
