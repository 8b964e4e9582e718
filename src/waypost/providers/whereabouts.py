"""Where the configured providers are, for whoever tells of calls to them: host and port, and the vendor's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from waypost.providers.vendors import ANTHROPIC, GEMINI, OPENAI
from waypost.settings import ProviderSettings, Settings
from waypost.telemetry.otlp.names import HOSTS, VENDORS, Peer

_VENDORS_OWN: Final[Mapping[str, str]] = {each.kind: each.base_url for each in (ANTHROPIC, GEMINI, OPENAI)}
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
LOCAL_KIND: Final = "llama_cpp"


def whereabouts(settings: Settings) -> dict[str, Peer]:
    """By the providers' names."""
    return {name: _peer(name, provider) for name, provider in settings.providers.items()}


def _peer(name: str, provider: ProviderSettings) -> Peer:
    if provider.kind == LOCAL_KIND:
        return Peer(LOCAL_KIND, "localhost")
    address = urlsplit(_address(provider))
    host = address.hostname or ""
    vendor = HOSTS.get(host) or VENDORS.get(provider.kind)
    if vendor is None:
        # Any server may speak OpenAI's format: what the settings call it says more.
        vendor = name if provider.kind == "openai_compatible" else provider.kind
    return Peer(vendor, host, address.port or _PORTS.get(address.scheme)) if host else Peer(vendor)


def _address(provider: ProviderSettings) -> str:
    base_url: str | None = getattr(provider, "base_url", None)
    region: str | None = getattr(provider, "region", None)
    if base_url is not None:
        return base_url
    if provider.kind == "bedrock" and region is not None:
        return f"https://bedrock-runtime.{region}.amazonaws.com"
    if provider.kind == "vertex" and region is not None:
        host = "aiplatform.googleapis.com"
        return f"https://{host}" if region == "global" else f"https://{region}-{host}"
    return _VENDORS_OWN.get(provider.kind, "")
