"""What the gateway knows of a provider: it answers, whole or as a stream, and can be asked how it is.

What only some can do are protocols of their own: `inquiry.EmbeddingProvider` and `CountingProvider`, `raw.RawProvider`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from waypost.providers.answers import Answer, StreamOpening
from waypost.providers.asked import Asked


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

    async def generate(self, asked: Asked, model: str = "") -> Answer:
        """The whole answer, by its `model` ("" is the default one)."""

    def stream(self, asked: Asked, model: str = "") -> StreamOpening:
        """The answer as batches: `async with provider.stream(asked, model) as stream`. They end well, or it raises.

        Leaving the block closes the connection to the provider, finished or not.
        """

    def serves(self, model: str) -> bool | None:
        """Does it have a model of that name? None: it cannot be told without asking."""

    def state(self) -> ProviderState:
        """How it is, from what is known now: no I/O."""

    async def close(self) -> None:
        """End connections and child processes."""
