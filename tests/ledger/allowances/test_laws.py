"""Laws of budgets and limits, whatever is asked, settled and released in whatever order: exact to the unit, both ways.

In one process a request is let in if and only if a count by hand would let it in. With several holders of slices, what
they have spent, reserved and been granted is never over the limit, and what is not used can be used in the end.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.allowances.conftest import Clock, Holder, Makers, account, bury, committed, post

from waypost.errors import LimitExceeded
from waypost.ledger.account import Account, Limits
from waypost.ledger.allowances import Allowances
from waypost.ledger.allowances.held import Admission, Reservation
from waypost.ledger.allowances.windows import window_at
from waypost.store.address import sqlite_url
from waypost.store.database import Database
from waypost.store.migrate import upgrade

Step: TypeAlias = tuple[str, int, int]
"""What is done, and two numbers that say to whom and how much."""
_numbers = itertools.count(1000)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all examples: each has a key of its own."""
    database = Database(sqlite_url(tmp_path_factory.mktemp("laws") / "waypost.db"))
    upgrade(database)
    yield database
    database.close()


def steps(*kinds: str, amounts: int, size: int = 60) -> st.SearchStrategy[list[Step]]:
    step = st.tuples(st.sampled_from(kinds), st.integers(0, 40), st.integers(0, amounts))
    return st.lists(step, min_size=1, max_size=size)


@dataclass
class Count:
    """What a count by hand knows of one limit: by window, what is used and what is held."""

    limit: int
    used: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def allows(self, window: str, amount: int) -> bool:
        return self.used[window] + self.held[window] + amount <= self.limit


async def admitted(allowances: Allowances, key: Account, tokens: int) -> Admission | None:
    try:
        return await allowances.admit(key, tokens)
    except LimitExceeded:
        return None


@settings(deadline=None)
@given(
    steps("admit", "admit", "settle", "release", "wait", amounts=30),
    st.integers(0, 12),
    st.integers(0, 60),
    st.integers(0, 5),
)
def test_limits_let_in_exactly_whom_a_count_by_hand_lets_in(
    lasting: Database, script: list[Step], most_requests: int, most_tokens: int, most_slots: int
) -> None:
    clock = Clock()
    limits = Limits(requests_per_minute=most_requests, tokens_per_minute=most_tokens, concurrent_requests=most_slots)

    async def play() -> None:
        makers = Makers(lasting, clock)
        allowances, key = makers.sole(), account(limits, number=next(_numbers))
        requests, tokens, slots = Count(most_requests), Count(most_tokens), Count(most_slots)
        under_way: list[tuple[Admission, str, int]] = []
        for what, whom, amount in script:
            minute = window_at("minute", clock.now_s).name
            if what == "admit":
                expected = requests.allows(minute, 1) and tokens.allows(minute, amount) and slots.allows("", 1)
                admission = await admitted(allowances, key, amount)
                assert (admission is not None) is expected
                if admission is not None:
                    requests.used[minute] += 1
                    tokens.held[minute] += amount
                    slots.held[""] += 1
                    under_way.append((admission, minute, amount))
            elif what == "wait":
                clock.advance(amount * 2.5)
            elif under_way:
                admission, begun, held = under_way.pop(whom % len(under_way))
                tokens.held[begun] -= held
                slots.held[""] -= 1
                if what == "settle":
                    tokens.used[begun] += amount
                    admission.settle(amount)
                admission.release()
        await makers.close()

    asyncio.run(play())


async def reserved(allowances: Allowances, key: Account, micro_usd: int, user: str | None) -> Reservation | None:
    try:
        return await allowances.reserve(key, micro_usd, user)
    except LimitExceeded:
        return None


@settings(deadline=None)
@given(
    steps("reserve", "reserve", "settle", "release", "wait", amounts=30),
    st.integers(0, 100),
    st.integers(0, 200),
    st.integers(0, 60),
)
def test_budgets_pay_exactly_what_a_count_by_hand_pays(
    lasting: Database, script: list[Step], daily: int, monthly: int, each_users: int
) -> None:
    clock = Clock()
    key_limits = Limits(daily_budget_micro_usd=daily, user_daily_budget_micro_usd=each_users)

    async def play() -> None:
        makers = Makers(lasting, clock)
        allowances = makers.sole()
        key = account(key_limits, Limits(monthly_budget_micro_usd=monthly), number=next(_numbers))
        counts: dict[str, Count] = {
            "day": Count(daily),
            "month": Count(monthly),
            "u0": Count(each_users),
            "u1": Count(each_users),
        }
        under_way: list[tuple[Reservation, list[tuple[Count, str]], int]] = []
        for what, whom, amount in script:
            day, month = window_at("day", clock.now_s).name, window_at("month", clock.now_s).name
            if what == "reserve":
                user = f"u{whom % 2}" if whom % 3 else None
                places = [(counts["day"], day), (counts["month"], month), *([(counts[user], day)] if user else [])]
                expected = amount == 0 or all(count.allows(window, amount) for count, window in places)
                reservation = await reserved(allowances, key, amount, user)
                assert (reservation is not None) is expected
                if reservation is not None and amount:
                    for count, window in places:
                        count.held[window] += amount
                    under_way.append((reservation, places, amount))
            elif what == "wait":
                clock.advance(amount * 9_000.0)
            elif under_way:
                reservation, places, held = under_way.pop(whom % len(under_way))
                for count, window in places:
                    count.held[window] -= held
                    count.used[window] += amount if what == "settle" else 0
                if what == "settle":
                    reservation.settle(amount)
                reservation.release()
        await makers.close()

    asyncio.run(play())


