"""Asks the candidate whose turn it is and, where the route hedges, the next one beside it.

`hedge` decides and runs the race; here it is told to the schedule who won, lost or failed. The invariant: whatever
happens, the schedule knows of every call that was begun how it ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from waypost.gateway.candidate import Candidate
from waypost.gateway.hedge import BothFailed, RaceRules, race
from waypost.gateway.schedule import Schedule

ProviderT = TypeVar("ProviderT")
AnswerT = TypeVar("AnswerT")


async def ask(
    schedule: Schedule[ProviderT],
    call: Callable[[Candidate[ProviderT]], Coroutine[Any, Any, AnswerT]],
    close: Callable[[AnswerT], Awaitable[None]],
) -> AnswerT:
    """The answer; afterwards `schedule.candidate` is whose it is. `close` ends one that came too late.

    Raises the error of the candidate that the schedule is then at.
    """
    delay_s = schedule.hedge_delay_s
    if delay_s is None:
        return await call(schedule.candidate)
    return await _raced(schedule, call, delay_s, close)


async def _raced(
    schedule: Schedule[ProviderT],
    call: Callable[[Candidate[ProviderT]], Coroutine[Any, Any, AnswerT]],
    delay_s: float,
    close: Callable[[AnswerT], Awaitable[None]],
) -> AnswerT:
    async def second() -> AnswerT:
        return await call(schedule.begin_second())

    rules = RaceRules(close=close, is_worth_another=schedule.is_worth_second, sleep=schedule.sleep)
    try:
        raced = await race(call(schedule.candidate), second, delay_s, rules)
    except BothFailed as both:
        errors = both.errors
    except Exception:
        schedule.second_lost()
        raise
    else:
        first_error, second_error = raced.errors
        if raced.winner:
            schedule.second_won(first_error)
        else:
            schedule.second_lost(second_error)
        return raced.result
    first_error, second_error = errors
    # Without a second call, that one was refused by its breaker: the first is still whom the schedule is at.
    raise second_error if schedule.second_won(first_error) else first_error
