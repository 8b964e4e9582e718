"""Time that moves when the test says so, for the gateway's stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """What `Clock.call_later` gives."""

    def __init__(self, at_s: float, ring: Callable[[], object]) -> None:
        self.at_s = at_s
        self.ring = ring

    def cancel(self) -> None:
        self.ring = lambda: None


class Clock:
    """Seconds, and alarms that go off while `advance` passes them."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._alarms: list[Alarm] = []

    def __call__(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, ring: Callable[[], object]) -> Alarm:
        self._alarms.append(Alarm(self.now_s + delay_s, ring))
        return self._alarms[-1]

    def advance(self, seconds: float) -> None:
        until = self.now_s + seconds
        while due := sorted((alarm for alarm in self._alarms if alarm.at_s <= until), key=lambda alarm: alarm.at_s):
            self._alarms.remove(due[0])
            self.now_s = max(self.now_s, due[0].at_s)
            due[0].ring()
        self.now_s = until


async def settle() -> None:
    """Let every task run until it waits for something that only the test can bring about."""
    for _ in range(20):
        await asyncio.sleep(0)
