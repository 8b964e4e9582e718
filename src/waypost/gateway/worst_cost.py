"""What a second call may cost at most, by the prices in force and an estimate of the prompt's length."""

from __future__ import annotations

from waypost.catalogue import PriceBook, size_of
from waypost.errors import RequestError
from waypost.providers.asked import Asked


def worst_cost_micro_usd(
    prices: PriceBook, provider: str, kind: str, model: str | None, asked: Asked, service_tier: str | None = None
) -> int | None:
    """In millionths of a dollar; None: it is not known, as for a request that cannot be read here."""
    try:
        request = asked.request
    except RequestError:
        # A provider of the caller's own format may understand what we do not.
        return None
    size = size_of(request)
    if model is None or not size.whole:
        return None
    worst = prices.worst_case_micro_usd(
        provider, kind, model, size.tokens, request.sampling.max_tokens, service_tier=service_tier
    )
    return None if worst is None else worst * (request.sampling.choices or 1)
