"""Builds the provider of a hosted vendor from its table row and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from waypost.codecs.codec import Codec
from waypost.errors import ConfigurationError
from waypost.providers.http_provider import Endpoint, HttpProvider, HttpProviderOptions
from waypost.providers.provider import ProviderState
from waypost.providers.vendors import Vendor, serves
from waypost.transport import Deadlines, HttpClient


@dataclass(frozen=True, slots=True)
class HostedOptions:
    """A vendor account. `base_url` and `default_model` None take the vendor's own; paths are appended to base_url."""

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    default_model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    deadlines: Deadlines = field(default_factory=Deadlines)
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None


def build(name: str, vendor: Vendor, codec: Codec, options: HostedOptions) -> HttpProvider:
    """The provider. Raises ConfigurationError if no address is known."""
    base_url = (options.base_url or vendor.base_url).rstrip("/")
    if not base_url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"Provider {name} needs a base_url that begins with http:// or https://.",
            hint=f"Set providers.{name}.base_url.",
        )
    authorization = vendor.authorize(options.api_key) if options.api_key else {}
    endpoint = Endpoint(
        url=base_url + vendor.path,
        headers={**vendor.headers, **authorization, **options.headers},
        stream_url=base_url + vendor.stream_path if vendor.stream_path else None,
    )

    async def known_endpoint() -> Endpoint:
        return endpoint

    return HttpProvider(
        HttpProviderOptions(
            name=name,
            codec=codec,
            endpoint=known_endpoint,
            default_model=options.default_model or vendor.default_model,
            deadlines=options.deadlines,
            serves=partial(serves, vendor.kind),
            state=partial(_state, name, vendor, has_key=bool(options.api_key)),
            secrets=tuple(secret for secret in (options.api_key, *options.headers.values()) if secret),
        ),
        HttpClient(proxy=options.proxy, ca_file=options.ca_file),
    )


def _state(name: str, vendor: Vendor, *, has_key: bool) -> ProviderState:
    if vendor.environment and not has_key:
        detail = f"No key for {name}. Set {vendor.environment}, or providers.{name}.api_key in the settings."
        return ProviderState("unavailable", detail)
    return ProviderState("ready")
