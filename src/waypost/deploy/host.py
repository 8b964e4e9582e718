"""A machine on which scripts run, over SSH or here. Scripts go in on standard input: no command line shows them.

The programs are the system's `ssh` and `sh`: the keys, agents, jump hosts and settings of whoever deploys hold.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from waypost.deploy.errors import DeployFailed, DeployRefused, HostUnreachable
from waypost.deploy.settings import LOCAL, HostSettings

SSH_FAILED: Final = 255
BUSY: Final = 75
"""EX_TEMPFAIL: another deploy holds the lock."""
OPTIONS: Final[Mapping[str, str]] = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    # One connection for all scripts.
    "ControlMaster": "auto",
    "ControlPersist": "60",
}
UPLOAD_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Done:
    """What a script came to."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its last words: what it has to say of a failure."""
        return (self.err.strip() or self.out.strip())[-2000:]


class Host:
    """One machine, for as long as the connection is wanted."""

    def __init__(self, settings: HostSettings, control: Path) -> None:
        self.name = settings.address
        self._shell = ["sh"] if settings.address == LOCAL else _ssh(settings, control)

    def run(self, script: str, *, timeout_s: float = 60.0, exports: Mapping[str, str] | None = None) -> Done:
        """Run it to its end, with these variables. Raises HostUnreachable, and DeployFailed if it takes too long."""
        # Read as a whole before it begins, so that no program in it reads the rest of it as its own input.
        whole = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in (exports or {}).items())
        whole += f"{{\nset -eu\n{script}\n}} </dev/null\n"
        return self._done(self._command("-s"), whole.encode(), timeout_s)

    def put(self, file: Path, path: str) -> None:
        """Copy a file of this machine there; it appears whole. Raises DeployFailed."""
        target = shlex.quote(path)
        script = f"cat >{target}.part && mv -f {target}.part {target}"
        done = self._done(self._command("-c", script), file.read_bytes(), UPLOAD_S)
        if done.code:
            raise DeployFailed(f"{file.name} cannot be written to {path} on {self.name}: {done.said}")

    @contextmanager
    def locked(self, root: str, holder: str) -> Iterator[None]:
        """Nobody else deploys there in the block; the lock goes with the connection. Raises DeployRefused."""
        lock, note = shlex.quote(f"{root}/lock"), shlex.quote(f"{root}/lock.holder")
        script = (
            f"mkdir -p {shlex.quote(root)} && exec 9>>{lock} || exit 1; "
            f"flock -n 9 || {{ cat {note}; exit {BUSY}; }}; "
            f"printf '%s\\n' {shlex.quote(holder)} >{note}; echo locked; exec cat"
        )
        process = subprocess.Popen(  # noqa: S603 - our own programs
            self._command("-c", script),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            self._refuse_if_taken(process)
            try:
                yield
            finally:
                # Its `cat` ends, and the lock with it.
                process.communicate(timeout=30)

    def _refuse_if_taken(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        first = process.stdout.readline().strip()
        if first == "locked":
            return
        _, err = process.communicate(timeout=30)
        if process.returncode == BUSY:
            raise DeployRefused(f"Another deploy is under way on {self.name}: {first}.", hint="Wait for its end.")
        raise self._failure(Done(process.returncode, first, err))

    def _command(self, option: str, script: str | None = None) -> Sequence[str]:
        """`sh` there; SSH joins its arguments, and the account's own shell reads them once more."""
        words = ["sh", option, *([] if script is None else [script])]
        return [*self._shell[:-1], *words] if self._shell[-1] == "sh" else [*self._shell, shlex.join(words)]

    def _done(self, command: Sequence[str], given: bytes, timeout_s: float) -> Done:
        try:
            # A session of its own: Ctrl-C is for the deploy, which then takes back what it did.
            ended = subprocess.run(  # noqa: S603 - our own programs
                command, input=given, capture_output=True, timeout=timeout_s, check=False, start_new_session=True
            )
        except subprocess.TimeoutExpired as error:
            raise DeployFailed(f"A command on {self.name} took more than {timeout_s:g} s.") from error
        except FileNotFoundError as error:
            raise HostUnreachable(f"There is no program {command[0]} here.", hint="Install an SSH client.") from error
        done = Done(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"))
        if done.code == SSH_FAILED and self.name != LOCAL:
            raise self._failure(done)
        return done

    def _failure(self, done: Done) -> DeployFailed:
        if done.code == SSH_FAILED:
            return HostUnreachable(f"{self.name} cannot be reached: {done.said.rstrip('.') or 'the connection ended'}.")
        return DeployFailed(f"A command on {self.name} failed: {done.said}")

    def disconnect(self) -> None:
        """End the shared connection."""
        if self.name != LOCAL:
            *options, mark, address = self._shell
            command = [*options, "-O", "exit", mark, address]
            subprocess.run(command, capture_output=True, timeout=30, check=False)  # noqa: S603 - our own programs


@contextmanager
def connected(settings: HostSettings) -> Iterator[Host]:
    """The host, for the block."""
    # A socket's path may have about a hundred bytes; the folder is new, and this account's alone.
    with tempfile.TemporaryDirectory(prefix="wp-ssh-", dir="/tmp") as folder:  # nosec B108
        host = Host(settings, Path(folder) / "c")
        try:
            yield host
        finally:
            host.disconnect()


def _ssh(settings: HostSettings, control: Path) -> list[str]:
    command = ["ssh", "-o", f"ControlPath={control}"]
    for name, value in OPTIONS.items():
        command += ["-o", f"{name}={value}"]
    if settings.port is not None:
        command += ["-p", str(settings.port)]
    if settings.identity_file is not None:
        command += ["-i", str(settings.identity_file), "-o", "IdentitiesOnly=yes"]
    if settings.known_hosts_file is not None:
        command += ["-o", f"UserKnownHostsFile={settings.known_hosts_file}"]
    return [*command, "--", settings.address]
