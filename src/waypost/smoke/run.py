"""Runs the checks, in an order in which each may rely on what those before it learned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, TypeAlias

from waypost.smoke.analysis import check_analysis
from waypost.smoke.answers import check_chat_stream, check_generation, check_stream
from waypost.smoke.asked import Smoke, Wishes
from waypost.smoke.client import Server
from waypost.smoke.limits import check_body_limit, check_rate_limit, check_wrong_key
from waypost.smoke.probes import check_health, check_metrics, check_ready, check_version
from waypost.smoke.verdict import CheckFailed, CheckSkipped, Report, Status, Verdict

Check: TypeAlias = Callable[[Smoke], Awaitable[str]]
"""Gives what is to be said of a server that passes. Raises CheckFailed, CheckSkipped."""

CHECKS: Final[Mapping[str, Check]] = {
    "health": check_health,
    "version": check_version,
    "ready": check_ready,
    "generation": check_generation,
    "stream": check_stream,
    "chat_stream": check_chat_stream,
    "analysis": check_analysis,
    "body_limit": check_body_limit,
    "wrong_key": check_wrong_key,
    "rate_limit": check_rate_limit,
    "metrics": check_metrics,
}
FIRST: Final = "health"
"""If it fails nobody is there, and the others would only say so again."""
PAUSE_S: Final = 0.1


async def run_checks(
    server: Server,
    wishes: Wishes,
    *,
    left_out: Collection[str] = (),
    required: Collection[str] = (),
    told: Callable[[Verdict], None] = lambda _: None,
) -> Report:
    """Every check but those `left_out`; one that is `required` may not be skipped. `told` gets each as it ends."""
    smoke = Smoke(server, wishes)
    verdicts: list[Verdict] = []
    for name, check in CHECKS.items():
        if name in left_out:
            continue
        if verdicts and verdicts[0].name == FIRST and verdicts[0].status == "failed":
            check = _nobody
        verdict = await _tried(name, check, smoke, required=name in required)
        verdicts.append(verdict)
        told(verdict)
    return Report(server.url, smoke.version, verdicts)


async def wait_until_up(server: Server, wait_s: float, version: str | None = None) -> None:
    """Return when /health answers, with this version if one is named, or when the time is over."""
    ends_at = time.monotonic() + wait_s
    while (left_s := ends_at - time.monotonic()) > 0:
        try:
            told = (await server.get("/health", timeout_s=min(left_s, server.timeout_s))).demand(200).json()
        except CheckFailed:
            told = {}
        if told and version in (None, told.get("version")):
            return
        await asyncio.sleep(min(PAUSE_S, left_s))


async def _tried(name: str, check: Check, smoke: Smoke, *, required: bool) -> Verdict:
    started_s = time.monotonic()
    status: Status = "passed"
    try:
        detail = await check(smoke)
    except CheckFailed as error:
        status, detail = "failed", str(error)
    except CheckSkipped as error:
        status, detail = ("failed", f"It is required, but {error}.") if required else ("skipped", str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # Whatever answers there is not what is documented.
        status, detail = "failed", f"The answer has not the form that is documented: {error!r}."
    return Verdict(name, status, detail, time.monotonic() - started_s)


async def _nobody(_smoke: Smoke) -> str:
    raise CheckSkipped("the server does not answer")
