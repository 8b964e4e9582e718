"""`python -m benchmarks`: one run, its table on the screen, and table, samples and picture in benchmarks/results/."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import chart, loads, measure, report
from benchmarks.goals import WORKS
from benchmarks.measure import GROUPS, QUICK, Bench, Effort
from benchmarks.peers import PEERS, PEERS_FOLDER, ROOT, Gateway, Waypost, peer
from benchmarks.processes import BenchmarkError, raise_file_limit

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Measure, print, write. 0 if every goal that was measured is reached, 1 if not, 2 if nothing can be measured."""
    options = _options()
    try:
        found = _measure(options)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    page = report.markdown(found)
    print(page)
    _write(found, page, options.out, "quick" if options.quick or options.only else "latest")
    return int(any(judged.verdict == "fail" for _, _, judged in found.rows() if judged))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Waypost beside its peers.")
    parser.add_argument("--quick", action="store_true", help="few rounds, in under three minutes; for a first look")
    parser.add_argument("--only", default="", help=f"some of: {','.join(GROUPS)}")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"none, or some of: {','.join(PEERS)}")
    parser.add_argument(
        "--waypost",
        type=Path,
        default=ROOT / ".venv/bin/waypost",
        help="the command to measure, of this checkout or another",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    options.only = _chosen(parser, options.only, GROUPS)
    options.peers = [] if options.peers == "none" else _chosen(parser, options.peers, PEERS)
    return options


def _chosen(parser: argparse.ArgumentParser, text: str, known: object) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in known]  # type: ignore[operator]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    return names


def _measure(options: argparse.Namespace) -> report.Report:
    loads.require_tools()
    raise_file_limit()
    PEERS_FOLDER.mkdir(exist_ok=True)
    say = _teller()
    waypost = Waypost(options.waypost.absolute())
    machine = report.describe_machine(waypost.python)
    peers, missing = _installed(options.peers)
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=PEERS_FOLDER) as folder,
        loads.fake_provider(Path(folder)) as provider,
    ):
        bench = Bench(provider, Path(folder), waypost, QUICK if options.quick else Effort(), say)
        ours = waypost.gateway()
        gateways = [ours, *peers]
        quick_ones = [one for one in gateways if one.paced_connections is None]
        slow_ones = [one for one in gateways if one.paced_connections is not None]
        groups = options.only or list(GROUPS)
        _run(bench, quick_ones, groups)
        # By itself, so that what it does while idle takes nothing from the others.
        _run(bench, slow_ones, [group for group in groups if not (options.quick and group == "rss")])
    versions = {one.name: one.version for one in gateways}
    notes = [*missing, *(f"{name}: {note}" for name in versions for note in bench.notes.get(name, ()))]
    return report.Report(
        taken_at=report.now(),
        machine=machine,
        versions=versions,
        quick=options.quick,
        measured={work.id: bench.measured(work.id) for work in WORKS},
        partial=bool(options.only),
        notes=notes,
    )


def _run(bench: Bench, gateways: Sequence[Gateway], groups: Sequence[str]) -> None:
    if not gateways:
        return
    with measure.contending(bench, gateways) as contenders:
        for name, group in GROUPS.items():
            if name not in groups or not contenders:
                continue
            try:
                group(bench, contenders)
            except (BenchmarkError, OSError) as error:
                bench.note(name, f"failed: {error}")


def _installed(names: Sequence[str]) -> tuple[list[Gateway], list[str]]:
    found, missing = [], []
    for name in names:
        try:
            found.append(peer(name))
        except BenchmarkError as error:
            missing.append(str(error))
    return found, missing


def _teller() -> Callable[[str], None]:
    begun = time.monotonic()
    return lambda text: print(f"[{time.monotonic() - begun:5.0f} s] {text}", file=sys.stderr, flush=True)


def _write(found: report.Report, page: str, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.svg").write_text(chart.draw(found))
    (folder / f"{name}.json").write_text(json.dumps(report.as_json(found), indent=1, ensure_ascii=False) + "\n")
    (folder / f"{name}.md").write_text(f"{page}\n![Share of each goal that is used]({name}.svg)\n")
    print(f"written: {folder}/{name}.md, .json, .svg", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
