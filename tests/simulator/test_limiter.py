"""simulator/limiter.py: a minute's limit holds for every minute."""

from __future__ import annotations

import aiohttp
from tests.simulator.dialects import DIALECTS, body_of, path_of

from waypost.simulator import Simulator
from waypost.simulator.limiter import Limiter, RateLimits, SeenPace


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_request_more_than_a_minute_allows_is_refused_until_the_oldest_is_a_minute_old() -> None:
    clock = Clock()
    limiter, limits = Limiter(clock=clock), RateLimits(requests_per_minute=2)
    assert limiter.wait_s("k", 1, limits) is None
    clock.now_s += 30
    assert limiter.wait_s("k", 1, limits) is None
    clock.now_s += 10
    assert limiter.wait_s("k", 1, limits) == 20
    assert limiter.wait_s("other", 1, limits) is None, "each key has its own"
    clock.now_s += 20
    assert limiter.wait_s("k", 1, limits) is None
    assert limiter.seen[0] == SeenPace("k", requests=3, refused=1, most_requests=3, most_tokens=3)


def test_tokens_are_limited_by_themselves() -> None:
    clock = Clock()
    limiter, limits = Limiter(clock=clock), RateLimits(tokens_per_minute=100)
    assert [limiter.wait_s("k", 60, limits) is None for _ in range(2)] == [True, False]
    assert limiter.wait_s("k", 40, limits) is None
    clock.now_s += 60
    assert limiter.wait_s("k", 100, limits) is None


async def test_the_limit_is_told_as_the_provider_tells_it_and_what_was_seen_is_there_to_read() -> None:
    async with (
        Simulator({"limits": {"requests_per_minute": 1}}) as simulator,
        aiohttp.ClientSession() as session,
    ):
        url = simulator.url + path_of("openai", "simulated", stream=False)
        body = body_of("openai", "hi", model="simulated", stream=False)
        seen = []
        for _ in range(2):
            async with session.post(url, json=body, headers=DIALECTS["openai"].headers) as reply:
                seen.append((reply.status, reply.headers.get("retry-after")))
        assert seen[0] == (200, None)
        assert seen[1][0] == 429
        assert 1 <= int(seen[1][1] or 0) <= 60
        async with session.get(f"{simulator.url}/simulator/limits") as told:
            keys = (await told.json())["keys"]
        assert [(key["requests"], key["refused"], key["most_requests"]) for key in keys] == [(1, 1, 2)]
        simulator.clear()
        assert simulator.paces == []
