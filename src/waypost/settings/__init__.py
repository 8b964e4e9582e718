"""Settings: what `waypost.yaml` and the environment say, checked, frozen, and with every problem named at once.

Not here: whether a key is accepted, a model is present or a port is free; `waypost doctor` and the parts that
use them find that out. Nothing in this package does I/O but reading the one file, and the schemas that it names.
"""

from waypost.settings.environment import OVERRIDES, Override, unknown_variables
from waypost.settings.jobs import JobSettings
from waypost.settings.keys import KeySettings
from waypost.settings.kinds import KindSettings
from waypost.settings.ledger import LedgerSettings
from waypost.settings.load import LoadedSettings, load_settings, read_settings
from waypost.settings.models import Settings
from waypost.settings.prices import LongerPromptPrices, PriceSettings, RateSettings, TierPrices
from waypost.settings.problems import InvalidSettings, Problem
from waypost.settings.providers import (
    AzureOpenAISettings,
    BedrockSettings,
    Deadlines,
    HttpProviderSettings,
    KeyedProviderSettings,
    LlamaCppSettings,
    OpenAISettings,
    PluginProviderSettings,
    ProviderSettings,
    VendorSettings,
    VertexSettings,
)
from waypost.settings.references import Target
from waypost.settings.routes import CacheSettings, PolicySettings, RouteSettings, TargetSettings
from waypost.settings.schema import json_schema
from waypost.settings.server import ServerSettings
from waypost.settings.telemetry import TelemetrySettings
from waypost.settings.webhooks import WebhookSettings

__all__ = [
    "OVERRIDES",
    "AzureOpenAISettings",
    "BedrockSettings",
    "CacheSettings",
    "Deadlines",
    "HttpProviderSettings",
    "InvalidSettings",
    "JobSettings",
    "KeySettings",
    "KeyedProviderSettings",
    "KindSettings",
    "LedgerSettings",
    "LlamaCppSettings",
    "LoadedSettings",
    "LongerPromptPrices",
    "OpenAISettings",
    "Override",
    "PluginProviderSettings",
    "PolicySettings",
    "PriceSettings",
    "Problem",
    "ProviderSettings",
    "RateSettings",
    "RouteSettings",
    "ServerSettings",
    "Settings",
    "Target",
    "TargetSettings",
    "TelemetrySettings",
    "TierPrices",
    "VendorSettings",
    "VertexSettings",
    "WebhookSettings",
    "json_schema",
    "load_settings",
    "read_settings",
    "unknown_variables",
]
