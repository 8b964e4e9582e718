"""The simulator in a container, as the provider of servers in containers: same network, found by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from tests.ops.engine import Container, Engine

NAME: Final = "provider"
PORT: Final = 8100
SERVE: Final = (
    "from pathlib import Path; from waypost.simulator import serve; "
    f"serve('{NAME}', {PORT}, Path('/etc/waypost/script.yaml'))"
)
"""It answers to the name that it listens at, and to no other."""
SCRIPT: Final = Path(__file__).parent / "provider.yaml"


@dataclass(frozen=True, slots=True)
class Provider:
    """A simulator that runs; `options` let a container reach it, by the variables of OpenAI's clients."""

    container: Container
    network: str

    @property
    def options(self) -> tuple[str, ...]:
        """Options of `podman run` for a server that asks it."""
        url = f"http://{NAME}:{PORT}/v1"
        return (f"--network={self.network}", "--env=OPENAI_API_KEY=any", f"--env=OPENAI_BASE_URL={url}")

    def requests(self) -> list[dict[str, Any]]:
        """What it was asked."""
        return seen_by(self.container)


def seen_by(container: Container) -> list[dict[str, Any]]:
    """What the simulator in a container was asked."""
    connection = HTTPConnection(container.address, PORT, timeout=30)
    try:
        connection.request("GET", "/simulator/requests", headers={"host": f"{NAME}:{PORT}"})
        requests: list[dict[str, Any]] = json.loads(connection.getresponse().read())["requests"]
        return requests
    finally:
        connection.close()


@contextmanager
def simulated(engine: Engine, image: str) -> Iterator[Provider]:
    """A provider in a network of its own, for the block."""
    network = engine.podman("network", "create", "asked")
    options = ("--entrypoint=python", f"--network={network}", f"--hostname={NAME}", f"--name={NAME}")
    script = f"--volume={SCRIPT}:/etc/waypost/script.yaml:ro"
    with engine.run(image, "-c", SERVE, options=[*options, script]) as container:
        container.until("Simulating")
        yield Provider(container, network)
