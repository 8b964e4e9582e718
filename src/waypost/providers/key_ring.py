"""A provider's API keys, used in turn; one that is refused or at its limit rests a while.

No I/O, and no word about what a key is sent as. Invariant: while any key is ready, a resting one is not given out;
and no text form shows a key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

_MAX_COOL_DOWN_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `label` ("#1") is what logs and explanations call it."""

    label: str
    secret: str = field(repr=False)
    is_only: bool = False

    @property
    def told_label(self) -> str | None:
        """The label, for a request's story; None: there is no other key to tell it from."""
        return None if self.is_only else self.label


@dataclass(frozen=True, slots=True)
class NextKey:
    """The key whose turn it is. `wait_s` over 0: all keys rest, and this is the first to be ready again, in so long."""

    key: Key
    wait_s: float = 0.0


@dataclass(slots=True)
class _Rest:
    refusals: int = 0
    refused_until: float = 0.0
    limited_until: float = 0.0

    @property
    def until(self) -> float:
        return max(self.refused_until, self.limited_until)


class KeyRing:
    """At least one key, and how long each rests. `clock` gives seconds that never go backwards."""

    def __init__(
        self, secrets: Sequence[str], cool_down_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not secrets:
            raise ValueError("a ring without keys has no next one")
        is_only = len(secrets) == 1
        self._keys = tuple(Key(f"#{number}", secret, is_only) for number, secret in enumerate(secrets, 1))
        self._rests = {key.label: _Rest(refused_until=clock(), limited_until=clock()) for key in self._keys}
        self._cool_down_s = cool_down_s
        self._clock = clock
        self._turn = 0

    @property
    def keys(self) -> tuple[Key, ...]:
        """All of them, resting or not."""
        return self._keys

    def next(self, preferred: str | None = None) -> NextKey:
        """The next ready key, or the one with the preferred label if it is ready; if none is, the soonest to be."""
        now = self._clock()
        for key in self._keys if preferred is not None else ():
            if key.label == preferred and self._rests[key.label].until <= now:
                return NextKey(key)
        for step in range(len(self._keys)):
            position = (self._turn + step) % len(self._keys)
            if self._rests[self._keys[position].label].until <= now:
                self._turn = position + 1
                return NextKey(self._keys[position])
        soonest = min(self._keys, key=lambda key: self._rests[key.label].until)
        return NextKey(soonest, self._rests[soonest.label].until - now)

    def has_ready(self) -> bool:
        """Is there a key that does not rest?"""
        now = self._clock()
        return any(rest.until <= now for rest in self._rests.values())

    def refused(self, key: Key) -> float:
        """The provider did not know the key. Gives the seconds it rests: twice as long each time, up to an hour."""
        rest, now = self._rests[key.label], self._clock()
        # Calls that were on their way together are refused together: that is one refusal, not many.
        if rest.refused_until <= now:
            cool_down_s = min(self._cool_down_s * 2.0 ** min(rest.refusals, 32), _MAX_COOL_DOWN_S)
            rest.refusals += 1
            rest.refused_until = now + max(cool_down_s, self._cool_down_s)
        return rest.refused_until - now

    def limited(self, key: Key, retry_after_s: float | None) -> float:
        """The key is at its limit. Gives the seconds it rests: as long as the provider asked, else the cool-down."""
        rest, now = self._rests[key.label], self._clock()
        wait_s = self._cool_down_s if retry_after_s is None else retry_after_s
        rest.limited_until = max(rest.limited_until, now + wait_s)
        return rest.limited_until - now

    def accepted(self, key: Key) -> None:
        """The provider knew the key. A limit that another call met stays in force."""
        rest = self._rests[key.label]
        rest.refusals = 0
        rest.refused_until = self._clock()
