"""Real server processes beside real workers, for tests of what callers see of durable jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Server:
    """`waypost serve` in a process of its own. Those with one `data` folder are on one machine."""

    folder: Path
    settings: Mapping[str, Any]
    name: str = "server"
    url: str = ""
    process: subprocess.Popen[str] | None = None

    @property
    def log(self) -> str:
        """All it has said so far."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self.name}.yaml"
        file.write_text(yaml.safe_dump({"data_dir": str(self.folder / "data"), **self.settings}))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
        command = [sys.executable, "-m", "waypost.cli.main", "serve", "--port", "0", "--config", str(file)]
        with (self.folder / f"{self.name}.log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log
        self.url = line.split()[3]

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()


@contextmanager
def servers(*each: Server) -> Iterator[None]:
    """They run during the block, whatever becomes of them in it."""
    try:
        for server in each:
            server.start()
        yield
    finally:
        for server in each:
            server.kill()
