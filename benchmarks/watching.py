"""What metrics cost: CPU time of a request with and without them, in turns at one server.

    python -m benchmarks.watching [--rounds 20]

The server counts in one turn and does not in the next (see `switched`); ratios are of turns that follow each other, so
that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import loads
from benchmarks.loads import JSON, STREAM, Load, fake_provider, outcome, wrk
from benchmarks.peers import PEERS_FOLDER, ROOT, Gateway, Launch, Setting, Waypost
from benchmarks.processes import BenchmarkError, Running, raise_file_limit

PYTHON = ROOT / ".venv/bin/python"
LOADS: Mapping[str, tuple[Load, int]] = {"json": (JSON, 16), "stream": (STREAM, 8)}


def main() -> int:
    """Measure and print. 2 if it cannot be done here."""
    parser = argparse.ArgumentParser(description="What metrics cost a request.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--turn-s", type=int, default=1)
    options = parser.parse_args()
    try:
        loads.require_tools()
        raise_file_limit()
        measure(options.rounds, options.turn_s)
    except BenchmarkError as error:
        print(f"watching: {error}", file=sys.stderr)
        return 2
    return 0


def measure(rounds: int, turn_s: int) -> None:
    """Every load, first with and then without, over and over."""
    PEERS_FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="watching-", dir=PEERS_FOLDER) as name,
        fake_provider(Path(name)) as provider,
        switched().running(provider.url, Path(name)) as server,
    ):
        for each, (load, connections) in LOADS.items():
            # The first turn warms up.
            cpu_us(server, load, connections, turn_s)
            turns = [_pair(server, load, connections, turn_s) for _ in range(rounds)]
            _print(each, [counted / plain for counted, plain in turns])


def _pair(server: Running, load: Load, connections: int, turn_s: int) -> tuple[float, float]:
    values = []
    for _ in range(2):
        values.append(cpu_us(server, load, connections, turn_s))
        os.kill(server.pid, signal.SIGUSR1)
    return values[0], values[1]


def cpu_us(server: Running, load: Load, connections: int, duration_s: int) -> float:
    """Microseconds of CPU time a request, of the server."""
    begun_s = server.cpu_s()
    with wrk(server, load, connections=connections, duration_s=duration_s) as process:
        ended = outcome(process).checked()
    return (server.cpu_s() - begun_s) / ended.requests * 1e6


def switched() -> Gateway:
    """Waypost, with observers that come and go."""
    gateway = Waypost(ROOT / ".venv/bin/waypost").gateway()

    def launch(setting: Setting) -> Launch:
        gateway.launch(setting)
        command = [str(PYTHON), "-m", "benchmarks.switched", str(setting.folder / "waypost.yaml"), str(setting.port)]
        return Launch(command, {"PYTHONPATH": str(ROOT)})

    return Gateway("switched", gateway.version, launch)


def _print(load: str, ratios: Sequence[float]) -> None:
    ranked = sorted(ratios)
    low, high = ranked[len(ranked) // 4], ranked[-1 - len(ranked) // 4]
    print(f"{load:8} {statistics.median(ratios):.3f} (half of the turns: {low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
