"""Settings: what `waypost.yaml` and the environment say, checked, frozen, and with every problem named at once.

Not here: whether a key is accepted, a model is present or a port is free; `waypost doctor` and the parts that
use them find that out. Nothing in this package does I/O but reading the one file.
"""

from waypost.settings.environment import OVERRIDES, Override, unknown_variables
from waypost.settings.load import LoadedSettings, load_settings, read_settings
from waypost.settings.models import (
    Deadlines,
    HttpProviderSettings,
    LlamaCppSettings,
    PluginProviderSettings,
    PolicySettings,
    ProviderSettings,
    RouteSettings,
    ServerSettings,
    Settings,
)
from waypost.settings.problems import InvalidSettings, Problem
from waypost.settings.references import Target
from waypost.settings.schema import json_schema

__all__ = [
    "OVERRIDES",
    "Deadlines",
    "HttpProviderSettings",
    "InvalidSettings",
    "LlamaCppSettings",
    "LoadedSettings",
    "Override",
    "PluginProviderSettings",
    "PolicySettings",
    "Problem",
    "ProviderSettings",
    "RouteSettings",
    "ServerSettings",
    "Settings",
    "Target",
    "json_schema",
    "load_settings",
    "read_settings",
    "unknown_variables",
]
