"""From a file and the environment to Settings, or to one error that names every problem."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from waypost.errors import ConfigurationError
from waypost.settings.document import Document, read_document
from waypost.settings.environment import (
    CONFIG_VARIABLE,
    UnsetVariable,
    interpolate,
    overrides_from,
    providers_from,
)
from waypost.settings.kinds import kind_findings, read_schema
from waypost.settings.models import Settings
from waypost.settings.prices import price_findings
from waypost.settings.problems import InvalidSettings, KeyPath, Place, Problem, key_text, listed, nearest
from waypost.settings.providers import BUILT_IN_KINDS, kind_of
from waypost.settings.references import Finding, Names
from waypost.settings.sentences import sentence

USUAL_FILE = Path("waypost.yaml")
PATH_KEYS = ("ca_file", "api_key_file", "credentials_file")
"""A provider's keys whose values are paths."""


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings with where they came from. `variables`: key path -> the environment variable of its value."""

    settings: Settings
    file: Path | None = None
    variables: Mapping[KeyPath, str] = field(default_factory=dict)


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of `path`, else of WAYPOST_CONFIG, else of ./waypost.yaml, else the defaults.

    `environ` None is the process's own. Raises ConfigurationError (InvalidSettings with all problems).
    """
    return read_settings(path, environ).settings


