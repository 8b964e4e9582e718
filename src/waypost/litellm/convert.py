"""The whole of a LiteLLM configuration as settings of Waypost, and what became of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from waypost.litellm import left_out
from waypost.litellm.costs import price_of
from waypost.litellm.deployments import SECRET_WORDS, Deployment, NotTaken, read_deployment
from waypost.litellm.groups import Groups, Rules, read_rules, route_name, route_of
from waypost.litellm.report import Finding, Report
from waypost.litellm.source import Source, read_source
from waypost.litellm.values import Variables, plain, secret, variable_name, variables_in
from waypost.litellm.vendors import OTHER_MODES
from waypost.settings import ProviderSettings
from waypost.settings.environment import interpolate
from waypost.settings.references import DEFAULT_ROUTE, NAME

MIN_KEY_CHARACTERS: Final = 16
MEGABYTE: Final = 1024 * 1024
PROVIDER: Final[TypeAdapter[ProviderSettings]] = TypeAdapter(ProviderSettings)


@dataclass(frozen=True, slots=True)
class Imported:
    """Settings as a file holds them, the findings, and the variables that must be set, each with what it is for.

    `placeholders` are values with which the settings can be tried before the variables are set.
    """

    settings: dict[str, Any]
    findings: tuple[Finding, ...]
    variables: Mapping[str, str]
    placeholders: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Was there no model that could be taken over?"""
        return not self.settings.get("routes") and not self.settings.get("providers")


def import_config(path: Path) -> Imported:
    """Raises ConfigurationError if the file cannot be read or is no such configuration."""
    source, report, variables = read_source(path), Report(), Variables()
    taken = _Taken(source, report, variables)
    settings = taken.settings()
    report.rest("router_settings", source.router, left_out.ROUTER, left_out.OTHERWISE)
    report.rest("litellm_settings", source.library, left_out.LIBRARY, left_out.OTHERWISE)
    report.rest("general_settings", source.general, left_out.GENERAL, left_out.OTHERWISE)
    for name in source.rest:
        report.left_out(name, left_out.TOP.get(name, left_out.OTHERWISE))
    return Imported(settings, tuple(report.findings), dict(variables.uses), dict(variables.placeholders))


