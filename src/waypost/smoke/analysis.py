"""An analysis, from its request to its end: the database, the queue and a worker have to work together for it."""

from __future__ import annotations

import time
from typing import Any

from waypost.smoke.asked import Smoke
from waypost.smoke.verdict import CheckFailed, CheckSkipped

ANALYZE = "/api/ai/analyze"
ENDED = ("succeeded", "failed", "cancelled")
LONGEST_WAIT_S = 20
CONTENT = (
    "The lamp arrived broken and nobody answered the phone for forty minutes. "
    "The refund came on the same day, though, and the new lamp is beautiful."
)


async def check_analysis(smoke: Smoke) -> str:
    """POST /api/ai/analyze, then the job until it has ended."""
    key = smoke.wishes.key
    wishes = {} if smoke.wishes.model is None else {"model": smoke.wishes.model}
    body = {"content": CONTENT, "allow_offline": True, "priority": 0, "tags": {"smoke": "true"}, **wishes}
    reply = await smoke.server.post(ANALYZE, body, key)
    if reply.status == 422 and reply.code == "unsupported_feature":
        raise CheckSkipped("the server takes on no jobs")
    begun = reply.demand(202).json()
    job = await _ended(smoke, str(begun.get("url") or f"/api/ai/jobs/{begun['job_id']}"))
    if job["state"] != "succeeded":
        error = job.get("error") or {}
        raise CheckFailed(f"The job {job['id']} has {job['state']}: {error.get('message', 'it does not say why')}")
    results: dict[str, Any] = (job.get("result") or {}).get("results", {})
    statuses = {name: result.get("status") for name, result in results.items()}
    if not statuses or "failed" in statuses.values():
        raise CheckFailed(f"The job {job['id']} ended without a result: {statuses or 'there is none'}.")
    return ", ".join(f"{name}: {status}" for name, status in statuses.items())


async def _ended(smoke: Smoke, url: str) -> dict[str, Any]:
    """The job at its end. Raises CheckFailed after the time of one request."""
    ends_at = time.monotonic() + smoke.server.timeout_s
    while True:
        left_s = max(1, round(min(LONGEST_WAIT_S, ends_at - time.monotonic())))
        reply = await smoke.server.get(f"{url}?wait={left_s}", smoke.wishes.key, timeout_s=left_s + 10)
        job = reply.demand(200).json()
        if job.get("state") in ENDED:
            return job
        if time.monotonic() >= ends_at:
            raise CheckFailed(
                f"The job {job.get('id')} is still {job.get('state')} after {smoke.server.timeout_s:g} s. "
                "Is a worker alive?"
            )
