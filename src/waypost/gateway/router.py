"""From a model's name to an ordered list of targets. No I/O; built once from settings.

A name is, in this order: a configured route or alias; `provider/model` with a configured provider; a well-known
short name (`model_names.json`); an id that exactly one configured provider serves.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Protocol

from waypost.errors import UnknownModel
from waypost.providers.vendors import VENDORS, Vendor, serves
from waypost.settings.references import DEFAULT_ROUTE, Target

MAX_NAME_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """What to try, in order, and what the caller should be told about how the name was read."""

    targets: tuple[Target, ...]
    notes: tuple[str, ...] = ()
    route: str | None = None
    """The configured name that was used, if it was one."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """A well-known short name: its target as `kind/model`, and the day its model was retired by the vendor."""

    target: str
    retired: str | None = None

    @property
    def kind(self) -> str:
        """The kind of provider that has it."""
        return self.target.partition("/")[0]


class Served(Protocol):
    """What the router asks of a provider."""

    models: tuple[str, ...] | None
    """All that it has; None: they cannot be listed."""

    def serves(self, model: str) -> bool | None:
        """Does it have this model? None: unknown."""


@dataclass(frozen=True, slots=True)
class ConfiguredProvider:
    """A provider as the router sees it."""

    kind: str
    provider: Served


@cache
def model_names() -> Mapping[str, ModelName]:
    """The well-known short names, from the data file."""
    text = files("waypost.gateway").joinpath("model_names.json").read_text(encoding="utf-8")
    return {name: ModelName(**entry) for name, entry in json.loads(text).items()}


class Router:
    """Resolves names. `routes` maps each configured route and alias to its targets, in order."""

    def __init__(self, providers: Mapping[str, ConfiguredProvider], routes: Mapping[str, Sequence[Target]]) -> None:
        self._providers = providers
        self._routes = {name: tuple(targets) for name, targets in routes.items()}
        self._of_routes = {name: Plan(targets, route=name) for name, targets in self._routes.items()}

    @property
    def routes(self) -> Mapping[str, tuple[Target, ...]]:
        """Every configured route and alias with its targets."""
        return self._routes

    @property
    def default_targets(self) -> tuple[Target, ...]:
        """The targets of the default route."""
        return self._routes.get(DEFAULT_ROUTE, ())

    def plan(self, name: str | None) -> Plan:
        """The targets for a name; None or empty means the default route. Raises UnknownModel."""
        name = name or DEFAULT_ROUTE
        if (configured := self._of_routes.get(name)) is not None:
            return configured
        if len(name) > MAX_NAME_CHARACTERS:
            # Looking for the nearest name takes time that grows with its length.
            raise UnknownModel(
                f"The model's name has {len(name)} characters; the limit is {MAX_NAME_CHARACTERS}.", param="model"
            )
        for reading in (self._as_target, self._as_well_known, self._as_served):
            plan = reading(name)
            if plan is not None:
                return plan
        raise self._unknown(name)

    def _as_target(self, name: str) -> Plan | None:
        provider, slash, model = name.partition("/")
        if provider in self._providers:
            self._demand_model(provider, model)
            return Plan((Target(provider, model or None),))
        nearest = difflib.get_close_matches(provider, self._providers, n=1, cutoff=0.75) if slash else ()
        if nearest:
            raise UnknownModel(
                f'No provider here is named "{provider}".', hint=f'Did you mean "{nearest[0]}/{model}"?', param="model"
            )
        return None

    def _demand_model(self, provider: str, model: str) -> None:
        models = self._providers[provider].provider.models
        if model and models is not None and model not in models:
            raise UnknownModel(
                f'{provider} has no model named "{model}".', hint=f"It has {', '.join(models)}.", param="model"
            )

    def _as_well_known(self, name: str) -> Plan | None:
        known = model_names().get(name)
        if known is None:
            return None
        model = known.target.partition("/")[2]
        for provider, configured in self._providers.items():
            if configured.kind == known.kind:
                return Plan((Target(provider, model),), _retired_note(name, known))
        return None

    def _as_served(self, name: str) -> Plan | None:
        answers = {provider: configured.provider.serves(name) for provider, configured in self._providers.items()}
        for answer in (True, None):
            named = [provider for provider, given in answers.items() if given is answer]
            if len(named) > 1:
                raise self._ambiguous(name, named)
            if named and answer is None:
                self._demand_no_slip(name, named[0])
            if named:
                return Plan((Target(named[0], name),))
        return None

    def _demand_no_slip(self, name: str, provider: str) -> None:
        """A route's name with a slip in it must not take the request to a provider that may have any model."""
        nearest = difflib.get_close_matches(name, self._routes, n=1, cutoff=0.8)
        if nearest:
            raise UnknownModel(
                f'No route or model here is named "{name}".',
                hint=f'Did you mean "{nearest[0]}"? If it is a model of {provider}, write "{provider}/{name}".',
                param="model",
            )

    def _ambiguous(self, name: str, providers: Sequence[str]) -> UnknownModel:
        nearest = difflib.get_close_matches(name, self._routes, n=1, cutoff=0.75)
        guess = f'Did you mean "{nearest[0]}"? Else write' if nearest else "Write"
        return UnknownModel(
            f'More than one provider may serve "{name}": {", ".join(providers)}.',
            hint=f'{guess} "{providers[0]}/{name}".',
            param="model",
        )

    def _unknown(self, name: str) -> UnknownModel:
        kinds = {configured.kind for configured in self._providers.values()}
        reachable = [known for known, entry in model_names().items() if entry.kind in kinds]
        nearest = difflib.get_close_matches(name, [*self._routes, *self._providers, *reachable], n=3, cutoff=0.6)
        owner = _owner(name)
        if owner is not None and owner.kind not in kinds:
            hint = f"It is a model of {owner.kind}: set {owner.environment}, or configure a provider of that kind."
        elif nearest:
            hint = f"Did you mean {' or '.join(nearest)}?"
        else:
            hint = f"Known here: {', '.join([*self._routes, *self._providers]) or 'nothing'}."
        return UnknownModel(f'No route or provider here serves the model "{name}".', hint=hint, param="model")


def _owner(name: str) -> Vendor | None:
    """The vendor that is known to have this model, configured or not."""
    known = model_names().get(name)
    if known is not None:
        return VENDORS.get(known.kind)
    return next((vendor for vendor in VENDORS.values() if serves(vendor.kind, name)), None)


def _retired_note(name: str, known: ModelName) -> tuple[str, ...]:
    if known.retired is None:
        return ()
    model = known.target.partition("/")[2]
    return (f"{name} was retired by its vendor on {known.retired}; {model} is asked instead.",)