class _Taken:
    """One file on its way."""

    def __init__(self, source: Source, report: Report, variables: Variables) -> None:
        self._source = source
        self._report = report
        self._variables = variables
        variables.named.update(variables_in([source.models, source.credentials, source.sections]))
        variables.named.update(source.sections["environment_variables"])
        self._rules: Rules = read_rules(source, report)
        self._deployments = list(self._read())
        self._served = [each for each in self._deployments if "*" not in each.name and self._makes_answers(each)]
        self._aliases = self._read_aliases()

    def settings(self) -> dict[str, Any]:
        """In the order in which people read them."""
        providers = self._providers()
        routes = self._routes(providers)
        parts: dict[str, Any] = {
            "server": self._server(),
            "keys": self._keys(),
            "database_url": self._database_url(),
            "providers": providers,
            "routes": routes,
            "aliases": self._kept_aliases(routes),
            "prices": self._prices(),
        }
        self._environment()
        return {name: part for name, part in parts.items() if part}

    def _read(self) -> Iterator[Deployment]:
        for number, entry in enumerate(self._source.models):
            try:
                deployment = read_deployment(entry, number, self._source.credentials, self._variables, self._report)
                self._check(deployment)
                yield deployment
            except NotTaken as reason:
                self._report.left_out(f"model_list[{number}] ({entry.get('model_name', '')})", str(reason))

    def _check(self, deployment: Deployment) -> None:
        """Raises NotTaken if our settings would refuse what the file says of its provider."""
        headers = {str(name): "any" for name in deployment.headers}
        entry = {**deployment.provider, **({"headers": headers} if headers else {})}
        try:
            PROVIDER.validate_python(_filled(entry, self._variables.placeholders))
        except ValidationError as error:
            first = error.errors()[0]
            field = next((step for step in reversed(first["loc"]) if isinstance(step, str)), "provider")
            raise NotTaken(f"its {field} cannot be used: {first['msg'].removeprefix('Value error, ')}") from None

    def _makes_answers(self, deployment: Deployment) -> bool:
        made = OTHER_MODES.get(str(deployment.mode))
        if made is not None:
            way = "its provider's other endpoints are at /providers/{name}/"
            self._report.left_out(deployment.where, f"no route serves {made}; {way}")
        return made is None

    def _providers(self) -> dict[str, Any]:
        """One entry for all deployments that differ in nothing but the model."""
        reserved = {route_name(each.name) for each in self._served} | set(self._aliases) | {DEFAULT_ROUTE}
        providers: dict[str, Any] = {}
        known: dict[str, str] = {}
        # Patterns first, so that names such as openai/gpt-5.4 go on leading to the provider of that name.
        for deployment in sorted(self._deployments, key=lambda each: "*" not in each.name):
            self._cap(deployment)
            identity = deployment.identity()
            if identity not in known:
                name = _free(deployment.prefix.replace("_", "-"), {*providers, *reserved})
                providers[name], known[identity] = self._provider(name, deployment), name
            deployment.key = known[identity]
            if "*" in deployment.name:
                self._tell_of_pattern(deployment)
        return providers

    def _cap(self, deployment: Deployment) -> None:
        """A time that holds for all calls holds for each provider's."""
        if self._rules.total_s is not None and "deadlines" not in deployment.provider:
            deployment.provider["deadlines"] = {"total_s": self._rules.total_s}

    def _provider(self, name: str, deployment: Deployment) -> dict[str, Any]:
        provider = dict(deployment.provider)
        where = f"providers.{name}"
        if deployment.api_key is not None:
            suggested = variable_name(f"{name}_api_key")
            provider["api_key"] = secret(
                deployment.api_key, self._variables, self._report, f"{where}.api_key", suggested
            )
        if deployment.headers:
            provider["headers"] = {
                header: self._header(f"{where}.headers.{header}", f"{name}_{header}", header, value)
                for header, value in deployment.headers.items()
            }
        return provider

    def _header(self, where: str, suggested: str, header: str, value: Any) -> str:
        if any(word in header.lower() for word in SECRET_WORDS):
            return secret(value, self._variables, self._report, where, variable_name(suggested))
        return plain(value, self._variables, where, "placeholder")

    def _tell_of_pattern(self, deployment: Deployment) -> None:
        if deployment.name == f"{deployment.key}/*" and deployment.model == "*":
            return  # provider/model is understood without a route
        if deployment.model.endswith("*"):
            text = f"callers ask for {deployment.key}/MODEL, or by the model's own name where one provider has it"
            self._report.changed(deployment.where, text)
        else:
            self._report.left_out(deployment.where, "a pattern cannot lead to one model; name each in aliases")

    def _routes(self, providers: Mapping[str, Any]) -> dict[str, Any]:
        by_name: dict[str, list[Deployment]] = {}
        for deployment in self._served:
            by_name.setdefault(deployment.name, []).append(deployment)
        groups = Groups(by_name, {each.model_id: each for each in self._served if each.model_id})
        routes: dict[str, Any] = {}
        for name in by_name:
            route = route_of(name, groups, self._rules, self._report)
            if route == {"targets": [name]}:
                continue  # provider/model is understood without a route
            own_name = _free(route_name(name), {*routes, *providers})
            if own_name != name:
                is_target = by_name[name][0].target == name
                why = (
                    "asked for so, it has the default policy and no fallbacks"
                    if is_target
                    else "no route can have this name"
                )
                self._report.changed(f"model_list ({name})", f"{why}: ask for {own_name}")
            routes[own_name] = route
        if routes and DEFAULT_ROUTE not in routes:
            routes[DEFAULT_ROUTE] = deepcopy(routes[self._default(routes)])
        return routes

    def _default(self, routes: Mapping[str, Any]) -> str:
        """Whoever serves requests that name no model."""
        wanted = self._source.general.pop("completion_model", None)
        if wanted is not None and route_name(str(wanted)) in routes:
            return route_name(str(wanted))
        if wanted is not None:
            self._report.left_out("general_settings.completion_model", f"there is no route {wanted}")
        first = next(iter(routes))
        self._report.changed("model_list", f"requests that name no model go to {first}")
        return first

    def _read_aliases(self) -> dict[str, str]:
        written = self._source.either("model_group_alias")
        aliases: dict[str, str] = {}
        for alias, target in written.items() if isinstance(written, dict) else ():
            model = target.get("model") if isinstance(target, dict) else target
            name = route_name(str(alias))
            if name != alias:
                self._report.changed(f"model_group_alias.{alias}", f"a name has no such characters: ask for {name}")
            if isinstance(target, dict) and target.get("hidden"):
                self._report.changed(f"model_group_alias.{alias}", "it is listed among the models")
            aliases[name] = str(model)
        return aliases

    def _kept_aliases(self, routes: Mapping[str, Any]) -> dict[str, str]:
        kept: dict[str, str] = {}
        direct = {each.target for each in self._served}
        for alias, model in self._aliases.items():
            target = route_name(model) if route_name(model) in routes else model
            if alias in routes or (target not in routes and target not in direct):
                self._report.left_out(
                    f"model_group_alias.{alias}", f"{model} was not taken over, or has that name itself"
                )
            else:
                kept[alias] = target
        return kept

    def _prices(self) -> dict[str, Any]:
        prices: dict[str, Any] = {}
        for deployment in self._deployments:
            price = price_of(deployment.costs, deployment.where, self._report) if deployment.costs else None
            if price is None:
                continue
            if prices.setdefault(deployment.target, price) != price:
                self._report.left_out(deployment.where, f"{deployment.target} has another price already")
        return prices

    def _server(self) -> dict[str, Any]:
        server: dict[str, Any] = {}
        most = self._source.general.pop("global_max_parallel_requests", None)
        if isinstance(most, int) and most > 0:
            server["max_in_flight"] = min(most, 1_000_000)
        largest = self._source.general.pop("max_request_size_mb", None)
        if isinstance(largest, int | float) and largest > 0:
            server["max_body_bytes"] = min(round(largest * MEGABYTE), 1024 * MEGABYTE)
        return server

    def _keys(self) -> dict[str, Any]:
        key = self._source.general.pop("master_key", None)
        if not key:
            return {}
        where = "general_settings.master_key"
        written = secret(key, self._variables, self._report, where, "LITELLM_MASTER_KEY")
        if isinstance(key, str) and not key.startswith("os.environ/") and len(key) < MIN_KEY_CHARACTERS:
            self._report.changed(
                where, f"it is too short to be safe; use one of {MIN_KEY_CHARACTERS} characters or more"
            )
        self._report.left_out("LiteLLM's virtual keys", "they are in its database; " + left_out.LIBRARY["max_budget"])
        return {"master": {"key": written, "admin": True}}

    def _database_url(self) -> str | None:
        url = self._source.general.pop("database_url", None)
        if not url:
            return None
        where = "general_settings.database_url"
        self._report.changed(where, "Waypost makes tables of its own there; what LiteLLM's hold is not taken over")
        sample = "postgresql://placeholder@placeholder/placeholder"
        return secret(url, self._variables, self._report, where, "DATABASE_URL", sample)

    def _environment(self) -> None:
        for name in self._source.sections["environment_variables"]:
            self._report.changed(f"environment_variables.{name}", "set it in the environment; it is not copied")


def _filled(value: Any, placeholders: Mapping[str, str]) -> Any:
    """With the variables' values in place."""
    if isinstance(value, dict):
        return {key: _filled(item, placeholders) for key, item in value.items()}
    return interpolate(value, placeholders, lambda _: None) if isinstance(value, str) else value


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of name-2, name-3 … that is free."""
    base = name if NAME.fullmatch(name) else "provider"
    candidate, number = base, 1
    while candidate in taken:
        number += 1
        candidate = f"{base}-{number}"
    return candidate
