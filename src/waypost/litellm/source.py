"""The file of a LiteLLM proxy, with those that it includes, as plain values. Bounds are those of our own files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waypost.errors import ConfigurationError
from waypost.settings.document import read_document
from waypost.settings.problems import InvalidSettings

SECTIONS = ("router_settings", "litellm_settings", "general_settings", "environment_variables")


@dataclass(slots=True)
class Source:
    """What the file says. Each reader takes out of the sections what it understands; the rest is reported."""

    models: list[dict[str, Any]]
    sections: dict[str, dict[str, Any]]
    credentials: dict[str, dict[str, Any]] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)

    @property
    def router(self) -> dict[str, Any]:
        """`router_settings`."""
        return self.sections["router_settings"]

    @property
    def library(self) -> dict[str, Any]:
        """`litellm_settings`."""
        return self.sections["litellm_settings"]

    @property
    def general(self) -> dict[str, Any]:
        """`general_settings`."""
        return self.sections["general_settings"]

    def either(self, name: str) -> Any:
        """A setting that may stand in either place; the router's comes first."""
        library = self.library.pop(name, None)
        router = self.router.pop(name, None)
        return library if router is None else router


def read_source(path: Path) -> Source:
    """Raises ConfigurationError if it cannot be read or is not the configuration of a LiteLLM proxy."""
    data = _read(path)
    for name in _list(data.pop("include", None)):
        _merge(data, _read(path.parent / str(name)))
    models = data.pop("model_list", None)
    if not isinstance(models, list):
        raise ConfigurationError(
            f"{path} holds no model_list, so that it is no configuration of a LiteLLM proxy.",
            hint="Name the file that is given to litellm --config.",
        )
    sections = {name: _mapping(data.pop(name, None)) for name in SECTIONS}
    named = {
        str(each.get("credential_name")): each for each in _list(data.pop("credential_list", None)) if _mapping(each)
    }
    credentials = {name: _mapping(each.get("credential_values")) for name, each in named.items()}
    return Source([_mapping(model) for model in models], sections, credentials, data)


def _read(path: Path) -> dict[str, Any]:
    document = read_document(path)
    if document.problems:
        raise InvalidSettings(document.problems)
    return document.data


def _merge(data: dict[str, Any], included: dict[str, Any]) -> None:
    """Lists grow, anything else is replaced."""
    for key, value in included.items():
        if isinstance(data.get(key), list) and isinstance(value, list):
            data[key] = [*data[key], *value]
        else:
            data[key] = value


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
