"""Settings in which the simulator plays those providers that cannot be asked here, and the reason for each.

What it cannot show: whether a vendor takes our key and still has the model. What it does show: that the settings lead
somewhere, and that each target's wire format goes there and back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from waypost.settings import LoadedSettings, Settings
    from waypost.simulator import Simulator

_KEY: Final = "simulated"
_UNSET: Final = "https://not-set.invalid"
"""What a variable that is not set stands for: text that may be a key or an address."""
_BLANK: Final[Mapping[tuple[str, ...], Any]] = {
    ("database_url",): None,
    ("ledger",): {"enabled": False},
    ("jobs",): {"enabled": False},
    ("keys",): {},
    ("webhooks",): {},
    ("kinds",): {},
}
"""Settings that have nothing to do with whether a model answers: they may want what is not here."""


@dataclass(frozen=True, slots=True)
class Readable:
    """Settings that could be read, and the variables they want that are not set."""

    loaded: LoadedSettings
    unset: frozenset[str]


def read(config_file: Path | None, environ: Mapping[str, str] | None = None) -> Readable:
    """The settings with all of their variables, those that are not set standing for a text.

    Raises ConfigurationError.
    """
    from waypost.settings import read_settings

    environ = os.environ if environ is None else environ
    unset = _unset(config_file, environ)
    options = {f"waypost probe ({'.'.join(path)})": (path, value) for path, value in _BLANK.items()}
    return Readable(read_settings(config_file, {**environ, **dict.fromkeys(unset, _UNSET)}, options), unset)


def _unset(config_file: Path | None, environ: Mapping[str, str]) -> frozenset[str]:
    from waypost.settings.environment import REFERENCE
    from waypost.settings.load import find_file

    file = find_file(config_file, environ)
    if file is None or not file.is_file():
        return frozenset()
    wanted = REFERENCE.finditer(file.read_text(encoding="utf-8", errors="replace"))
    names = {match["name"] for match in wanted if match["name"] and match["default"] is None}
    return frozenset(name for name in names if not environ.get(name))


def reasons(readable: Readable, chosen: Collection[str]) -> dict[str, str]:
    """Why a provider cannot be asked here, by the provider's name; those that can be are not in it.

    `chosen` are providers that shall not be asked, whatever is here.
    """
    return {
        name: reason
        for name, provider in readable.loaded.settings.providers.items()
        if (reason := "as was asked for" if name in chosen else _reason(name, provider, readable))
    }


def _reason(name: str, provider: Any, readable: Readable) -> str | None:
    from waypost.providers.vendors import VENDORS
    from waypost.settings import HttpProviderSettings, KeyedProviderSettings, LlamaCppSettings, VertexSettings

    variables = readable.loaded.variables
    unset = [variable for path, variable in variables.items() if path[:2] == ("providers", name)]
    if missing := next((variable for variable in unset if variable in readable.unset), None):
        return f"{missing} is not set"
    if isinstance(provider, LlamaCppSettings):
        return _reason_of_local(provider, readable.loaded.settings)
    if isinstance(provider, VertexSettings):
        return _reason_of_file(provider.credentials_file) if provider.credentials_file else _reason_of_google()
    if not isinstance(provider, HttpProviderSettings) or not isinstance(provider, KeyedProviderSettings):
        return None
    if provider.api_key_file is not None:
        return _reason_of_file(provider.api_key_file)
    wants_key = provider.base_url is None or provider.kind == "azure_openai"
    if wants_key and not provider.has_key:
        return f"it has no key ({VENDORS[provider.kind].environment})"
    return None


def _reason_of_google() -> str | None:
    """Where Google's own libraries look first; a machine of Google's has them without any of these."""
    usual = Path("~/.config/gcloud/application_default_credentials.json").expanduser()
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return None if named or usual.is_file() else "GOOGLE_APPLICATION_CREDENTIALS is not set"


def _reason_of_file(file: Path | None) -> str | None:
    return f"{file} is not there" if file is not None and not file.is_file() else None


def _reason_of_local(provider: Any, settings: Settings) -> str | None:
    from waypost.cli.local_models import check_model
    from waypost.errors import ModelError

    try:
        check_model(provider.model, settings)
    except ModelError as error:
        return error.message
    return None


def default_model(provider: Any) -> str | None:
    """The model of a provider for requests that name none; None: it has none."""
    from waypost.providers.vendors import VENDORS

    if provider.kind == "llama_cpp":
        return str(provider.model)
    vendor = VENDORS.get(provider.kind)
    return getattr(provider, "default_model", None) or (vendor.default_model if vendor else None)


def with_stand_ins(settings: Settings, names: Collection[str], simulator: Simulator) -> Settings:
    """The settings, with the simulator in the place of those providers."""
    providers = {
        name: _stand_in(provider, simulator) if name in names else provider
        for name, provider in settings.providers.items()
    }
    return settings.model_copy(update={"providers": providers})


def _stand_in(provider: Any, simulator: Simulator) -> Any:
    """A provider of the same wire format at the simulator. Its models keep their names."""
    from waypost.settings import OpenAISettings
    from waypost.settings.providers import VendorSettings

    wire = getattr(provider, "wire", None)
    kept = {"default_model": default_model(provider) or "simulated", "api_key": _KEY}
    if provider.kind in ("openai", "azure_openai", "bedrock") and wire in ("responses", "chat", None):
        return OpenAISettings.model_validate(
            {**kept, "kind": "openai", "wire": wire or "chat", "base_url": simulator.openai_url}
        )
    kind = _WIRES.get(provider.kind, "openai_compatible")
    return VendorSettings.model_validate({**kept, "kind": kind, "base_url": _ADDRESSES[kind](simulator)})


_WIRES: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "bedrock": "anthropic",
    "gemini": "gemini",
    "vertex": "gemini",
}
"""Kind of a provider -> the kind that speaks its wire format with a plain key; others speak OpenAI's."""
_ADDRESSES: Final[Mapping[str, Callable[[Simulator], str]]] = {
    "anthropic": lambda simulator: simulator.anthropic_url,
    "gemini": lambda simulator: f"{simulator.gemini_url}/v1beta",
    "openai_compatible": lambda simulator: simulator.openai_url,
}
