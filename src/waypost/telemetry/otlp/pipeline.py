"""The way of facts to a collector: a queue with an end, and one thread that empties it.

Whoever tells facts does no more than append them. The invariant: a collector that is slow, silent or gone costs facts,
which are counted, and nothing else: no request waits for it, and neither does the end of the process for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from waypost.telemetry.facts import JobFacts, RequestFacts, StepFacts
from waypost.telemetry.metrics.families import TELEMETRY_LOST
from waypost.telemetry.metrics.numbers import Rows

logger = logging.getLogger("waypost.telemetry")
Facts: TypeAlias = RequestFacts | JobFacts | StepFacts
BATCH: Final = 200
"""Facts that are sent together."""
MOST_CONTENT_BYTES: Final = 32 * 1024 * 1024
"""Of prompts and answers that wait."""
TELL_AGAIN_S: Final = 60.0
"""How often at most a collector that takes nothing is complained of."""


class Sender(Protocol):
    """Who makes spans and metrics of facts and sends them. Lives in the thread."""

    def send(self, facts: Sequence[Facts]) -> bool:
        """Send them; may take as long as the collector does. False: they were not taken."""

    def tick(self) -> None:
        """Some time has passed: send metrics, if it is time for them."""

    def finish(self) -> None:
        """Send what is left."""

    def interrupt(self) -> None:
        """From another thread: do not try again what fails now."""


class Pipeline:
    """Implements Observer. `make` is called in the thread, since what it imports takes long.

    Facts wait for at most `every_s` seconds to be sent with others, as long as the collector keeps up.
    """

    def __init__(self, make: Callable[[], Sender], most_waiting: int, every_s: float) -> None:
        self._make = make
        self._most_waiting = most_waiting
        self._every_s = every_s
        self._waiting: deque[Facts] = deque()
        self._woken = threading.Event()
        self._is_ending = False
        self._thread: threading.Thread | None = None
        self._sender: Sender | None = None
        self._told_at_s = float("-inf")
        self._content_come_bytes = 0
        self._content_gone_bytes = 0
        self.dropped = 0
        """Facts that found the queue full."""
        self.lost = 0
        """Facts that the collector did not take."""
        self.sent = 0

    def start(self) -> None:
        """Begin to send. Called again it does nothing."""
        if self._thread is None and not self._is_ending:
            # A daemon: a collector that holds it does not hold the process.
            self._thread = threading.Thread(target=self._run, name="waypost-otlp", daemon=True)
            self._thread.start()

    def request_ended(self, facts: RequestFacts) -> None:
        """See Observer."""
        if facts.content is not None:
            size_bytes = facts.content.size_bytes
            # Two counts, as each is changed by one thread only.
            if self._content_come_bytes - self._content_gone_bytes + size_bytes > MOST_CONTENT_BYTES:
                facts = msgspec.structs.replace(facts, content=None)
            else:
                self._content_come_bytes += size_bytes
        self._put(facts)

    def job_ended(self, facts: JobFacts) -> None:
        """See Observer."""
        self._put(facts)

    def step_ended(self, facts: StepFacts) -> None:
        """See Observer."""
        self._put(facts)

    def counted(self) -> dict[str, Rows]:
        """What became of nothing, by why, for the metrics at /metrics."""
        return {TELEMETRY_LOST.name: [(("queue_full",), self.dropped), (("not_taken",), self.lost)]}

    def close(self, within_s: float) -> None:
        """Send what waits, for at most so long. Blocks."""
        self._is_ending = True
        self._woken.set()
        if self._thread is None:
            return
        self._thread.join(within_s)
        if self._thread.is_alive():
            left = len(self._waiting)
            logger.warning("the collector did not take all spans in time: at least %d are lost", max(left, 1))
            if self._sender is not None:
                self._sender.interrupt()

    def _put(self, facts: Facts) -> None:
        waiting = self._waiting
        if len(waiting) >= self._most_waiting:
            self.dropped += 1
            self._content_come_bytes -= _content_bytes(facts)
            return
        waiting.append(facts)
        if len(waiting) == BATCH:
            self._woken.set()

    def _run(self) -> None:
        try:
            sender = self._sender = self._make()
        except Exception:
            logger.exception("spans and metrics cannot be sent")
            return
        while not self._is_ending:
            self._woken.wait(self._every_s)
            self._woken.clear()
            self._send_all(sender)
            _guarded(sender.tick)
        self._send_all(sender)
        _guarded(sender.finish)

    def _send_all(self, sender: Sender) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                is_taken = sender.send(batch)
            except Exception:
                logger.exception("facts could not be made into spans")
                is_taken = False
            self._content_gone_bytes += sum(_content_bytes(each) for each in batch)
            if is_taken:
                self.sent += len(batch)
            else:
                self.lost += len(batch)
                self._complain()

    def _complain(self) -> None:
        now_s = time.monotonic()
        if now_s - self._told_at_s >= TELL_AGAIN_S:
            self._told_at_s = now_s
            logger.warning("the collector takes no spans: %d lost, %d dropped so far", self.lost, self.dropped)


def _content_bytes(facts: Facts) -> int:
    return facts.content.size_bytes if isinstance(facts, RequestFacts) and facts.content is not None else 0


def _guarded(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:
        logger.exception("metrics could not be sent")
