"""The loss of the terminal ends a server; SIGHUP alone, or under nohup, does not."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import signal, sys, time
from waypost.server.hangup import Hangup
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
hangup, told = Hangup.at_start(), open(sys.argv[1], "w", buffering=1)
signal.signal(signal.SIGHUP, lambda *_: print(hangup.is_end(), file=told))
print("ready", file=told)
time.sleep(10)
"""


def run(file: Path, *, nohup: bool = False, close: bool = False) -> str:
    """What a process with a terminal of its own says about a SIGHUP."""
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(file), *(["nohup"] if nohup else [])])  # noqa: S606
    try:
        assert _wait_for(file, 1) == ["ready"]
        if close:
            os.close(terminal)
        else:
            os.kill(pid, signal.SIGHUP)
        return _wait_for(file, 2)[1]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if not close:
            os.close(terminal)


def _wait_for(file: Path, lines: int) -> list[str]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        told = file.read_text().splitlines() if file.exists() else []
        if len(told) >= lines:
            return told
        time.sleep(0.02)
    raise AssertionError("it said nothing")


@pytest.mark.parametrize(
    ("how", "is_end"),
    [({"close": True}, "True"), ({}, "False"), ({"close": True, "nohup": True}, "False")],
    ids=["the terminal is closed", "a signal", "the terminal is closed under nohup"],
)
def test_a_hangup_is_told_from_a_signal(tmp_path: Path, how: dict[str, bool], is_end: str) -> None:
    assert run(tmp_path / "told", **how) == is_end
