"""All settings as one frozen value. One sentence a field: the JSON schema and the reference are made from them.

Here is what holds between the parts: names lead somewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from waypost.settings.fields import DatabaseUrl, Part, anchored
from waypost.settings.jobs import JobSettings
from waypost.settings.keys import KeySettings, same_keys
from waypost.settings.kinds import KindSettings, kind_findings
from waypost.settings.ledger import LedgerSettings
from waypost.settings.prices import PriceSettings, check_targets, price_findings
from waypost.settings.providers import BUILT_IN_KINDS, LOCAL_KIND, LlamaCppSettings, ProviderSettings, kind_of
from waypost.settings.references import DEFAULT_ROUTE, NAME, Names, Target
from waypost.settings.routes import CacheSettings, PolicySettings, RouteSettings
from waypost.settings.server import ServerSettings
from waypost.settings.telemetry import TelemetrySettings
from waypost.settings.webhooks import WebhookSettings

REFERENCE_ERROR = "waypost_reference"


def _default_data_dir(value: Any = None) -> Any:
    if value is not None:
        return value
    import platformdirs

    return platformdirs.user_data_path("waypost")


def _only_local() -> dict[str, ProviderSettings]:
    return {"local": LlamaCppSettings()}


class Settings(Part):
    """Everything that can be configured."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    """Where the server listens and what it accepts."""
    keys: dict[str, KeySettings] = Field(default_factory=dict)
    """Keys that callers may show, by a name of your choice, besides those in the database; with none, all may call."""
    data_dir: Annotated[
        Path,
        BeforeValidator(_default_data_dir),
        AfterValidator(anchored),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}),
    ] = Field(default_factory=_default_data_dir)
    """Folder for models and state; null is the system's place for a program's data."""
    models_dir: Annotated[Path, AfterValidator(anchored)] | None = None
    """Folder of local models, which may be read-only if they are there; null is the folder models in data_dir."""
    database_url: DatabaseUrl | None = None
    """Where keys, spend and log are kept: postgresql://user:password@host/name, or sqlite:///file with a path that is
    relative to data_dir; null is the SQLite file waypost.db there."""
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    """What is written down of requests, and for how long it is kept."""
    jobs: JobSettings = Field(default_factory=JobSettings)
    """What is done in the background, such as analyses and batches."""
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    """Who may read the metrics, and how the log is written."""
    webhooks: WebhookSettings = Field(default_factory=WebhookSettings)
    """Which servers may be told of jobs and budgets, and how such messages are signed."""
    providers: dict[str, ProviderSettings] = Field(default_factory=_only_local)
    """Who answers, by a name of your choice."""
    plugins: tuple[str, ...] = ()
    """Entry points of the group waypost.providers that may be loaded; no other is."""
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    """Names for lists of targets; default is the one for requests that name no model."""
    aliases: dict[str, str] = Field(default_factory=dict)
    """Short names for a target, a route or another alias."""
    prices: Annotated[dict[str, PriceSettings], AfterValidator(check_targets)] = Field(default_factory=dict)
    """What is paid instead of the published prices, by provider/model or kind/model, * standing for any text."""
    kinds: dict[str, KindSettings] = Field(default_factory=dict)
    """Kinds of analysis of your own, by a name of your choice, beside the built-in kind analysis."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        """The default route, where none is configured: all providers in order, without local ones unless alone."""
        if not isinstance(data, Mapping):
            return data
        providers = data.get("providers", _only_local())
        routes = data.get("routes", {})
        if not isinstance(providers, Mapping) or not isinstance(routes, Mapping) or DEFAULT_ROUTE in routes:
            return data
        remote = [name for name, provider in providers.items() if kind_of(provider) != LOCAL_KIND]
        targets = remote or list(providers)
        return {**data, "routes": {**routes, DEFAULT_ROUTE: {"targets": targets}}} if targets else data

    @field_validator("providers")
    @classmethod
    def _some_provider(cls, providers: dict[str, Any]) -> dict[str, Any]:
        if not providers:
            raise ValueError("is empty; name a provider, or leave the key out")
        return providers

    @field_validator("keys")
    @classmethod
    def _keys_differ(cls, keys: dict[str, KeySettings]) -> dict[str, KeySettings]:
        for name in keys:
            if not NAME.fullmatch(name):
                raise ValueError(f'holds the name "{name}"; a name may hold only letters, digits, and . _ : -')
        same = same_keys(keys)
        if same:
            raise ValueError(f"holds one key twice, as {same[0]} and {same[1]}")
        return keys

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        kinds = (*BUILT_IN_KINDS, *(provider.kind for provider in self.providers.values()), *self.plugins)
        findings = [
            *self.names.findings(),
            *price_findings(self.prices, self.providers, kinds),
            *kind_findings(self.kinds, self.providers),
        ]
        sentences = [text for _, text in findings]
        if sentences:
            raise PydanticCustomError(REFERENCE_ERROR, "{text}", {"text": "; ".join(sentences)})
        return self

    @property
    def models_folder(self) -> Path:
        """Where local models are."""
        return self.models_dir or self.data_dir / "models"

    @property
    def names(self) -> Names:
        """Providers, routes and aliases as names that lead to each other."""
        return Names(
            frozenset(self.providers),
            routes={name: [target for target, _ in route.weights] for name, route in self.routes.items()},
            aliases=self.aliases,
            weights={name: [weight for _, weight in route.weights] for name, route in self.routes.items()},
        )

    def targets(self, route: str = DEFAULT_ROUTE) -> tuple[Target, ...]:
        """The targets behind a route, alias, provider or "provider/model", each once, in order."""
        return self.names.resolve(route)

    def shares(self, route: str = DEFAULT_ROUTE) -> dict[Target, float]:
        """The part of a route's requests that each of its targets gets by weight. In the order of `targets`; sum 1.

        A route among the targets hands its share on to its own targets, by their weights.
        """
        return self.names.shares(route)

    def policy(self, name: str) -> PolicySettings:
        """That of a route, or of the route an alias leads to; the defaults for anything else."""
        route = self._route(name)
        return route.policy if route else PolicySettings()

    def cache(self, name: str) -> CacheSettings | None:
        """That of a route, or of the route an alias leads to; None: its answers are not cached."""
        route = self._route(name)
        return route.cache if route else None

    def _route(self, name: str) -> RouteSettings | None:
        while name in self.aliases:
            name = self.aliases[name]
        return self.routes.get(name)