def read_settings(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, tuple[KeyPath, Any]] | None = None,
) -> LoadedSettings:
    """Like `load_settings`, and says where values came from.

    `options` are a command line's, option -> (key path, value), and come before everything else.
    """
    environ = os.environ if environ is None else environ
    file = find_file(path, environ)
    draft = _Draft(read_document(file) if file else Document(), environ)
    draft.fill_variables()
    draft.add_providers()
    draft.apply(overrides_from(environ))
    draft.apply({path: (option, value) for option, (path, value) in (options or {}).items()})
    draft.anchor_paths(file.parent if file else Path())
    draft.read_schemas()
    return LoadedSettings(draft.settings(), file, draft.variables)


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file to read, None if there is none. Raises ConfigurationError if a named one is missing."""
    if path is not None:
        return path
    named = environ.get(CONFIG_VARIABLE, "").strip()
    if named and not Path(named).exists():
        raise ConfigurationError(
            f"{CONFIG_VARIABLE} names the file {named}, which does not exist.", hint="Correct it or unset it."
        )
    if named:
        return Path(named)
    return USUAL_FILE if USUAL_FILE.exists() else None


class _Draft:
    """A document on its way to Settings: values, where they came from, and the problems so far."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._settled: set[KeyPath] = set()
        self.variables: dict[KeyPath, str] = {}

    def fill_variables(self) -> None:
        """Replace `${NAME}` everywhere. A key with nothing after it counts as left out."""
        self._document.data = {
            key: self._filled(value, (key,)) for key, value in self._document.data.items() if value is not None
        }

    def _filled(self, value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: self._filled(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        try:
            return interpolate(value, self._environ, lambda name: self.variables.setdefault(path, name))
        except UnsetVariable as error:
            mend = f"set it, or write ${{{error.name}:-a default}}"
            self._settled.add(path)
            self._problem(path, f"{key_text(path)} wants the variable {error.name}, which is not set; {mend}")
            return value

    def add_providers(self) -> None:
        """The environment's providers, if the file has no such key."""
        if "providers" in self._document.data:
            return
        providers, variables = providers_from(self._environ)
        self._document.data["providers"] = providers
        self.variables.update(variables)
        self._document.places.update({path: Place(variable) for path, variable in variables.items()})

    def apply(self, overrides: Mapping[KeyPath, tuple[str, Any]]) -> None:
        for path, (source, value) in overrides.items():
            target: Any = self._document.data
            for step in path[:-1]:
                target = target.setdefault(step, {}) if isinstance(target, dict) else None
            if isinstance(target, dict):
                target[path[-1]] = value
                self.variables.pop(path, None)
                self._document.places[path] = Place(source)

    def anchor_paths(self, folder: Path) -> None:
        """Paths in the file are relative to the file, not to wherever the program was started."""
        for path in self._file_paths():
            holder = self._at(path[:-1])
            if self._in_file(path) and isinstance(holder, dict) and isinstance(holder.get(path[-1]), str):
                holder[path[-1]] = str(folder.absolute() / Path(holder[path[-1]]).expanduser())

    def _file_paths(self) -> Iterator[KeyPath]:
        yield from (("data_dir",), ("models_dir",), ("webhooks", "secret_file"), ("webhooks", "ca_file"))
        for name, provider in self._mapping("providers").items():
            yield from (("providers", name, key) for key in PATH_KEYS)
            if isinstance(provider, dict) and str(provider.get("model", "")).endswith(".gguf"):
                yield ("providers", name, "model")
        yield from (("kinds", name, "json_schema_file") for name in self._mapping("kinds"))

    def read_schemas(self) -> None:
        """The schemas of kinds that have theirs in a file of its own."""
        for name, kind in self._mapping("kinds").items():
            file = kind.get("json_schema_file") if isinstance(kind, dict) else None
            if isinstance(file, str):
                self._read_schema(("kinds", name), kind, file)

    def _read_schema(self, path: KeyPath, kind: dict[str, Any], file: str) -> None:
        told = key_text((*path, "json_schema_file"))
        if kind.get("json_schema") is not None:
            self._problem((*path, "json_schema_file"), f"{told} stands beside json_schema; use one of them")
            return
        try:
            kind["json_schema"] = read_schema(Path(file))
            self._document.places[(*path, "json_schema")] = Place(file)
        except ValueError as error:
            self._settled.add(path)
            self._problem((*path, "json_schema_file"), f"{told} {error}")

    def _in_file(self, path: KeyPath) -> bool:
        place = self._document.places.get(path)
        return place is not None and place.line is not None

    def settings(self) -> Settings:
        """Raises InvalidSettings with every problem."""
        for path, text in [*self._unknown_kinds(), *self._references(), *self._prices(), *self._kinds()]:
            self._problem(path, text)
        try:
            settings = Settings.model_validate(self._document.data)
        except ValidationError as error:
            for detail in _without_echoes([dict(detail) for detail in error.errors(include_url=False)]):
                self._finding(detail)
            settings = None
        if self._document.problems or settings is None:
            raise InvalidSettings(self._document.problems)
        return settings

    def _finding(self, detail: Mapping[str, Any]) -> None:
        finding = sentence(detail, lambda path: path not in self.variables)
        if finding and not any(finding[0][: len(settled)] == settled for settled in self._settled):
            self._problem(*finding)

    def _unknown_kinds(self) -> Iterator[Finding]:
        """A plugin's entry point is named after the kind it brings, and only those in `plugins` are loaded."""
        plugins = self._document.data.get("plugins")
        known = [*BUILT_IN_KINDS, *(plugins if isinstance(plugins, list) else ())]
        for name, provider in self._mapping("providers").items():
            kind = kind_of(provider)
            if isinstance(kind, str) and kind not in known:
                guess = nearest(kind, [word for word in known if isinstance(word, str)])
                others = (
                    f"the kinds are {listed(BUILT_IN_KINDS, last='and')}; another's plugin must be named in plugins"
                )
                mend = f"did you mean {guess}?" if guess else others
                self._settled.add(("providers", name))
                yield ("providers", name, "kind"), f'providers.{name} has the unknown kind "{kind}"; {mend}'

    def _prices(self) -> list[Finding]:
        providers = self._mapping("providers")
        plugins = self._document.data.get("plugins")
        kinds = [*BUILT_IN_KINDS, *map(kind_of, providers.values()), *(plugins if isinstance(plugins, list) else ())]
        known = [kind for kind in kinds if isinstance(kind, str)]
        return price_findings(self._mapping("prices"), providers, known)

    def _kinds(self) -> list[Finding]:
        findings = kind_findings(self._mapping("kinds"), self._mapping("providers"))
        return [finding for finding in findings if not self._is_settled(finding[0])]

    def _references(self) -> list[Finding]:
        routes: dict[str, list[str]] = {}
        for name, route in self._mapping("routes").items():
            targets = route.get("targets") if isinstance(route, dict) else None
            texts = [_target_text(target) for target in targets] if isinstance(targets, list) else []
            routes[name] = [text for text in texts if text is not None]
        aliases = {name: target for name, target in self._mapping("aliases").items() if isinstance(target, str)}
        providers = frozenset(self._mapping("providers"))
        findings = Names(providers, routes, aliases).findings()
        return [finding for finding in findings if not self._is_settled(finding[0])]

    def _mapping(self, key: str) -> dict[str, Any]:
        value = self._document.data.get(key)
        return value if isinstance(value, dict) else {}

    def _at(self, path: KeyPath) -> Any:
        value: Any = self._document.data
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def _is_settled(self, path: KeyPath) -> bool:
        return any(path[: len(settled)] == settled for settled in self._settled)

    def _problem(self, path: KeyPath, text: str) -> None:
        self._document.problems.append(Problem(text, self._document.place(path)))


def _without_echoes(details: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pydantic counts only the good entries of a list: one whose entries are all wrong is not also too short."""
    for detail in details:
        place = detail["loc"]
        inside = (other["loc"] for other in details if len(other["loc"]) > len(place))
        if detail["type"] != "too_short" or all(other[: len(place)] != place for other in inside):
            yield detail


def _target_text(target: Any) -> str | None:
    """The target of an entry in a route's list, None if it has none that is text."""
    text = target.get("target") if isinstance(target, dict) else target
    return text if isinstance(text, str) else None
