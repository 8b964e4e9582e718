"""One run of the child process, kept by one thread from its start to its end.

It does not start a second one: `process` decides when. The thread belongs to no event loop, so a server or a script
may use the child from any loop, one after another. Invariants: `listening` and `ended` are each settled exactly
once; when `ended` is settled the process has been reaped.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import IO, Any, Final

import msgspec

from waypost.local.child import ChildConfig

_READ_BYTES: Final = 64 * 1024
_STDERR_BYTES: Final = 8 * 1024
_TOLD_CHARACTERS: Final = 300
_JUST_ENDING_S: Final = 0.5
_SECRET_NAMES: Final = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_LOG_HEAD: Final = re.compile(r"^[\d.]+ [EWI] ")
"""llama.cpp's time and level at the start of a line."""


@dataclass(frozen=True, slots=True)
class KeeperLimits:
    """When a child is given up: seconds to load, between health checks, for one check, and to end by itself."""

    start_s: float = 120.0
    health_interval_s: float = 10.0
    health_timeout_s: float = 5.0
    health_attempts: int = 3
    """Checks in a row without an answer. A machine that is short of processor time may miss one."""
    stop_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run ended, as a clause (`it was ended by SIGKILL`), and how many seconds it had been ready (0: never)."""

    reason: str
    ready_s: float


class _Over(Exception):
    """Ends the run. Its text is the reason."""


class Keeper:
    """Starts the child at once. `listening` gives its address, or None if it ended before it had one."""

    def __init__(self, config: ChildConfig, limits: KeeperLimits) -> None:
        self.listening: Future[str | None] = _uncancellable()
        self.ended: Future[Ending] = _uncancellable()
        self._config = config
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        self._wake_lock = threading.Lock()
        self._announced = b""
        self._load_error: str | None = None
        self._errors = b""
        self._ready_at: float | None = None
        # A daemon, so that a script which forgets to close does not hang; the child ends with this process.
        threading.Thread(target=self._run, name="waypost-local-model", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The child's process id, once it was started."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Ask the child to end by closing its stdin. Returns at once; `ended` says when it has."""
        with self._wake_lock:
            if not self._stopping.is_set() and self._wake_write >= 0:
                self._stopping.set()
                os.write(self._wake_write, b".")

    def kill(self) -> None:
        """End the child by SIGKILL."""
        if self._process is not None:
            self._process.kill()

    def _run(self) -> None:
        try:
            reason = self._keep()
        except Exception as error:  # noqa: BLE001 - callers wait for the futures below: they must be settled
            reason = f"it could not be started: {error}"
        with self._wake_lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1
        ready_s = 0.0 if self._ready_at is None else time.monotonic() - self._ready_at
        self.ended.set_result(Ending(reason, ready_s))
        if not self.listening.done():
            self.listening.set_result(None)

    def _keep(self) -> str:
        """Start, watch, end and reap; gives the reason it ended for."""
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "waypost.local.child"],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C in the terminal is for this process, which lets answers end first.
            start_new_session=True,
        ) as process:
            self._process = process
            try:
                self._watch(process)
            except _Over as over:
                # A health check may fail because the process is just ending, for a reason that tells more.
                if self._stopping.is_set() or not _ends_within(process, _JUST_ENDING_S):
                    return str(over)
            finally:
                self._end(process)
            self._drain(process)
        return self._own_end(process.returncode)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Until the child closes stdout, which is when it ends. Raises _Over when it is to be ended."""
        stdin, stdout, stderr = _pipes(process)
        # If it ended at once, its exit code says more than the broken pipe.
        with contextlib.suppress(BrokenPipeError):
            stdin.write(msgspec.json.encode(self._config) + b"\n")
        due = time.monotonic() + self._limits.start_s
        with selectors.DefaultSelector() as selector:
            for source in (stdout, stderr, self._wake_read):
                selector.register(source, selectors.EVENT_READ, source)
            while True:
                for key, _ in selector.select(max(0.0, due - time.monotonic())):
                    if key.data == self._wake_read:
                        raise _Over("it was shut down")
                    chunk = os.read(key.fd, _READ_BYTES)
                    if key.data is stderr:
                        self._errors = (self._errors + chunk)[-_STDERR_BYTES:]
                    elif self._hears_address(chunk):
                        due = time.monotonic() + self._limits.health_interval_s
                    if not chunk:
                        selector.unregister(key.fileobj)
                if stdout not in selector.get_map():
                    return
                if time.monotonic() >= due:
                    self._check()
                    due = time.monotonic() + self._limits.health_interval_s

    def _hears_address(self, chunk: bytes) -> bool:
        """Take what the child wrote to stdout; True when that was its address, and the address answers."""
        self._announced += chunk
        if not self._announced.endswith(b"\n"):
            return False
        message = msgspec.json.decode(self._announced, type=dict[str, str])
        self._announced = b""
        self._load_error = message.get("error")
        if self._load_error is not None:
            return False
        self._ask_health(message["listening"])
        self._ready_at = time.monotonic()
        self.listening.set_result(message["listening"])
        return True

    def _check(self) -> None:
        url = self.listening.result() if self.listening.done() else None
        if url is None:
            raise _Over(f"the model was not loaded within {self._limits.start_s:g} s")
        self._ask_health(url)

    def _ask_health(self, url: str) -> None:
        attempts, limit_s = self._limits.health_attempts, self._limits.health_timeout_s
        for attempt in range(1, attempts + 1):
            try:
                status = _health_status(url, limit_s)
                break
            except (OSError, http.client.HTTPException) as error:
                if attempt == attempts or not isinstance(error, TimeoutError) or self._stopping.is_set():
                    raise _Over(f"it gave no answer to {attempt} health checks of {limit_s:g} s") from error
        if status != http.HTTPStatus.OK:
            raise _Over(f"it answered a health check with HTTP status {status}")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        _pipes(process)[0].close()
        if not (self._stopping.is_set() and _ends_within(process, self._limits.stop_s)):
            process.kill()
        process.wait()

    def _drain(self, process: subprocess.Popen[bytes]) -> None:
        """Take the last that an ended process wrote to stderr."""
        stderr = _pipes(process)[2]
        os.set_blocking(stderr.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(stderr.fileno(), _READ_BYTES):
                self._errors = (self._errors + chunk)[-_STDERR_BYTES:]

    def _own_end(self, exit_code: int) -> str:
        """The reason for an end that was not ours."""
        lines = [_LOG_HEAD.sub("", line).strip() for line in self._errors.decode("utf-8", "replace").splitlines()]
        lines = [line[:_TOLD_CHARACTERS] for line in lines if line]
        if self._load_error is not None:
            # llama.cpp's first line names the cause, the following ones what failed in its wake.
            return "the model cannot be loaded: " + (lines[0] if lines else self._load_error)
        if exit_code < 0:
            memory = " (as the system does when memory runs out)" if exit_code == -signal.SIGKILL else ""
            return f"its process was ended by {_signal_name(-exit_code)}{memory}"
        return f"its process ended with exit code {exit_code}" + (f": {lines[-1]}" if lines else "")


def _uncancellable() -> Future[Any]:
    """A future that many wait for: one of them being cancelled does not cancel it."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _environment() -> dict[str, str]:
    """This process's, without what looks like a secret: the child reads a file that anyone may have made."""
    # Threads that wait for each other spin by default, and all but stop when another program wants a core too.
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith(_SECRET_NAMES)}
    return {"OMP_WAIT_POLICY": "PASSIVE", **kept}


def _health_status(url: str, limit_s: float) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=limit_s)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ValueError("the process was started without its three pipes")
    return process.stdin, process.stdout, process.stderr


def _ends_within(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
