"""What one call cost, from what is known of it when it ends. Arithmetic only.

The invariant: a cost is "reported" only if the provider finished and counted all of it; what was counted by us, even in
part, is "estimated"; what no price is known for is "unpriced", and None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from waypost.chat import Usage
from waypost.errors import ProviderError, ProviderTimeout, ProviderUnreachable, TargetPaused, WaypostError
from waypost.ledger.records import CostBasis


@dataclass(frozen=True, slots=True)
class Guess:
    """Tokens as we would count them, where the provider did not."""

    input_tokens: int
    output_tokens: int = 0


@dataclass(slots=True)
class Bill:
    """What is written down: counts, the cost, and how it is known."""

    usage: Usage
    cost_micro_usd: int | None
    basis: CostBasis


FREE = Bill(Usage(), 0, "free")
"""The provider served nothing."""


def bill_whole(price: Callable[[Usage], int | None], usage: Usage, guess: Callable[[], Guess]) -> Bill:
    """That of an answer the provider finished."""
    cost = price(usage)
    if cost is not None:
        return Bill(usage, cost, "reported")
    if usage.input_tokens is not None and usage.output_tokens is not None:
        return Bill(usage, None, "unpriced")
    return bill_cut(price, usage, guess)


def bill_cut(price: Callable[[Usage], int | None], usage: Usage, guess: Callable[[], Guess]) -> Bill:
    """That of an answer that was cut short: its last counts, or ours where they say less than what came."""
    ours = guess()
    counted = replace(
        usage,
        input_tokens=ours.input_tokens if usage.input_tokens is None else usage.input_tokens,
        output_tokens=max(usage.output_tokens or 0, ours.output_tokens),
    )
    cost = price(counted)
    return Bill(counted, cost, "unpriced" if cost is None else "estimated")


def was_served(error: Exception | None) -> bool:
    """May a call that ended so have cost something? Not one that was refused, or never reached its provider."""
    if not isinstance(error, WaypostError):
        # The caller left, or a user's own provider raised what it likes.
        return True
    if isinstance(error, ProviderUnreachable | TargetPaused):
        return False
    if isinstance(error, ProviderTimeout):
        return error.phase != "connect"
    # Any error of ours that is none of a provider's was raised before the call.
    return isinstance(error, ProviderError) and error.status is None
