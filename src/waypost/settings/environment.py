"""What the environment has to say: values inside the file (`${NAME}`), overrides, and providers by their usual keys.

The environment is an argument everywhere; nothing here looks at the process's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from waypost.settings.problems import KeyPath, nearest

REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
PREFIX = "WAYPOST_"
CONFIG_VARIABLE = "WAYPOST_CONFIG"


@dataclass(frozen=True, slots=True)
class Override:
    """An environment variable that replaces a setting. `path` None: it does not stand for a key of the file."""

    variable: str
    path: KeyPath | None
    meaning: str
    many: bool = False


OVERRIDES: tuple[Override, ...] = (
    Override(CONFIG_VARIABLE, None, "Path of the settings file; --config comes before it, ./waypost.yaml after it."),
    Override("WAYPOST_HOST", ("server", "host"), "Address to listen on."),
    Override("WAYPOST_PORT", ("server", "port"), "Port to listen on."),
    Override("WAYPOST_WORKERS", ("server", "workers"), "Processes that answer requests at the same port."),
    Override("WAYPOST_DATA_DIR", ("data_dir",), "Folder for models and state."),
    Override("WAYPOST_MODELS_DIR", ("models_dir",), "Folder of local models."),
    Override("WAYPOST_DATABASE_URL", ("database_url",), "Where keys, spend and log are kept."),
    Override("WAYPOST_WEBHOOK_SECRET", ("webhooks", "secret"), "What webhooks are signed with, whsec_ and Base64."),
    Override("WAYPOST_LOG_LEVEL", ("server", "log_level"), "How much is logged: debug, info, warning or error."),
    Override(
        "WAYPOST_CORS_ORIGINS",
        ("server", "cors_origins"),
        "Sites whose pages may call, with commas between.",
        many=True,
    ),
    Override("WAYPOST_SHUTDOWN_GRACE_S", ("server", "shutdown_grace_s"), "Seconds that streams may take at shutdown."),
    Override("WAYPOST_MAX_BODY_BYTES", ("server", "max_body_bytes"), "Largest request body, in bytes."),
)

OTHER_VARIABLES: Mapping[str, str] = {
    "ANTHROPIC_API_KEY": "Makes the provider anthropic, where no providers are configured.",
    "ANTHROPIC_BASE_URL": "That provider's address, if not the vendor's own.",
    "OPENAI_API_KEY": "Makes the provider openai, where no providers are configured.",
    "OPENAI_BASE_URL": "That provider's address, if not the vendor's own.",
    "GEMINI_API_KEY": "Makes the provider gemini, where no providers are configured.",
    "GEMINI_BASE_URL": "That provider's address, if not the vendor's own.",
}
VENDORS = ("anthropic", "openai", "gemini")
"""The providers that a key in the environment makes, in the order of the default route."""


class UnsetVariable(Exception):
    """A `${NAME}` without default whose variable is unset or empty."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def interpolate(text: str, environ: Mapping[str, str], used: Callable[[str], object]) -> str:
    """The text with `${NAME}` and `${NAME:-default}` replaced; `$${` stands for `${`. Raises UnsetVariable.

    An empty variable counts as unset, because container tools pass unset ones so. `used` is told each
    variable whose value went in. Values are not searched for further references.
    """

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return match["escaped"]
        name, default = match["name"], match["default"]
        if environ.get(name):
            used(name)
            return environ[name]
        if default is None:
            raise UnsetVariable(name)
        return default

    return REFERENCE.sub(value, text)


def overrides_from(environ: Mapping[str, str]) -> dict[KeyPath, tuple[str, Any]]:
    """Key path -> (variable, value) of every override that is set; empty ones count as unset."""
    found: dict[KeyPath, tuple[str, Any]] = {}
    for override in OVERRIDES:
        text = environ.get(override.variable, "").strip()
        if override.path is not None and text:
            value = [part.strip() for part in text.split(",") if part.strip()] if override.many else text
            found[override.path] = (override.variable, value)
    return found


def providers_from(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """Providers for when none is configured: one for each vendor's key, and the local model.

    Also gives the variable that each value came from.
    """
    providers: dict[str, Any] = {}
    sources: dict[KeyPath, str] = {}
    for vendor in VENDORS:
        if not environ.get(f"{vendor.upper()}_API_KEY", "").strip():
            continue
        providers[vendor] = {"kind": vendor}
        for key in ("api_key", "base_url"):
            variable = f"{vendor.upper()}_{key.upper()}"
            if environ.get(variable, "").strip():
                providers[vendor][key] = environ[variable].strip()
                sources["providers", vendor, key] = variable
    return {**providers, "local": {"kind": "llama_cpp"}}, sources


def unknown_variables(environ: Mapping[str, str]) -> tuple[tuple[str, str | None], ...]:
    """Variables with our prefix that mean nothing to us, each with the nearest one that does."""
    known = {override.variable.removeprefix(PREFIX): override.variable for override in OVERRIDES}
    strangers = sorted(name for name in environ if name.startswith(PREFIX) and name not in known.values())
    return tuple((name, known.get(nearest(name.removeprefix(PREFIX), known) or "")) for name in strangers)
