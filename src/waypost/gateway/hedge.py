"""Hedging: a second target is started while the first has not answered yet, and whoever is first wins.

`hedge_decision` is pure; `race` runs two awaitables and nothing else: who they are, and what they cost, is not its
business. The invariant: when `race` has returned or raised, nothing that it started is running or open, but for the
result that it returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """A route's wish. `hedge_after_s` None: it never hedges. `cost_limit_micro_usd` bounds the second call."""

    hedge_after_s: float | None = None
    cost_limit_micro_usd: int | None = None


@dataclass(frozen=True, slots=True)
class HedgeTarget:
    """What hedging must know of a target. `worst_cost_micro_usd` is for this request at its longest; None: unknown."""

    provider: str
    model: str | None
    is_local: bool = False
    worst_cost_micro_usd: int | None = None


@dataclass(frozen=True, slots=True)
class HedgeDecision:
    """Seconds after the first call to start the second; None: not at all. `reason` says why, as a clause."""

    delay_s: float | None
    reason: str


def hedge_decision(
    policy: HedgePolicy,
    first: HedgeTarget,
    second: HedgeTarget | None,
    attempts_left: int,
    remaining_s: float | None = None,
) -> HedgeDecision:
    """Is a second call to be made beside the first, and when?

    `attempts_left` are those that the request may still make once the first has begun, `remaining_s` its time.
    """
    delay_s = policy.hedge_after_s
    if delay_s is None:
        return HedgeDecision(None, "the route does not hedge")
    if second is None or (second.provider, second.model) == (first.provider, first.model):
        return HedgeDecision(None, "there is no other target")
    obstacles = (
        # A local model is never an answer in a cloud model's place, and two of them share one machine.
        (first.is_local or second.is_local, "a local model takes no part in it"),
        (attempts_left < 1, "no attempt is left"),
        (remaining_s is not None and delay_s >= remaining_s, "the deadline comes first"),
        (not _is_within(policy.cost_limit_micro_usd, second.worst_cost_micro_usd), "it could cost more than the limit"),
    )
    reason = next((words for applies, words in obstacles if applies), "")
    return HedgeDecision(None if reason else delay_s, reason or f"the first may take longer than {delay_s:g} s")


def _is_within(limit_micro_usd: int | None, worst_micro_usd: int | None) -> bool:
    # A cost that is not known may be any.
    return limit_micro_usd is None or (worst_micro_usd is not None and worst_micro_usd <= limit_micro_usd)


@dataclass(frozen=True, slots=True)
class Raced(Generic[ResultT]):
    """Who won, with what. `was_hedged`: the second was started; `errors` are each one's own, None where it had none."""

    result: ResultT
    winner: Literal[0, 1]
    was_hedged: bool
    errors: tuple[Exception | None, Exception | None] = (None, None)


class BothFailed(Exception):
    """The first and the second failed. `errors` holds both, in this order; the cause is the later one."""

    def __init__(self, first: Exception, second: Exception) -> None:
        super().__init__(f"both failed: {type(first).__name__}, {type(second).__name__}")
        self.errors = (first, second)


async def _drop(_: object) -> None:
    """Closes what needs no closing."""


@dataclass(frozen=True, slots=True)
class RaceRules(Generic[ResultT]):
    """`close` ends a result that is not wanted (an opened stream); `is_worth_another`: may the second mend this error?

    `sleep` is the delay's, so that a test need not wait.
    """

    close: Callable[[ResultT], Awaitable[None]] = _drop
    is_worth_another: Callable[[Exception], bool] = lambda _: True
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


async def race(
    first: Coroutine[Any, Any, ResultT],
    second: Callable[[], Coroutine[Any, Any, ResultT]],
    delay_s: float,
    rules: RaceRules[ResultT] | None = None,
) -> Raced[ResultT]:
    """The result that comes first. The second is started after the delay, or at once when the first fails.

    The loser is cancelled and awaited, and its result closed if it had one after all. What they open is used by the
    caller's task, so it must not hold a timeout or a task group over the end of its coroutine.
    Raises BothFailed; the first's own error if another would not mend it; CancelledError when the caller is cancelled.
    """
    rules = rules or RaceRules()
    running = [asyncio.ensure_future(first)]
    winner: asyncio.Future[ResultT] | None = None
    try:
        if await _answers_alone(running[0], delay_s, rules):
            winner = running[0]
            return Raced(winner.result(), 0, was_hedged=False)
        running.append(asyncio.ensure_future(second()))
        winner = await _winner(running, rules)
        errors = (_error(running[0]), _error(running[1]))
        return Raced(winner.result(), 0 if winner is running[0] else 1, was_hedged=True, errors=errors)
    finally:
        await _end([task for task in running if task is not winner], rules.close, winner)


async def _answers_alone(first: asyncio.Future[ResultT], delay_s: float, rules: RaceRules[ResultT]) -> bool:
    """Did the first answer before the second must be started? Raises its error if nobody could mend that."""
    delay = asyncio.ensure_future(rules.sleep(delay_s))
    both: set[asyncio.Future[Any]] = {first, delay}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end([delay], _drop)
    if not first.done():
        return False
    error = _error(first)
    if error is not None and not rules.is_worth_another(error):
        raise error
    return error is None


async def _winner(running: Sequence[asyncio.Future[ResultT]], rules: RaceRules[ResultT]) -> asyncio.Future[ResultT]:
    """Whoever answers first; of two that do so at once, the first."""
    while True:
        for task in running:
            if task.done() and _error(task) is None:
                return task
        first, second = (_error(task) for task in running)
        if first is not None and second is not None:
            raise BothFailed(first, second) from second
        if first is not None and not rules.is_worth_another(first):
            raise first
        await asyncio.wait({task for task in running if not task.done()}, return_when=asyncio.FIRST_COMPLETED)


def _error(task: asyncio.Future[ResultT]) -> Exception | None:
    """The error of one that ended; None if it has none, or runs. What is no Exception is raised."""
    error = task.exception() if task.done() else None
    if error is not None and not isinstance(error, Exception):
        raise error
    return error


async def _end(
    tasks: Sequence[asyncio.Future[ResultT]],
    close: Callable[[ResultT], Awaitable[None]],
    winner: asyncio.Future[ResultT] | None = None,
) -> None:
    """Cancel and await these, and close what they opened. If the caller is cancelled meanwhile, the winner's too."""
    for task in tasks:
        task.cancel()
    cancellation = await _undisturbed(_await_and_close(tasks, close))
    if cancellation is None:
        return
    if winner is not None:
        await _undisturbed(_await_and_close([winner], close))
    raise cancellation


async def _undisturbed(work: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
    """Run the work to its end even if the caller is cancelled, and then give that cancellation back to be raised."""
    cancellation = None
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as cancelled:
            cancellation = cancelled
    if (error := task.exception()) is not None:
        # Who lost the race must not take the winner's answer away by failing to hang up.
        told = {"message": "A hedged call could not be closed.", "exception": error, "task": task}
        asyncio.get_running_loop().call_exception_handler(told)
    return cancellation


async def _await_and_close(
    tasks: Sequence[asyncio.Future[ResultT]], close: Callable[[ResultT], Awaitable[None]]
) -> None:
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and task.exception() is None:
            await close(task.result())
