"""`waypost smoke` as a step: its words, and what its report comes to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from waypost.deploy.errors import DeployFailed
from waypost.deploy.settings import SmokeSettings
from waypost.smoke.names import CHECKS

LONGEST = 2000


def smoke_words(
    settings: SmokeSettings, url: str, version: str | None, *, only: Sequence[str] = (), wait_s: float = 0
) -> list[str]:
    """The command's words after `waypost`. `only` names checks; none stands for all but those the deploy file skips."""
    words = ["smoke", url, "--json", "--timeout", f"{settings.timeout_s:g}"]
    words += ["--expect-version", version] if version else []
    words += ["--wait", f"{wait_s:g}"] if wait_s else []
    words += ["--model", settings.model] if settings.model else []
    left_out = [check for check in CHECKS if check not in only] if only else settings.skip
    words += [word for check in left_out for word in ("--skip", check)]
    return words + [word for check in settings.require if check not in left_out for word in ("--require", check)]


def smoke_keys(settings: SmokeSettings) -> dict[str, str]:
    """The keys of whoever deploys, by the names that the smoke test reads them."""
    names = {"WAYPOST_API_KEY": settings.key_env, "WAYPOST_ADMIN_KEY": settings.admin_key_env}
    return {name: os.environ[source] for name, source in names.items() if os.environ.get(source)}


def longest_s(settings: SmokeSettings) -> float:
    """Seconds that all checks together may take: each is one to four requests."""
    return settings.timeout_s * 2 * len(CHECKS)


def own_waypost() -> list[str]:
    """The command of this very installation."""
    return [sys.executable, "-m", "waypost.cli.main"]


def demand_passed(out: str, err: str) -> None:
    """Raises DeployFailed that names every check that failed."""
    try:
        report: dict[str, Any] = json.loads(out)
        checks = report["checks"]
    except (ValueError, KeyError, TypeError) as error:
        raise DeployFailed(f"The smoke test did not run: {(err or out).strip()[-LONGEST:]}") from error
    failed = [f"{check['name']}: {check['detail']}" for check in checks if check["status"] == "failed"]
    if failed:
        raise DeployFailed(f"The smoke test failed. {' '.join(failed)}"[:LONGEST])
