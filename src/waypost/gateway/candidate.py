"""One target that a request may be put to, as its schedule sees it. A value: it is shared by all requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

ProviderT = TypeVar("ProviderT")


@dataclass(frozen=True, slots=True)
class Candidate(Generic[ProviderT]):
    """One target: the provider, its configured name, and the model asked of it (None: the provider's own choice).

    `note` is what the caller should know if this one answers; `slow_start`: its first token may take long;
    `window_tokens` is its context window (None: unknown); `way` is how it would go on with a stream that broke.
    """

    name: str
    provider: ProviderT
    model: str | None = None
    note: str = ""
    slow_start: bool = False
    window_tokens: int | None = None
    way: str | None = None

    @property
    def target(self) -> tuple[str, str | None]:
        """What tells it from others."""
        return self.name, self.model
