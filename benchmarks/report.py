"""What a run found, as a Markdown table and as JSON. Pure, but for `describe_machine`."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.goals import GOALS, OURS, WORKS, Goal, Judged, Measured, Verdict, Work, judge, words

VERDICT_WORDS: Mapping[Verdict, str] = {"pass": "reached", "fail": "missed", "not measured": "not measured"}


@dataclass(frozen=True, slots=True)
class Report:
    """One run: when and where, whose versions, what was measured, and what else a reader must know."""

    taken_at: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    quick: bool
    measured: Mapping[str, Measured]
    partial: bool = False
    """Whether only some work was to be measured; the rest is then left out."""
    notes: Sequence[str] = ()

    def names(self) -> list[str]:
        """The gateways, ours first."""
        return list(self.versions)

    def rows(self) -> list[tuple[Work, Goal | None, Judged | None]]:
        """Each kind of work with each of its goals; work without a goal once."""
        rows: list[tuple[Work, Goal | None, Judged | None]] = []
        for work in WORKS:
            found = self.measured.get(work.id, Measured())
            if self.partial and not found.samples and not found.notes:
                continue
            goals = [goal for goal in GOALS if goal.work == work.id]
            rows += [(work, goal, judge(goal, found)) for goal in goals] or [(work, None, None)]
        return rows


def describe_machine(python: str | None = None) -> dict[str, str]:
    """The machine that this runs on, as far as it matters for the figures.

    `python` is what the server runs on; None: what this does.
    """
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": python or platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def now() -> str:
    """This minute, UTC."""
    return datetime.now(UTC).isoformat(timespec="minutes")


def markdown(report: Report) -> str:
    """The report as a page: what was measured where, the table, the notes."""
    names = report.names()
    head = ["work", "unit", *names, "goal", "ratio", ""]
    lines = [_row(head), _row(["---", "---", *["---:"] * (len(names) + 2), "---"])]
    shown = ""
    for work, goal, judged in report.rows():
        found = report.measured.get(work.id, Measured())
        # Work with two goals stands in two rows, its figures in the first.
        figures = ["" if work.id == shown else figure(work, found, name) for name in names]
        cells = [work.title, work.unit] if work.id != shown else ["", ""]
        goal_words = words(goal, work.unit) if goal else ""
        lines.append(_row([*cells, *figures, goal_words, _ratio(judged), judged.verdict if judged else ""]))
        shown = work.id
    notes = [*report.notes, *(f"{work}: {note}" for work, found in report.measured.items() for note in found.notes)]
    return "\n".join([*_preamble(report), *lines, "", *(f"- {note}" for note in notes), ""])


def as_json(report: Report) -> dict[str, Any]:
    """The report with every sample, for programs."""
    return {
        "taken_at": report.taken_at,
        "machine": dict(report.machine),
        "versions": dict(report.versions),
        "quick": report.quick,
        "notes": list(report.notes),
        "works": {
            work.id: {
                "title": work.title,
                "unit": work.unit,
                "figures": {name: found.figure(name) for name in found.samples},
                "samples": {name: list(samples) for name, samples in found.samples.items()},
                "notes": list(found.notes),
            }
            for work in WORKS
            if (found := report.measured.get(work.id, Measured())).samples or found.notes
        },
        "goals": [_goal(judged) for _, _, judged in report.rows() if judged],
    }


def figure(work: Work, found: Measured, name: str) -> str:
    """A figure as the table shows it."""
    value = found.figure(name)
    return "-" if value is None else f"{value:,.{work.digits}f}"


def _preamble(report: Report) -> list[str]:
    effort = "quick run: few rounds, for a first look only" if report.quick else "full run"
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    machine = ", ".join(f"{name}: {value}" for name, value in report.machine.items())
    verdicts = [judged.verdict for _, _, judged in report.rows() if judged]
    counts = ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in VERDICT_WORDS.items())
    return [
        f"# Benchmark of {OURS} and its peers",
        "",
        f"{report.taken_at}, {effort}. {versions}. {machine}.",
        "",
        f"Goals: {counts}. Less is better, except requests a second.",
        "",
    ]


def _ratio(judged: Judged | None) -> str:
    if judged is None or judged.share is None:
        return ""
    # Far below one, the other way round is easier to read.
    if judged.ratio is not None and judged.ratio < 0.1:
        return f"1 / {1 / judged.ratio:.1f}" if judged.ratio else "0"
    return f"{judged.share if judged.ratio is None else judged.ratio:.2f}"


def _goal(judged: Judged) -> dict[str, Any]:
    goal = judged.goal
    return {
        "work": goal.work,
        "limit": goal.limit,
        "against": goal.against,
        "verdict": judged.verdict,
        "ratio": judged.ratio,
        "share_of_limit": judged.share,
    }


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _processor() -> str:
    with Path("/proc/cpuinfo").open() as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