class Shop:
    """Several holders of slices of one budget, what each has spent without the database knowing, and all of it."""

    def __init__(self, database: Database, limit: int, clock: Clock) -> None:
        self.database, self.limit, self.clock = database, limit, clock
        self.key = account(Limits(daily_budget_micro_usd=limit), number=next(_numbers))
        self.subject = f"key:{self.key.key_id}"
        self.makers = Makers(database, clock)
        self.holders: list[Holder] = []
        self.under_way: list[tuple[Holder, Reservation, int]] = []
        self.unposted: dict[str, int] = defaultdict(int)
        self.spent = 0
        for _ in range(3):
            self.open()

    @property
    def day(self) -> str:
        return window_at("day", self.clock.now_s).name

    def open(self) -> None:
        self.holders.append(self.makers.holder(f"h{next(_numbers)}"))

    def post(self, holder: str) -> None:
        post(self.database, holder, {(self.subject, self.day): self.unposted.pop(holder, 0)})

    async def reserve(self, whom: int, amount: int) -> None:
        holder = self.holders[whom % len(self.holders)]
        reservation = await reserved(holder.allowances, self.key, amount, None)
        if reservation is not None and amount:
            self.under_way.append((holder, reservation, amount))

    async def settle(self, whom: int, amount: int) -> None:
        if self.under_way:
            holder, reservation, most = self.under_way.pop(whom % len(self.under_way))
            cost = min(amount, most)
            reservation.settle(cost)
            self.unposted[holder.name] += cost
            self.spent += cost

    async def release(self, whom: int, _amount: int) -> None:
        if self.under_way:
            _holder, reservation, _most = self.under_way.pop(whom % len(self.under_way))
            reservation.release()

    async def drain(self, whom: int, _amount: int) -> None:
        self.post(self.holders[whom % len(self.holders)].name)

    async def tidy(self, whom: int, amount: int) -> None:
        self.clock.advance(amount / 4)
        await self.holders[whom % len(self.holders)].tidy()

    async def end(self, whom: int, _amount: int) -> None:
        """A holder ends in order; what it has under way is settled before."""
        holder = self.holders[whom % len(self.holders)]
        for each in [each for each in self.under_way if each[0] is holder]:
            self.under_way.remove(each)
            each[1].release()
        await holder.allowances.close()
        self.holders.remove(holder)
        self.open()

    async def kill(self, whom: int, amount: int) -> None:
        """A holder dies; whoever reads its journal charges what it had under way, at most as reserved."""
        holder = self.holders.pop(whom % len(self.holders))
        await holder.quiet()
        for each in [each for each in self.under_way if each[0] is holder]:
            self.under_way.remove(each)
            cost = min(amount, each[2])
            self.unposted[holder.name] += cost
            self.spent += cost
        self.post(holder.name)
        bury(self.database, holder.name)
        self.open()

    def check(self) -> None:
        held = sum(most for _holder, _reservation, most in self.under_way)
        assert self.spent + held <= self.limit
        # All that anybody holds or has spent is known to the database, so that nobody can be granted it once more.
        assert self.spent + held <= committed(self.database, self.subject, self.day) <= self.limit

    async def finish(self) -> None:
        """What nobody has spent can be had in the end, to the last unit, by one who comes late."""
        for _holder, reservation, _most in self.under_way:
            reservation.release()
        for name in list(self.unposted):
            self.post(name)
        for _ in range(3):
            self.clock.advance(4)
            for holder in self.holders:
                await holder.tidy()
        left = self.limit - self.spent
        if left:
            late = self.makers.holder(f"h{next(_numbers)}")
            (await late.allowances.reserve(self.key, left)).settle(left)
            assert await reserved(late.allowances, self.key, 1, None) is None
        await self.makers.close()


@settings(deadline=None, max_examples=60)
@given(
    steps("reserve", "reserve", "reserve", "settle", "release", "drain", "tidy", "end", "kill", amounts=25, size=50),
    st.integers(1, 200),
)
def test_holders_of_slices_never_overspend_and_lose_nothing(lasting: Database, script: list[Step], limit: int) -> None:
    async def play() -> None:
        shop = Shop(lasting, limit, Clock())
        for what, whom, amount in script:
            await getattr(shop, what)(whom, amount)
            shop.check()
        await shop.finish()

    asyncio.run(play())
