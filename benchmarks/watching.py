"""What metrics cost: CPU time of a request with and without them, and beside another checkout's, in interleaved turns.

    python -m benchmarks.watching [--rounds 12] [--before OTHER/.venv/bin/waypost]

Servers run side by side on one core, and each in turn gets a short load; ratios are of turns that follow each other, so
that what else the machine does falls on both. Without `--before` there are two: metrics on, as by default, and off.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import loads
from benchmarks.loads import JSON, STREAM, Load, fake_provider, outcome, wrk
from benchmarks.peers import PEERS_FOLDER, ROOT, Gateway, Launch, Setting, Waypost
from benchmarks.processes import BenchmarkError, Running, raise_file_limit

OWN = ROOT / ".venv/bin/waypost"
LOADS: Mapping[str, tuple[Load, int]] = {"json": (JSON, 16), "stream": (STREAM, 8)}
OFF = "metrics off"
ON = "metrics on"
BEFORE = "before"
METRICS_OFF = '"telemetry": {"metrics": "off"},'


def main() -> int:
    """Measure and print. 2 if it cannot be done here."""
    parser = argparse.ArgumentParser(description="What metrics cost a request.")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--turn-s", type=int, default=2)
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    try:
        loads.require_tools()
        raise_file_limit()
        measure(options.rounds, options.turn_s, options.before)
    except BenchmarkError as error:
        print(f"watching: {error}", file=sys.stderr)
        return 2
    return 0


def measure(rounds: int, turn_s: int, before: Path | None) -> None:
    """Every load, at each server in turn."""
    PEERS_FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="watching-", dir=PEERS_FOLDER) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        provider = stack.enter_context(fake_provider(folder))
        arms = {
            each: stack.enter_context(gateway.running(provider.url, folder)) for each, gateway in _arms(before).items()
        }
        for each, (load, connections) in LOADS.items():
            turns: dict[str, list[float]] = {arm: [] for arm in arms}
            for _ in range(rounds + 1):
                for arm, server in arms.items():
                    turns[arm].append(cpu_us(server, load, connections, turn_s))
            # The first turn warms up.
            _print(each, {arm: values[1:] for arm, values in turns.items()})


def cpu_us(server: Running, load: Load, connections: int, duration_s: int) -> float:
    """Microseconds of CPU time a request, of the server and its children."""
    begun_s = server.cpu_s()
    with wrk(server, load, connections=connections, duration_s=duration_s) as process:
        ended = outcome(process).checked()
    return (server.cpu_s() - begun_s) / ended.requests * 1e6


def _arms(before: Path | None) -> Mapping[str, Gateway]:
    own = Waypost(OWN)
    arms = {OFF: _named(own, "off", metrics=False), ON: _named(own, "on", metrics=True)}
    return arms if before is None else {BEFORE: _named(Waypost(before), "before", metrics=True), **arms}


def _named(waypost: Waypost, name: str, *, metrics: bool) -> Gateway:
    gateway = waypost.gateway()

    def launch(setting: Setting) -> Launch:
        made = gateway.launch(setting)
        file = setting.folder / "waypost.yaml"
        if not metrics:
            file.write_text(file.read_text().replace("{", "{" + METRICS_OFF, 1))
        return made

    return Gateway(name, gateway.version, launch)


def _print(load: str, turns: Mapping[str, Sequence[float]]) -> None:
    first = next(iter(turns))
    for arm, values in turns.items():
        ratios = sorted(value / base for value, base in zip(values, turns[first], strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        ratio = statistics.median(ratios)
        print(f"{load:8} {arm:12} {ratio:.3f} of {first} (half of the turns: {low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
