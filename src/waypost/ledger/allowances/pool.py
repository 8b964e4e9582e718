"""What one limit allows in one window, and what was taken of it. Arithmetic in memory: no I/O, one event loop.

The invariant: `spent + reserved` is exactly what was taken and not given back; a pool gives nothing beyond its room.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from waypost.ledger.allowances.windows import Window

Unit: TypeAlias = Literal["requests", "tokens", "slots", "micro_usd"]
MONEY: Final = "micro_usd"
NOT_KNOWN: Final = -1
"""Room of which nothing can be taken, however little."""


class Pool:
    """All of it is this process's, but for what others have spent. None: what they have is still to be read."""

    __slots__ = ("others_spent", "reserved", "spent", "subject", "told", "unit", "used_at_s", "window")

    def __init__(self, subject: str, unit: Unit, window: Window, others_spent: int | None = 0) -> None:
        self.subject = subject
        self.unit = unit
        self.window = window
        self.others_spent = others_spent
        self.spent = 0
        self.reserved = 0
        self.used_at_s = 0.0
        self.told: tuple[float, ...] = ()
        """The shares of the budget of which somebody was warned."""

    @property
    def key(self) -> tuple[str, str]:
        """How the table of what was spent knows it."""
        return self.subject, self.window.name

    @property
    def all_spent(self) -> int:
        """By whomever, as far as it is known."""
        return (self.others_spent or 0) + self.spent

    def left(self, limit: int) -> int:
        """What nobody has used, as far as it is known; for telling."""
        return limit - self.all_spent - self.reserved

    def room(self, limit: int, now_s: float) -> int:  # noqa: ARG002 - a slice may lapse
        """How much may be taken now."""
        return NOT_KNOWN if self.others_spent is None else self.left(limit)

    def is_dry(self, amount: int, limit: int, now_s: float) -> bool:  # noqa: ARG002 - a slice is dry for a while
        """Is it in vain to have it filled, for somebody who lacks so much?"""
        return self.others_spent is not None

    def take(self, amount: int, now_s: float) -> None:
        """Reserve so much of the room. A request counts at once, however it ends."""
        if self.unit == "requests":
            self.spent += amount
        else:
            self.reserved += amount
        self.used_at_s = now_s

    def settle(self, reserved: int, spent: int) -> None:
        """What was reserved is over and came to so much, more or less."""
        if self.unit != "requests":
            self.reserved -= reserved
            self.spent += spent

    def hand_over(self, amount: int) -> None:
        """What was reserved is held in the database from now on, by nobody's process. Here that is as good as spent."""
        self.settle(amount, amount)

    def learn(self, all_spent: int) -> None:
        """The database knows of so much, ours in it as far as it has come there."""
        if self.others_spent is not None:
            self.others_spent = max(self.others_spent, all_spent - self.spent)
