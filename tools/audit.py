"""What there is to know of the code's and its requirements' safety: python -m tools.audit [NAME ...]

Each row of ROWS is a line of the table that is printed, and leaves a report under --reports. Exit code 1 if one fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tools import advisories, licences, secret_scan

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line."""

    root: Path
    reports: Path
    python: Path
    require_advisories: bool
    osv_url: str | None
    accept: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row's word and sentence, and the lines under it."""

    word: str
    sentence: str
    lines: tuple[str, ...] = ()


Row: TypeAlias = Callable[[Asked], Outcome]


def _judged(lines: list[str] | tuple[str, ...], well: str) -> Outcome:
    return Outcome("FAIL", f"{len(lines)} found", tuple(lines)) if lines else Outcome("ok", well)


def code(asked: Asked) -> Outcome:
    """What bandit says of the package and the tools: what is of middling severity or more fails."""
    report = asked.reports / "bandit.json"
    command = ["bandit", "--quiet", "--recursive", "src", "tools", "--format", "json", "--output", str(report)]
    # Paths from the root on, so that the report is the same everywhere.
    subprocess.run([*command, "--severity-level", "medium"], cwd=asked.root, capture_output=True, check=False)
    found = json.loads(report.read_text(encoding="utf-8"))
    told = [f"{each['filename']}:{each['line_number']}: {each['issue_text']}" for each in found["results"]]
    return _judged([*told, *(str(error) for error in found["errors"])], f"{found['metrics']['_totals']['loc']} lines")


def secrets(asked: Asked) -> Outcome:
    """What detect-secrets finds in what git knows."""
    found = secret_scan.found_in(asked.root)
    if asked.accept:
        secret_scan.accept(asked.root, found)
    (asked.reports / "secrets.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return _judged(secret_scan.unknown(found, secret_scan.known(asked.root)), "none that is not known to be none")


def licence(asked: Asked) -> Outcome:
    """The licences of all that is shipped."""
    found = licences.licences_of_shipped(asked.python)
    text = "\n".join(f"{name}: {licence}" for name, licence in sorted(found))
    (asked.reports / "licences.txt").write_text(text + "\n", encoding="utf-8")
    return _judged(licences.refused(found), f"{len(found)} packages")


def advisory(asked: Asked) -> Outcome:
    """Known weaknesses of the locked requirements."""
    requirements = asked.root / "requirements" / "ops.txt"
    learned = advisories.ask(requirements, asked.reports / "advisories.json", asked.osv_url)
    if learned.weak or not learned.unknown:
        return _judged(learned.weak, f"{learned.asked} requirements without a known weakness")
    return Outcome("FAIL" if asked.require_advisories else "none", learned.unknown)


def workflows(asked: Asked) -> Outcome:
    """What zizmor says of the workflows, as in `make check`."""
    command = [str(ROOT / "tools" / "check_ops"), "--root", str(asked.root), "zizmor"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return _judged(ran.stdout.splitlines() if ran.returncode else [], ran.stdout.partition("zizmor")[2].strip())


ROWS: Mapping[str, Row] = {
    "code": code,
    "secrets": secrets,
    "licences": licence,
    "advisories": advisory,
    "workflows": workflows,
}


def main() -> int:
    """Print the table; 1 if a row fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these rows: {', '.join(ROWS)}")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    parser.add_argument("--reports", type=Path, default=ROOT / "reports", help="folder for the reports")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="whose packages' licences are read")
    parser.add_argument("--require-advisories", action="store_true", help="fail if the advisory service is not reached")
    parser.add_argument("--osv-url", metavar="URL", help="ask this service, of OSV's form, instead of PyPI's")
    parser.add_argument("--accept", action="store_true", help="write down that what looks like a secret is none")
    told = vars(parser.parse_args())
    names = told.pop("names") or list(ROWS)
    if wrong := [name for name in names if name not in ROWS]:
        parser.error(f"there is no row {wrong[0]}; the rows are {', '.join(ROWS)}")
    asked = Asked(**told)
    asked.reports.mkdir(parents=True, exist_ok=True)
    # The programs of the locked requirements stand beside this Python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return max([_printed(name, ROWS[name](asked)) for name in names])


def _printed(name: str, outcome: Outcome) -> int:
    lines = [f"{outcome.word:4}  {name:10}  {outcome.sentence}", *(f"      {line}" for line in outcome.lines)]
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()
    return int(outcome.word == "FAIL")


if __name__ == "__main__":
    sys.exit(main())
