"""Does a locked requirement have a known weakness? Asked of an advisory service, which may be out of reach."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAIT_S = 10
LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class Advisories:
    """`weak`: a line for each requirement with a known weakness. `unknown`: why not all could be learned."""

    weak: tuple[str, ...]
    asked: int
    unknown: str | None


def ask(requirements: Path, report: Path, osv_url: str | None = None) -> Advisories:
    """What pip-audit learns of the requirements; its own report is written to `report`."""
    report.unlink(missing_ok=True)
    service = ["--vulnerability-service", "osv", "--osv-url", osv_url] if osv_url else []
    command = ["pip-audit", "--requirement", str(requirements), "--disable-pip", "--require-hashes", *service]
    options = ["--timeout", str(WAIT_S), "--progress-spinner", "off", "--format", "json", "--output", str(report)]
    try:
        ran = subprocess.run([*command, *options], capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return Advisories((), 0, f"the advisory service did not answer within {LONGEST_S} s")
    if not report.is_file():
        last = ran.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return Advisories((), 0, f"the advisory service cannot be reached: {last[0][:300]}")
    return _read(json.loads(report.read_text(encoding="utf-8"))["dependencies"])


def _read(dependencies: list[dict[str, Any]]) -> Advisories:
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    weak = [
        f"{each['name']} {each['version']}: {weakness['id']}, mended in {', '.join(weakness['fix_versions']) or 'none'}"
        for each in dependencies
        for weakness in each.get("vulns", ())
    ]
    unknown = f"the service knows nothing of {', '.join(sorted(skipped)[:5])}" if skipped else None
    if len(skipped) > 5:
        unknown = f"{unknown} and {len(skipped) - 5} more"
    return Advisories(tuple(weak), len(dependencies) - len(skipped), unknown)
