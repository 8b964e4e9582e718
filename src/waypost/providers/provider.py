"""What the gateway knows of a provider: it answers, whole or as a stream, and can be asked how it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from waypost.chat import Event, Request, Response


@dataclass(frozen=True, slots=True)
class ProviderState:
    """How a provider is. `detail` is a sentence for people, with what to do if it is not ready."""

    status: Literal["ready", "starting", "idle", "unavailable"]
    detail: str = ""


class Provider(Protocol):
    """A vendor account, or a policy around one. Raises only WaypostErrors; CancelledError passes."""

    name: str
    default_model: str | None
    models: tuple[str, ...] | None
    """All the models it has; None: they cannot be listed without asking."""
    slow_start: bool
    """May its first token take long, as on a machine without a graphics processor?"""

    async def generate(self, request: Request) -> Response:
        """The whole answer."""

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """The answer as events: `async with provider.stream(request) as events`. The last is Finish, or it raises.

        Leaving the block closes the connection to the provider, finished or not.
        """

    def serves(self, model: str) -> bool | None:
        """Does it have a model of that name? None: it cannot be told without asking."""

    def state(self) -> ProviderState:
        """How it is, from what is known now: no I/O."""

    async def close(self) -> None:
        """End connections and child processes."""
