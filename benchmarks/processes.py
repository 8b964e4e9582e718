"""Starting servers, and what the kernel says about them: CPU time and memory of a process with all its children.

A process is ended by its own id, never by name. Linux only: the figures come from /proc.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
GATEWAY_CORE = 0
LOAD_CORE = 1
STOP_S = 10.0
"""How long a server may take to end before it is killed."""
POLL_S = 0.005
PREFERENCE = -15
"""As `nice` counts."""


class BenchmarkError(Exception):
    """A row or a server that cannot be measured here; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that was started here: its id, and the seconds until it first answered."""

    process: subprocess.Popen[bytes]
    url: str
    start_s: float
    log: Path

    @property
    def pid(self) -> int:
        """The id of the process itself; its children are found when they are counted."""
        return self.process.pid

    def cpu_s(self) -> float:
        """Seconds of CPU, user and system, that it and its living children have used so far."""
        return sum(_cpu_ticks(pid) for pid in tree(self.pid)) / TICKS_PER_S

    def rss_mb(self) -> float:
        """Resident memory of it and its children, in MiB; shared pages count once for each."""
        return sum(_resident_pages(pid) for pid in tree(self.pid)) * PAGE_BYTES / 2**20

    def truncate_log(self) -> None:
        """Empty the file that its output goes to; it is written to at the end wherever that is."""
        os.truncate(self.log, 0)


def tree(pid: int) -> list[int]:
    """The process and everything below it."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in _read(children).split()]
    return found


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command, bound to one core."""
    return ["taskset", "-c", str(core), *command]


def prefer(pid: int) -> None:
    """Let that process, which must lead a session of its own, go before what else runs on its core, if we may.

    Latency means nothing where the server waits for somebody else's slice of time; for CPU time it matters little.
    """
    with contextlib.suppress(OSError):
        # With autogroups the kernel weighs sessions; without, processes.
        os.setpriority(os.PRIO_PROCESS, pid, PREFERENCE)
        Path(f"/proc/{pid}/autogroup").write_text(str(PREFERENCE))


def raise_file_limit() -> None:
    """As many open files as the system lets this user have: a thousand streams take two thousand sockets."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def undisturbed(*pids: int) -> Iterator[bool]:
    """Let these processes and their children interrupt whatever else runs, for as long as the block takes.

    For loads that leave the core idle at times: what is measured then is the server, not its neighbours. False where
    this user may not.
    """
    try:
        _schedule(pids, os.SCHED_RR, 1)
        allowed = True
    except OSError:
        allowed = False
    try:
        yield allowed
    finally:
        with contextlib.suppress(OSError):
            _schedule(pids, os.SCHED_OTHER, 0)


def _schedule(pids: Sequence[int], policy: int, priority: int) -> None:
    for pid in pids:
        for member in tree(pid):
            for thread in Path(f"/proc/{member}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))


@contextlib.contextmanager
def started(
    command: Sequence[str], *, port: int, health: str, log: Path, environment: Mapping[str, str], within_s: float
) -> Iterator[Running]:
    """Run a server and wait until `health` is answered with 200; it is ended on the way out.

    Its output goes to `log`. Raises BenchmarkError if it ends or does not answer `within_s` seconds.
    """
    url = f"http://127.0.0.1:{port}"
    with log.open("ab") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            cwd=log.parent,
            start_new_session=True,
        )
        prefer(process.pid)
    try:
        _wait_until_healthy(process, url + health, begun + within_s, log)
        yield Running(process, url, time.monotonic() - begun, log)
    finally:
        _stop(process)


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, deadline: float, log: Path) -> None:
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchmarkError(f"ended with {process.returncode} before it answered: {_last_lines(log)}")
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(POLL_S)
    raise BenchmarkError(f"did not answer {url} in time: {_last_lines(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    below = tree(process.pid)[1:]
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in below:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _last_lines(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-3:])


def _cpu_ticks(pid: int) -> int:
    # The name stands in parentheses and may hold anything; utime and stime are the 14th and 15th field.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


def _resident_pages(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) if fields else 0


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # it ended meanwhile
        return ""
