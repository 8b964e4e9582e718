"""What is proved of a client by the requests it made, and what is not held against it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from tests.simulator.dialects import DIALECTS, body_of, path_of

from waypost.simulator import SeenRequest, Simulator
from waypost.simulator.verdict import STORM_ATTEMPTS, Verdict, verdicts

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


def seen(number: int, at_s: float, **known: Any) -> SeenRequest:
    """A request that began so many seconds after midnight and took none."""
    when = (MIDNIGHT + timedelta(seconds=at_s)).isoformat(timespec="milliseconds")
    request = {"duration_ms": 0, "outcome": "completed", "status": 200, "body_sha256": "same", **known}
    return SeenRequest(number, when, "POST", "/v1/messages", {"user-agent": "sdk"}, **request)


FAILED = {"outcome": "fault", "fault": "status", "status": 429}


def judged(*requests: SeenRequest) -> Verdict:
    [verdict] = verdicts(requests)
    return verdict


def test_a_retry_before_the_wait_is_over_is_early_and_one_after_it_is_not() -> None:
    wait = {**FAILED, "retry_after_s": 2.0}
    assert judged(seen(1, 0, **wait), seen(2, 1.5)).early_retries == (2,)
    good = judged(seen(1, 0, **wait), seen(2, 2.0))
    assert (good.early_retries, good.retries, good.is_good) == ((), 1, True)


def test_another_request_is_no_retry() -> None:
    verdict = judged(seen(1, 0, **FAILED, retry_after_s=9.0), seen(2, 1, body_sha256="other"))
    assert (verdict.retries, verdict.requests) == (0, 2)


def test_many_failures_in_a_row_are_a_storm_only_if_they_are_quick() -> None:
    quick = [seen(number, number * 0.1, **FAILED) for number in range(1, STORM_ATTEMPTS + 1)]
    assert judged(*quick).storms == (1,)
    assert judged(*quick[:-1]).storms == ()
    slow = [seen(number, number * 60, **FAILED) for number in range(1, STORM_ATTEMPTS + 1)]
    assert judged(*slow).storms == ()


def test_asking_again_for_what_was_refused_for_good_is_vain() -> None:
    assert judged(seen(1, 0, outcome="refused", status=401), seen(2, 5)).vain_retries == (2,)


def test_a_broken_stream_is_listed_and_whether_it_was_asked_for_again() -> None:
    cut = {"outcome": "fault", "fault": "cut_after_events"}
    verdict = judged(seen(1, 0, **cut), seen(2, 1), seen(3, 2, **cut, body_sha256="other"))
    assert (verdict.broken_streams, verdict.asked_again) == ((1, 3), (1,))


def test_clients_are_told_apart_by_key() -> None:
    requests = [seen(1, 0, key_hash="a", **FAILED), seen(2, 1, key_hash="b")]
    assert [(verdict.key_hash, verdict.retries) for verdict in verdicts(requests)] == [("a", 0), ("b", 0)]


async def test_the_verdict_has_a_page() -> None:
    headers = DIALECTS["openai"].headers
    async with Simulator() as simulator, aiohttp.ClientSession() as session:
        for _ in range(2):
            content = body_of("openai", "hi", model="status-429-30")
            async with session.post(simulator.url + path_of("openai"), json=content, headers=headers) as reply:
                assert reply.status == 429
        async with session.get(f"{simulator.url}/simulator/verdict") as reply:
            [client] = (await reply.json())["clients"]
    assert (client["requests"], client["early_retries"]) == (2, [2])
