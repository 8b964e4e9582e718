"""What the steps of a job came to, together. An unknown part makes the sum unknown; counts add up by their names."""

from __future__ import annotations

from collections.abc import Iterable

from waypost.jobs.job import Cost


def total(costs: Iterable[Cost]) -> Cost:
    """All of them as one. Who answered is the last one that says so."""
    micro_usd: int | None = 0
    usage: dict[str, int] = {}
    is_estimate, provider, model = False, None, None
    for each in costs:
        micro_usd = None if micro_usd is None or each.micro_usd is None else micro_usd + each.micro_usd
        is_estimate = is_estimate or each.is_estimate
        provider, model = (each.provider, each.model) if each.provider else (provider, model)
        for name, count in each.usage.items():
            usage[name] = usage.get(name, 0) + count
    return Cost(micro_usd, is_estimate, usage, provider, model)
