"""Where the server's CPU time goes: py-spy beside one load, as a flame graph and as tables by function and package.

The flame graph and the tables come from two recordings of the same load, one after the other. Nothing is changed in
the server, and py-spy stops it for each sample only: figures under the profiler are some per cent worse.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks import loads
from benchmarks.hotspots import by_package, hotspots, package_table, table
from benchmarks.loads import Load
from benchmarks.peers import PEERS_FOLDER, ROOT, Waypost
from benchmarks.processes import BenchmarkError, Running, raise_file_limit

PY_SPY = PEERS_FOLDER / "tools/bin/py-spy"
RESULTS = Path(__file__).resolve().parent / "results"
RATE_HZ = 250
WARM_UP_S = 2
LOADS: Mapping[str, tuple[Load, int]] = {
    "json": (loads.JSON, 32),
    "stream": (loads.STREAM, 8),
    "paced": (loads.PACED, 200),
    "translated-json": (loads.TRANSLATED_JSON, 32),
    "translated-stream": (loads.TRANSLATED_STREAM, 8),
}
"""What the server is under, and with how many connections."""


def main() -> int:
    """Record, print the tables, write them and the graph. 2 if it cannot be done here."""
    options = _options()
    try:
        page, graph = profile(options)
    except BenchmarkError as error:
        print(f"profile: {error}", file=sys.stderr)
        return 2
    print(page)
    (options.out / f"profile-{options.load}.md").write_text(page)
    print(f"written: {options.out}/profile-{options.load}.md, {graph}", file=sys.stderr)
    return 0


def profile(options: argparse.Namespace) -> tuple[str, Path]:
    """The tables as a page, and the file of the flame graph. Raises BenchmarkError."""
    loads.require_tools()
    if not PY_SPY.exists():
        raise BenchmarkError("py-spy is not installed: run benchmarks/setup")
    raise_file_limit()
    options.out.mkdir(parents=True, exist_ok=True)
    gateway = Waypost(options.waypost.absolute()).gateway()
    graph = options.out / f"profile-{options.load}.svg"
    with tempfile.TemporaryDirectory(prefix="profile-", dir=PEERS_FOLDER) as name:
        folder = Path(name)
        with loads.fake_provider(folder) as provider, gateway.running(provider.url, folder) as server:
            loads.look_at(server)
            _record(options, server, "raw", folder / "stacks.txt")
            _record(options, server, "flamegraph", graph)
            stacks = (folder / "stacks.txt").read_text()
    return _page(options.load, stacks, options.count), graph


def _record(options: argparse.Namespace, server: Running, form: str, file: Path) -> None:
    load, connections = LOADS[options.load]
    command = [str(PY_SPY), "record", "--pid", str(server.pid), "--format", form, "--output", str(file)]
    # Functions instead of lines, and the children of a server with several workers.
    command += ["--rate", str(RATE_HZ), "--duration", str(options.seconds), "--function", "--subprocesses"]
    command += ["--native"] if options.native else []
    seconds = options.seconds + WARM_UP_S + 30
    with loads.wrk(server, load, connections=connections, duration_s=WARM_UP_S) as warm_up:
        loads.outcome(warm_up)
    with loads.wrk(server, load, connections=connections, duration_s=seconds):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    if done.returncode or not file.exists():
        raise BenchmarkError(f"py-spy failed (it needs the right to trace a process): {done.stderr.strip()[-300:]}")


def _page(load: str, stacks: str, count: int) -> str:
    spots = hotspots(stacks.splitlines())
    if not spots:
        raise BenchmarkError("no sample was taken")
    widest = sorted(spots, key=lambda spot: -spot.total)
    sections = {
        f"Profile under the load `{load}`: own time by function": table(spots, count),
        "Own time by package": package_table(by_package(spots), count),
        "Time with callees by function": table(widest, 2 * count),
    }
    return "\n".join(f"## {title}\n\n{rows}" for title, rows in sections.items())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/profile", description="Show where the server's CPU time goes.")
    parser.add_argument("load", choices=LOADS, nargs="?", default="json", help="what the server is under [json]")
    parser.add_argument("--seconds", type=int, default=10, help="length of each of the two recordings [10]")
    parser.add_argument("--count", type=int, default=20, help="rows of the tables [20]")
    parser.add_argument("--native", action="store_true", help="show compiled extensions' functions too")
    parser.add_argument("--waypost", type=Path, default=ROOT / ".venv/bin/waypost", help="the command to look at")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
