"""From settings to providers. Built-in kinds are a table; other kinds come from plugins that the settings name.

A plugin (`plugins`) loads to a callable like `Factory` below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import TypeAlias

from waypost.errors import ConfigurationError
from waypost.providers.hosted import HostedOptions
from waypost.providers.key_file import read_keys
from waypost.providers.plugins import check_plugins, find_plugin
from waypost.providers.provider import Provider
from waypost.settings import (
    AzureOpenAISettings,
    BedrockSettings,
    HttpProviderSettings,
    KeyedProviderSettings,
    LlamaCppSettings,
    OpenAISettings,
    PluginProviderSettings,
    ProviderSettings,
    Settings,
    VendorSettings,
    VertexSettings,
)
from waypost.transport import Deadlines

Factory: TypeAlias = Callable[[str, Mapping[str, object]], Provider]
"""What a plugin offers: `factory(name, options)`; it checks the options itself and raises ConfigurationError."""


def create_providers(settings: Settings, kept: Mapping[str, Provider] | None = None) -> dict[str, Provider]:
    """Every configured provider, by name, in the file's order. Files of keys are read here, and only here.

    Those in `kept` are taken as they are. Raises ConfigurationError, also for a missing plugin and for a file of keys
    that cannot be used.
    """
    check_plugins(settings)
    made = kept or {}
    return {name: made.get(name) or _create(name, each, settings) for name, each in settings.providers.items()}


def _create(name: str, provider: ProviderSettings, settings: Settings) -> Provider:
    """Imports only the vendor that is wanted: loading one does not load the others."""
    match provider:
        case VendorSettings():
            # The kind is also the name of its module.
            module = import_module(f"waypost.providers.{provider.kind}")
            created: Provider = module.create(name, _hosted_options(provider))
            return created
        case OpenAISettings():
            from waypost.providers import openai

            return openai.create(name, _hosted_options(provider), provider.wire)
        case AzureOpenAISettings():
            from waypost.providers import azure_openai

            return azure_openai.create(name, _hosted_options(provider), provider.api_version)
        case BedrockSettings():
            from waypost.providers import bedrock

            return bedrock.create(name, _hosted_options(provider), provider.region, provider.wire)
        case VertexSettings():
            from waypost.providers import vertex

            account = vertex.VertexAccount(provider.project, provider.region, provider.credentials_file)
            return vertex.create(name, _hosted_options(provider), account)
        case LlamaCppSettings():
            from waypost.providers import llama_cpp

            return llama_cpp.create(name, provider, settings.models_folder)
        case PluginProviderSettings():
            return _from_plugin(name, provider, settings.plugins)


def _hosted_options(provider: HttpProviderSettings) -> HostedOptions:
    deadlines = provider.deadlines
    options = HostedOptions(
        base_url=provider.base_url,
        default_model=provider.default_model,
        headers=provider.headers,
        deadlines=Deadlines(deadlines.connect_s, deadlines.first_byte_s, deadlines.idle_s, deadlines.total_s),
        proxy=provider.proxy,
        ca_file=provider.ca_file,
    )
    if not isinstance(provider, KeyedProviderSettings):
        return options
    return replace(options, api_keys=_keys(provider), key_cool_down_s=provider.key_cool_down_s)


def _keys(provider: KeyedProviderSettings) -> tuple[str, ...]:
    if provider.api_key_file is not None:
        return read_keys(provider.api_key_file)
    secrets = (provider.api_key,) if provider.api_key is not None else provider.api_keys or ()
    return tuple(dict.fromkeys(secret.get_secret_value() for secret in secrets))


def _from_plugin(name: str, provider: PluginProviderSettings, allowed: tuple[str, ...]) -> Provider:
    kind = provider.kind
    if kind not in allowed:
        raise ConfigurationError(
            f'Provider {name} is of the kind "{kind}", which is not built in, and no plugin of that name is allowed.',
            hint=f'Correct the kind, or add "{kind}" to plugins.',
        )
    factory: Factory = find_plugin(kind).load()
    return factory(name, provider.options)
