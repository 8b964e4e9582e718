"""What a request holds while it is under way: its place within the limits, and money for each of its calls.

The invariant: each is over exactly once, whoever says so how often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from waypost.ledger.allowances.rates import RateLimits
from waypost.ledger.allowances.source import Need


class Admission:
    """A request that was let in. As a block: whatever happens within, its slot is free afterwards."""

    __slots__ = ("_needs", "limits")

    def __init__(self, needs: Sequence[Need], limits: RateLimits | None) -> None:
        self._needs = needs
        self.limits = limits
        """The limits it counts for, as they stand whenever they are looked at. None: there are none."""

    def settle(self, tokens: int | None) -> None:
        """It is over, and came to so many tokens, more or less than was thought; None: as many as was thought."""
        needs, self._needs = self._needs, ()
        for need in needs:
            spent = 0 if need.pool.unit == "slots" else need.amount if tokens is None else tokens
            need.pool.settle(need.amount, spent)

    def release(self) -> None:
        """It is over and used no tokens. That it was made counts all the same."""
        self.settle(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class Reservation:
    """Money for one call. As a block: what is not settled within is released."""

    __slots__ = ("_needs", "_on_spent")

    def __init__(self, needs: Sequence[Need], on_spent: Callable[[Need], None]) -> None:
        self._needs = needs
        self._on_spent = on_spent

    def settle(self, micro_usd: int | None) -> None:
        """The call cost so much, more or less than was reserved; None: nobody knows, so that all of it counts as spent.

        Call it in the same step of the event loop in which the journal learns it.
        """
        needs, self._needs = self._needs, ()
        for need in needs:
            need.pool.settle(need.amount, need.amount if micro_usd is None else micro_usd)
        for need in needs:
            self._on_spent(need)

    def hand_over(self) -> None:
        """The database holds it from now on, until the call's end is known: see `ledger.deferred`."""
        needs, self._needs = self._needs, ()
        for need in needs:
            need.pool.hand_over(need.amount)

    def release(self) -> None:
        """The call cost nothing."""
        needs, self._needs = self._needs, ()
        for need in needs:
            need.pool.settle(need.amount, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _nobody(_need: Need) -> None:
    raise AssertionError("nothing was reserved")


UNLIMITED: Final = Admission((), None)
"""That of all whose requests are not limited."""
UNRESERVED: Final = Reservation((), _nobody)
"""That of all calls that no budget is touched by."""
