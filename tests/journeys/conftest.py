"""A clone of the project, served as the README says, for the journeys to use."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
START_S = 300.0
"""The first start installs everything; a cold cache makes that minutes."""


@dataclass(frozen=True)
class Clone:
    """A fresh copy of the project and what `make serve` runs there."""

    folder: Path
    make: subprocess.Popen[bytes]
    log: Path

    @property
    def server(self) -> psutil.Process:
        """The `waypost serve` process, under make or in make's place."""
        for process in [psutil.Process(self.make.pid), *psutil.Process(self.make.pid).children(recursive=True)]:
            if "serve" in process.cmdline() and any(part.endswith("/waypost") for part in process.cmdline()):
                return process
        raise AssertionError(f"no server under make:\n{self.log.read_text()}")

    def run(self, command: str, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
        """The command in the clone's folder, as a user's shell would run it."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def clean_environment() -> dict[str, str]:
    """Without keys and settings of whoever runs the tests, and without this virtual environment."""
    dropped = ("ANTHROPIC_", "OPENAI_", "GEMINI_", "WAYPOST_", "VIRTUAL_ENV", "PYTEST_", "MAKE", "MFLAGS", "UV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    own = str(ROOT / ".venv" / "bin")
    kept["PATH"] = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if part != own)
    if "WAYPOST_DATA_DIR" in os.environ:
        kept["WAYPOST_DATA_DIR"] = os.environ["WAYPOST_DATA_DIR"]
    return kept


def copy_project(folder: Path) -> None:
    """What a clone would hold, uncommitted changes included."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, timeout_s: float = START_S) -> None:
    """Until the address answers; fails with the log if the process ends or the time is over."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"it ended with {process.returncode}:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - a loopback address
                assert reply.status == 200
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer within {timeout_s} s:\n{log.read_text()}")


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the group, then SIGKILL to what is left of it; afterwards the port is free."""
    if process.poll() is not None:
        return
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    os.killpg(process.pid, signal.SIGTERM)
    _gone, alive = psutil.wait_procs(family, timeout=15)
    for left in alive:
        left.kill()
    process.wait(timeout=5)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """`make serve` in a fresh copy, answering on the port that the README names."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.fail("port 8000 is in use; the README's commands need it")
    folder = tmp_path_factory.mktemp("clone")
    copy_project(folder)
    log = folder.parent / "make-serve.log"
    with log.open("wb") as output:
        make = subprocess.Popen(
            ["make", "serve"],
            cwd=folder,
            env=clean_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for("http://127.0.0.1:8000/health", make, log)
        yield Clone(folder, make, log)
    finally:
        end(make)
