"""A process with a lifeline ends when the one that started it is gone, however that happened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from waypost.local.lifeline import PARENT_GONE_EXIT_CODE

Script = Callable[..., subprocess.Popen[str]]
Ends = Callable[[int, float], bool]

SLEEPER = "import sys, time\nprint('awake', *sys.argv[1:], flush=True)\ntime.sleep(60)\n"

PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-m", "waypost.local.lifeline", "sleeper"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
)
child.stdout.readline()
if sys.argv[1] == "fork":
    # A sibling without exec keeps a copy of the pipe's write end.
    sibling = os.fork()
    if sibling == 0:
        os.close(1), os.close(2)
        time.sleep(8)
        os._exit(0)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _sleeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_it_runs_a_module_with_its_arguments_and_ends_at_the_end_of_stdin() -> None:
    command = [sys.executable, "-m", "waypost.local.lifeline", "sleeper", "one", "two"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"awake one two\n"
        process.stdin.close()
        assert process.wait(5) == PARENT_GONE_EXIT_CODE


@pytest.mark.parametrize("holder", ["none", "fork"])
def test_it_ends_after_sigkill_of_the_parent_even_if_another_process_holds_the_pipe(
    holder: str, script: Script, ends: Ends
) -> None:
    parent = script(PARENT, holder)
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    os.kill(parent.pid, 9)
    parent.wait()
    assert ends(child_pid, 4)
