"""Calls that go to a provider in a batch of its own: whom they ask, and in which words. Values and errors only."""

from __future__ import annotations

from dataclasses import dataclass, field

from waypost.errors import UnsupportedFeature


@dataclass(frozen=True, slots=True)
class BatchTarget:
    """The target of a route whose provider has a batch API."""

    provider: str
    kind: str
    model: str
    route: str | None


@dataclass(frozen=True, slots=True)
class BatchCall:
    """A request in the provider's format.

    `notes`: what of it was not carried over; `worst_micro_usd`: the most that it can cost, None if it is not known.
    """

    target: BatchTarget
    body: bytes = field(repr=False)
    notes: tuple[str, ...]
    worst_micro_usd: int | None


def no_batches_allowed(name: str) -> UnsupportedFeature:
    """The caller's wish is against the settings."""
    return UnsupportedFeature(
        f'"{name}" is no route that allows batches at providers.',
        hint="The lower price takes a route with provider_batches: true, named as the model.",
        param="lower_price",
    )


def no_batch_api(route: str) -> UnsupportedFeature:
    """The caller's wish cannot be met."""
    return UnsupportedFeature(
        f'The route "{route}" has no target whose provider has a batch API.',
        hint="Providers of the kinds anthropic and openai have one.",
        param="lower_price",
    )
