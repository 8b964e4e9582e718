"""Who has a word before a request leaves for a provider, and hears when a provider says that it was too much.

It goes with the caller's context: jobs pass a gate that all workers share, interactive requests pass none. The
invariant: every request that a provider over HTTP sends has passed the gate of its context, retries as first tries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol


class Gate(Protocol):
    """Told of each request by provider, and by the label of the key ("" if there are no several)."""

    def preferred_key(self, provider: str) -> str | None:
        """The key whose turn it is, as the gate sees it; None: any."""

    async def enter(self, provider: str, key: str, size_bytes: int) -> None:
        """Return when the request may leave. `size_bytes` is its body's."""

    def limited(self, provider: str, key: str, retry_after_s: float | None) -> None:
        """The provider refused a request as one too many. None: it does not say for how long."""


class PreferredKey:
    """Implements Gate: nobody waits, and one key is wanted, as for what only its account knows."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def preferred_key(self, provider: str) -> str | None:  # noqa: ARG002 - it is made for one
        """See Gate."""
        return self._key

    async def enter(self, provider: str, key: str, size_bytes: int) -> None:
        """See Gate."""

    def limited(self, provider: str, key: str, retry_after_s: float | None) -> None:
        """See Gate. Its limits are others than those of calls."""


_GATE: Final[ContextVar[Gate | None]] = ContextVar("waypost_gate", default=None)


def current_gate() -> Gate | None:
    """The gate of this context, if there is one."""
    return _GATE.get()


@contextmanager
def through(gate: Gate) -> Iterator[None]:
    """Every request of the block, and of tasks that it begins, passes this gate."""
    token = _GATE.set(gate)
    try:
        yield
    finally:
        _GATE.reset(token)
