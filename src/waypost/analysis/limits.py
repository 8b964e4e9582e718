"""How much the targets behind a name read and write in one call, which sizes the parts of an analysis.

Of several targets the smallest counts, since any of them may be the one that answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from waypost.catalogue.capabilities import Capabilities
from waypost.gateway.gateway import Gateway
from waypost.local.catalogue import CATALOGUE
from waypost.settings import LlamaCppSettings, Settings
from waypost.settings.references import DEFAULT_ROUTE

UNKNOWN_WINDOW_TOKENS: Final = 8192
"""Where a target's context window is not known: what hardly any hosted model lacks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call to `model` (a name as in a request) may hold. `output_tokens` None: not known to be limited.

    `is_weak`: only small models of our own catalogue answer, so that they are asked for little and the offline
    analyzer does the rest. A model file of the user's own may be as able as any.
    """

    model: str = DEFAULT_ROUTE
    window_tokens: int = UNKNOWN_WINDOW_TOKENS
    output_tokens: int | None = None
    is_weak: bool = False


def limits_of(gateway: Gateway, settings: Settings, model: str | None) -> Limits:
    """Those of a route, an alias or a model. Raises UnknownModel."""
    behind = gateway.traits_behind(model)
    return Limits(
        model or DEFAULT_ROUTE,
        min(_window(settings, provider, traits.capabilities) for provider, traits in behind),
        _least(traits.capabilities.max_output_tokens for _, traits in behind),
        is_weak=all(_is_small(settings, provider) for provider, _ in behind),
    )


def structured_output(gateway: Gateway, model: str | None) -> bool:
    """Is every target behind this name known to hold its answers to a JSON schema? Raises UnknownModel."""
    return all(traits.capabilities.structured_output is True for _, traits in gateway.traits_behind(model))


def _is_small(settings: Settings, provider: str) -> bool:
    configured = settings.providers.get(provider)
    return isinstance(configured, LlamaCppSettings) and configured.model in CATALOGUE


def _window(settings: Settings, provider: str, capabilities: Capabilities) -> int:
    """A model on this machine reads what it was given memory for, whatever it could."""
    configured = settings.providers.get(provider)
    if isinstance(configured, LlamaCppSettings):
        return configured.context_tokens
    return capabilities.context_window_tokens or UNKNOWN_WINDOW_TOKENS


def _least(counts: Iterable[int | None]) -> int | None:
    return min((count for count in counts if count is not None), default=None)
