"""The soak: Waypost under a mixed load for long, its memory looked at all the while. Flat is what it has to be.

JSON, streams at once, paced streams and translated requests take turns, some of them cut off by the caller, as wrk
does when its time is over: memory that a cut stream leaves behind is what such a test finds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import loads, report
from benchmarks.peers import PEERS_FOLDER, ROOT, Waypost
from benchmarks.processes import BenchmarkError, Running, raise_file_limit
from benchmarks.trend import Point, is_flat, settled, trend

RESULTS = Path(__file__).resolve().parent / "results"
TURN_S = 10
SHORT_TURN_S = 5
"""In a soak of a few minutes, which would else have too few samples; a paced stream still ends within it."""
MIX = (
    (loads.JSON, 32),
    (loads.STREAM, 8),
    (loads.PACED, 100),
    (loads.TRANSLATED_JSON, 32),
    (loads.TRANSLATED_STREAM, 8),
)
"""What takes turns, and with how many connections; all of it once is one cycle, and each cycle ends with a sample."""


def main() -> int:
    """Load, look, judge. 0 if memory is flat, 1 if it grows, 2 if it cannot be measured here."""
    options = _options()
    try:
        loads.require_tools()
        raise_file_limit()
        points, requests = soak(options)
        found = trend(settled(points))
    except (BenchmarkError, ValueError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    flat = is_flat(found)
    summary = {
        "taken_at": report.now(),
        "minutes": options.minutes,
        "requests": requests,
        "first_mb": points[0][1],
        "peak_mb": max(size for _, size in points),
        "start_mb": found.start_mb,
        "end_mb": found.end_mb,
        "mb_an_hour": found.mb_an_hour,
        "verdict": "pass" if flat else "fail",
    }
    print(json.dumps(summary, indent=1))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "soak.json").write_text(json.dumps({**summary, "points": points}, indent=1) + "\n")
    return 0 if flat else 1


def soak(options: argparse.Namespace) -> tuple[list[Point], int]:
    """Hours and MB after each cycle, and how many requests were done. Raises BenchmarkError if requests fail."""
    gateway = Waypost(options.waypost.absolute()).gateway()
    with tempfile.TemporaryDirectory(prefix="soak-", dir=PEERS_FOLDER) as name:
        folder = Path(name)
        with loads.fake_provider(folder) as provider, gateway.running(provider.url, folder) as server:
            loads.look_at(server)
            points = _watch(server, options.minutes * 60, TURN_S if options.minutes >= 10 else SHORT_TURN_S)
            return points, loads.provider_counts(provider)["requests"]


def _watch(server: Running, length_s: float, turn_s: float) -> list[Point]:
    begun = time.monotonic()
    points: list[Point] = []
    for load, connections in itertools.cycle(MIX):
        with loads.wrk(server, load, connections=connections, duration_s=turn_s) as process:
            loads.outcome(process).checked()
        # The log is a file of ours that would fill the disk within hours.
        server.truncate_log()
        if load == MIX[-1][0]:
            elapsed_s = time.monotonic() - begun
            points.append((elapsed_s / 3600, server.rss_mb()))
            print(f"[{elapsed_s:6.0f} s] {points[-1][1]:.1f} MB", file=sys.stderr, flush=True)
            if elapsed_s >= length_s:
                return points
    raise AssertionError("a cycle has no end")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/soak", description="Watch the server's memory under load.")
    parser.add_argument("minutes", type=float, nargs="?", default=60, help="how long [60]")
    parser.add_argument("--waypost", type=Path, default=ROOT / ".venv/bin/waypost", help="the command to watch")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
