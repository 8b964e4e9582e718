"""The server lives, can serve, is of the version that is expected, and lets itself be measured."""

from __future__ import annotations

import re

from waypost.smoke.asked import Smoke
from waypost.smoke.verdict import CheckFailed, CheckSkipped

BUILD_INFO = re.compile(r'^waypost_build_info\{[^}]*version="([^"]*)"[^}]*\}\s+1(?:\.0)?$', re.MULTILINE)


async def check_health(smoke: Smoke) -> str:
    """GET /health."""
    told = (await smoke.server.get("/health")).demand(200).json()
    if told.get("status") != "ok":
        raise CheckFailed(f"/health says {told.get('status')!r}, not 'ok'.")
    smoke.version = str(told.get("version", ""))
    return f"up for {float(told.get('uptime_s', 0)):.0f} s"


async def check_version(smoke: Smoke) -> str:
    """The version that /health tells."""
    expected = smoke.wishes.expect_version
    if expected is not None and smoke.version != expected:
        raise CheckFailed(f"The server is of version {smoke.version}, not {expected}.")
    if not smoke.version:
        raise CheckFailed("/health names no version.")
    return smoke.version


async def check_ready(smoke: Smoke) -> str:
    """GET /ready."""
    reply = await smoke.server.get("/ready")
    told = reply.demand(200).json()
    providers = told.get("providers", {})
    unwell = [name for name, state in providers.items() if state.get("status") == "unavailable"]
    return f"{len(providers)} providers" + (f", of which {', '.join(unwell)} cannot answer now" if unwell else "")


async def check_metrics(smoke: Smoke) -> str:
    """GET /metrics, as Prometheus would."""
    key = smoke.wishes.admin_key or smoke.wishes.key
    reply = await smoke.server.get("/metrics", key)
    if reply.status == 404:
        raise CheckSkipped("the server has no /metrics, or it is switched off")
    if reply.status in (401, 403):
        raise CheckSkipped("the server shows its metrics to an admin key only")
    found = BUILD_INFO.search(reply.demand(200).body.decode(errors="replace"))
    if found is None:
        raise CheckFailed("/metrics answers, and has no waypost_build_info.")
    if found[1] != smoke.version:
        raise CheckFailed(f"/metrics tells of version {found[1]}, /health of {smoke.version}.")
    lines = [line for line in reply.body.splitlines() if line and not line.startswith(b"#")]
    return f"{len(lines)} series"
