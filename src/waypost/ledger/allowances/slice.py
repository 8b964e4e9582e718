"""A pool of which this process holds a part: what it was granted, of which others know nothing until it is used.

The invariant: nothing is taken beyond what was granted, nor after a lease on slots has lapsed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from waypost.ledger.allowances.pool import Pool, Unit
from waypost.ledger.allowances.windows import Window

FIRST: Final = 4
"""A first slice holds so many times what the request needs that asks for it."""
SOON_S: Final = 2.0
"""Who asks again within so long is granted twice as much; who asks later, half."""


def _nothing(_: object) -> None:
    """Nobody is to be told."""


class Slice(Pool):
    """Empty at first."""

    __slots__ = (
        "_asked_at_s",
        "_cap",
        "_cap_until_s",
        "_least_held",
        "_taken",
        "ahead",
        "dry_until_s",
        "granted",
        "lease_ends_at_s",
        "limit",
        "on_smaller",
        "others_hold",
    )

    def __init__(self, subject: str, unit: Unit, window: Window) -> None:
        super().__init__(subject, unit, window)
        self.granted = 0
        self.others_hold = 0
        self.limit = 0
        """That under which it was granted last."""
        self.ahead = 0
        """How much was granted last beyond what was needed."""
        self.dry_until_s = -inf
        self.lease_ends_at_s = inf
        self.on_smaller: Callable[[Slice], None] = _nothing
        """Called when it holds less than the database thinks."""
        self._asked_at_s = -inf
        self._cap = 0
        self._cap_until_s = -inf
        self._least_held = 0
        self._taken = 0

    @property
    def place(self) -> tuple[str, str, Unit]:
        """Where the database has it."""
        return self.subject, self.window.name, self.unit

    @property
    def held(self) -> int:
        """What is left of what was granted."""
        return self.granted - self.spent - self.reserved

    @property
    def runs_low(self) -> bool:
        """Is it time to ask for the next slice?"""
        return 2 * self.held < self.ahead

    def left(self, limit: int) -> int:
        """See Pool."""
        return limit - self.others_hold - self.all_spent - self.reserved

    def room(self, limit: int, now_s: float) -> int:
        """See Pool. Another, smaller limit on the same may hold for other requests."""
        if now_s >= self.lease_ends_at_s:
            self.lapse()
        room = min(self.held, self.left(limit))
        return min(room, self._cap - self.reserved) if now_s < self._cap_until_s else room

    def is_dry(self, amount: int, limit: int, now_s: float) -> bool:
        """See Pool. What was there a moment ago for somebody who wants less may still be there."""
        is_capped = now_s < self._cap_until_s and self.reserved + amount > self._cap
        return is_capped or (now_s < self.dry_until_s and self.left(limit) < amount)

    def take(self, amount: int, now_s: float) -> None:
        """See Pool."""
        super().take(amount, now_s)
        self._taken += amount
        self._least_held = min(self._least_held, self.held)

    def hand_over(self, amount: int) -> None:
        """See Pool. It is no part of this slice any more."""
        self.settle(amount, 0)
        self.granted -= amount
        self.on_smaller(self)

    def learn(self, all_spent: int) -> None:
        """See Pool. What others have spent since then, they held before."""
        before = self.others_spent or 0
        super().learn(all_spent)
        self.others_hold = max(0, self.others_hold - ((self.others_spent or 0) - before))

    def lapse(self) -> None:
        """Others may have been granted what this process holds: only what is in use is still its own."""
        self.granted = self.reserved
        self.lease_ends_at_s = inf

    def wish_ahead(self, amount: int, now_s: float) -> int:
        """How much to ask for beyond what is needed, by how often that is."""
        is_soon = now_s - self._asked_at_s < SOON_S
        self._asked_at_s = now_s
        return max(FIRST * amount, 2 * self.ahead if is_soon else self.ahead // 2)

    def surplus(self) -> int:
        """What nobody has touched since the last time this was asked, beyond what was taken meanwhile."""
        # A slot that was given back can be taken again: the same ones were enough all the time.
        margin = 0 if self.unit == "slots" else self._taken
        surplus = max(0, min(self.held, self._least_held) - margin)
        self._least_held, self._taken = self.held - surplus, 0
        return surplus

    def share_with(self, others: int, until_s: float) -> int:
        """So many others were refused: what of the unused part is theirs. Slots in use are, once they are free."""
        if self.unit != "slots":
            return max(0, self.held) * others // (others + 1)
        self._cap, self._cap_until_s = self.limit // (others + 1), until_s
        return max(0, min(self.held, self.granted - self._cap))
