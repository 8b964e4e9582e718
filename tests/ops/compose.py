"""A compose file of deploy/ started as it is, beside others: a project of its own, and addresses of its own."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.ops.engine import ROOT, Container, Engine

DEPLOY: Final = ROOT / "deploy"
UP_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Compose:
    """One project that runs."""

    engine: Engine
    project: str
    files: Sequence[Path]
    environment: Mapping[str, str]

    def run(self, *arguments: str, timeout_s: float = UP_S) -> str:
        """What `podman-compose` prints, both streams. Raises RuntimeError if it fails."""
        named = [part for file in self.files for part in ("--file", str(file))]
        command = ["podman-compose", "--in-pod=false", "--project-name", self.project, *named, *arguments]
        done = subprocess.run(
            command,
            env={**self.engine.environment, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout[-8000:]}")
        return done.stdout

    @property
    def url(self) -> str:
        """Where it answers on this machine."""
        return f"http://{self.environment['WAYPOST_PUBLISH']}"

    @property
    def prometheus_url(self) -> str:
        """Where its Prometheus answers on this machine."""
        return f"http://{self.environment['PROMETHEUS_PUBLISH']}"

    def restart(self, service: str) -> None:
        """Start a container that has ended anew, as the engine's restart policy would."""
        self.engine.podman("start", self.container(service).id)

    def container(self, service: str) -> Container:
        """The one container of a service."""
        chosen = (
            f"--filter=label=com.docker.compose.project={self.project}",
            f"--filter=label=com.docker.compose.service={service}",
        )
        return Container(self.engine, self.engine.podman("ps", "--all", "--quiet", "--no-trunc", *chosen))


@contextmanager
def composed(engine: Engine, project: str, files: Sequence[Path], environment: Mapping[str, str]) -> Iterator[Compose]:
    """The project, for the block; its volumes go with it."""
    compose = Compose(engine, project, files, environment)
    try:
        compose.run("up", "--detach", "--no-build")
        yield compose
    finally:
        compose.run("down", "--volumes", "--timeout", "0")


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def free_network() -> str:
    """The first three numbers of a network of addresses that this machine has not."""
    routes = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True, timeout=60).stdout
    start = os.getpid() % 200
    numbers = ((start + step) % 254 for step in range(254))
    return next(f"10.83.{number}" for number in numbers if f"10.83.{number}." not in routes)
