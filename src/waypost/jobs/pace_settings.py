"""From settings to the limits of providers: which have one, and which keys they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from waypost.jobs.pace import Pace, Paced
from waypost.jobs.pace_rows import PaceLimit
from waypost.providers.key_file import read_keys
from waypost.settings import Settings
from waypost.settings.providers import HttpProviderSettings, KeyedProviderSettings
from waypost.store.database import Database


def pace_of(settings: Settings, database: Callable[[], Database]) -> Pace:
    """The pace of a process with these settings. Raises ConfigurationError for a file of keys that cannot be used."""
    return Pace(database, paced(settings))


def paced(settings: Settings) -> Mapping[str, Paced]:
    """Every provider over HTTP with its limit and the labels of its keys (see `providers.key_ring`)."""
    return {
        name: Paced(PaceLimit(provider.requests_per_minute, provider.tokens_per_minute), _labels(provider))
        for name, provider in settings.providers.items()
        if isinstance(provider, HttpProviderSettings)
    }


def _labels(provider: HttpProviderSettings) -> tuple[str, ...]:
    count = _count(provider) if isinstance(provider, KeyedProviderSettings) else 0
    return tuple(f"#{number}" for number in range(1, count + 1)) or ("",)


def _count(provider: KeyedProviderSettings) -> int:
    if provider.api_key_file is not None:
        return len(read_keys(provider.api_key_file))
    if provider.api_key is not None:
        return 1
    return len({secret.get_secret_value() for secret in provider.api_keys or ()})
