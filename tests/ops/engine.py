"""podman and buildah for a test session: images, containers and networks of its own, in a folder that goes with it.

Nothing here sees or touches other containers of the machine. It works without systemd, and where limits on open files
may not be raised. The invariant: what was started is ended by `remove`, and nothing else is.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PORT: Final = 8000
DEADLINE_S: Final = 120.0
MOST_FILES: Final = 10_000
MOST_PROCESSES: Final = 2_000


class Engine:
    """podman and buildah on a folder of their own. A `kept` one is made at need, and stays with its images."""

    def __init__(self, kept: Path | None = None) -> None:
        self.is_kept = kept is not None
        # The paths of sockets are below it: short, as a socket's path may have about a hundred bytes.
        self.folder = kept or Path(tempfile.mkdtemp(prefix="wp-ops-", dir="/var/tmp"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment = {**_without_secrets(os.environ), **self._configured()}

    def podman(self, *arguments: str, timeout_s: float = DEADLINE_S, check: bool = True) -> str:
        """What the command prints, stripped. Raises RuntimeError with what it says if it fails, unless not `check`."""
        return self._run(["podman", *arguments], timeout_s, check=check)

    def buildah(self, *arguments: str, timeout_s: float = 300.0) -> str:
        """The same for buildah."""
        return self._run(["buildah", *arguments], timeout_s, check=True)

    @contextmanager
    def run(self, image: str, *command: str, options: Sequence[str] = ()) -> Iterator[Container]:
        """A container in the background, for the block. `options` are those of `podman run`."""
        container = Container(self, self.podman("run", "--detach", "--pull=never", *options, image, *command))
        try:
            yield container
        finally:
            self.podman("rm", "--force", "--time=0", "--volumes", container.id, check=False)

    def once(self, image: str, *command: str, options: Sequence[str] = ()) -> str:
        """What a container prints that ends by itself. Raises RuntimeError if it fails."""
        return self.podman("run", "--rm", "--pull=never", *options, image, *command)

    def has(self, image: str) -> bool:
        """Is there an image of that name?"""
        return bool(self.podman("images", "--quiet", image))

    def size_bytes(self, image: str) -> int:
        """The size of all the image's files."""
        return int(self.podman("image", "inspect", "--format={{.Size}}", image))

    def remove(self) -> None:
        """End what runs, and remove the folder."""
        for command in (["rm", "--all", "--force", "--time=0"], ["network", "prune", "--force"]):
            with suppress(subprocess.TimeoutExpired):
                self.podman(*command, check=False)
        self._unmount()
        if not self.is_kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, command: list[str], timeout_s: float, *, check: bool) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environment, timeout=timeout_s, check=False, cwd=ROOT
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def _configured(self) -> dict[str, str]:
        """The configuration files of both programs, written; the variables that lead to them."""
        files = {"storage.conf": _STORAGE, "containers.conf": _CONTAINERS}
        nofile = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], MOST_FILES)
        for name, text in files.items():
            told = text.format(folder=self.folder, nofile=nofile, nproc=MOST_PROCESSES)
            (self.folder / name).write_text(told, encoding="utf-8")
        return {
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "BUILDAH_ISOLATION": "chroot",
            # Without systemd nobody runs health checks at intervals: tests run them.
            "DISABLE_HC_SYSTEMD": "true",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]),
        }

    def _unmount(self) -> None:
        with Path("/proc/self/mounts").open(encoding="utf-8") as mounts:
            ours = [line.split()[1] for line in mounts if f" {self.folder}/" in line]
        for place in sorted(ours, key=len, reverse=True):
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


@dataclass(frozen=True, slots=True)
class Container:
    """One that was started."""

    engine: Engine
    id: str

    @property
    def address(self) -> str:
        """Its address on the machine's own bridge."""
        return self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}").split()[0]

    @property
    def url(self) -> str:
        """Where the server in it is."""
        return f"http://{self.address}:{PORT}"

    @property
    def logs(self) -> str:
        """What its processes wrote, both streams."""
        return subprocess.run(
            ["podman", "logs", self.id],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.engine.environment,
            timeout=DEADLINE_S,
            check=False,
        ).stdout

    @property
    def pid(self) -> int:
        """Its first process, as this machine counts."""
        return int(self.inspect("{{.State.Pid}}"))

    @property
    def is_running(self) -> bool:
        """Has it not ended?"""
        return self.inspect("{{.State.Running}}") == "true"

    def inspect(self, format_: str) -> str:
        """What podman knows of it, by a Go template."""
        return self.engine.podman("inspect", f"--format={format_}", self.id)

    def exec(self, *command: str) -> str:
        """What a command inside prints. Raises RuntimeError if it fails."""
        return self.engine.podman("exec", self.id, *command)

    def signal(self, name: str) -> None:
        """Send a signal to its first process."""
        self.engine.podman("kill", f"--signal={name}", self.id)

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Its exit code, once it has ended."""
        return int(self.engine.podman("wait", self.id, timeout_s=timeout_s))

    def until(self, text: str, timeout_s: float = DEADLINE_S) -> None:
        """Wait until it has written that. Raises AssertionError with all it wrote if it ends before, or not in time."""
        until_s = time.monotonic() + timeout_s
        while text not in (said := self.logs):
            assert self.is_running or text in self.logs, said
            assert time.monotonic() < until_s, said
            time.sleep(0.05)


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    dropped = ("ANTHROPIC_", "OPENAI_", "GEMINI_", "WAYPOST_", "POSTGRES_", "PROMETHEUS_", "COMPOSE_")
    return {name: value for name, value in environ.items() if not name.startswith(dropped)}


_STORAGE: Final = """
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""
_CONTAINERS: Final = """
[containers]
# Less than this process may have: raising a limit is refused in some places.
default_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{folder}/tmp"
helper_binaries_dir = ["/usr/lib/podman", "/usr/libexec/podman"]
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
