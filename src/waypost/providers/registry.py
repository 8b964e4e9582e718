"""From settings to providers. Built-in kinds are a table; other kinds come from plugins that the settings name.

A plugin (`plugins`) loads to a callable like `Factory` below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TypeAlias

from waypost.errors import ConfigurationError
from waypost.providers.hosted import HostedOptions
from waypost.providers.plugins import check_plugins, find_plugin
from waypost.providers.provider import Provider
from waypost.settings import (
    HttpProviderSettings,
    KeyedProviderSettings,
    LlamaCppSettings,
    PluginProviderSettings,
    ProviderSettings,
    Settings,
)
from waypost.transport import Deadlines

Factory: TypeAlias = Callable[[str, Mapping[str, object]], Provider]
"""What a plugin offers: `factory(name, options)`; it checks the options itself and raises ConfigurationError."""


def create_providers(settings: Settings) -> dict[str, Provider]:
    """Every configured provider, by name, in the file's order. Raises ConfigurationError, also for a missing plugin."""
    check_plugins(settings)
    return {name: _create(name, provider, settings) for name, provider in settings.providers.items()}


def _create(name: str, provider: ProviderSettings, settings: Settings) -> Provider:
    match provider:
        case HttpProviderSettings():
            # The kind is also the name of its module: loading one vendor does not load the others.
            module = import_module(f"waypost.providers.{provider.kind}")
            created: Provider = module.create(name, _hosted_options(provider))
            return created
        case LlamaCppSettings():
            from waypost.providers import llama_cpp

            return llama_cpp.create(name, provider, settings.data_dir)
        case PluginProviderSettings():
            return _from_plugin(name, provider, settings.plugins)


def _hosted_options(provider: KeyedProviderSettings) -> HostedOptions:
    deadlines = provider.deadlines
    return HostedOptions(
        api_key=provider.api_key.get_secret_value() if provider.api_key else None,
        base_url=provider.base_url,
        default_model=provider.default_model,
        headers=provider.headers,
        deadlines=Deadlines(deadlines.connect_s, deadlines.first_byte_s, deadlines.idle_s, deadlines.total_s),
        proxy=provider.proxy,
        ca_file=provider.ca_file,
    )


def _from_plugin(name: str, provider: PluginProviderSettings, allowed: tuple[str, ...]) -> Provider:
    kind = provider.kind
    if kind not in allowed:
        raise ConfigurationError(
            f'Provider {name} is of the kind "{kind}", which is not built in, and no plugin of that name is allowed.',
            hint=f'Correct the kind, or add "{kind}" to plugins.',
        )
    factory: Factory = find_plugin(kind).load()
    return factory(name, provider.options)
