"""Builds the provider of a hosted vendor from its table row and its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from waypost.codecs.codec import Codec
from waypost.errors import ConfigurationError
from waypost.providers.access import Addresses, KeyedAccess, ProviderAccess, SignedAccess
from waypost.providers.authorization import Authorization, FixedHeaders
from waypost.providers.batch_api import BatchApi, Sender
from waypost.providers.http_inquiry import NO_PLACES, Places
from waypost.providers.http_provider import HttpProvider, HttpProviderOptions
from waypost.providers.key_ring import KeyRing
from waypost.providers.provider import ProviderState
from waypost.providers.vendors import Vendor, serves
from waypost.transport import Deadlines, HttpClient


@dataclass(frozen=True, slots=True)
class HostedOptions:
    """A vendor account. `base_url` and `default_model` None take the vendor's own; paths are appended to base_url.

    `api_keys` are used in turn, after `api_key` if both are given.
    """

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    default_model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    deadlines: Deadlines = field(default_factory=Deadlines)
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    key_cool_down_s: float = 60.0

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key there is."""
        return (self.api_key, *self.api_keys) if self.api_key else self.api_keys


def build(
    name: str,
    vendor: Vendor,
    codec: Codec,
    options: HostedOptions,
    authorization: Authorization | None = None,
    *,
    places: Places = NO_PLACES,
    batches: Callable[[Sender], BatchApi] | None = None,
) -> HttpProvider:
    """The provider.

    `authorization` takes the place of API keys; `places` are for embeddings and counts, and `batches` makes the client
    of its batch API. Raises ConfigurationError if no address is known.
    """
    access = access_for(name, vendor, options, authorization)
    return HttpProvider(
        HttpProviderOptions(
            name=name,
            codec=codec,
            access=partial(_known, access),
            default_model=options.default_model or vendor.default_model,
            deadlines=options.deadlines,
            serves=partial(serves, vendor.kind),
            state=partial(_state, name, vendor, has_key=bool(options.keys)),
            secrets=tuple(secret for secret in (*options.keys, *options.headers.values()) if secret),
            places=places,
            batches=batches,
        ),
        HttpClient(proxy=options.proxy, ca_file=options.ca_file),
    )


def access_for(
    name: str, vendor: Vendor, options: HostedOptions, authorization: Authorization | None = None
) -> ProviderAccess:
    """The way into the account. Raises ConfigurationError if no address is known."""
    base_url = (options.base_url or vendor.base_url).rstrip("/")
    if not base_url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"Provider {name} needs a base_url that begins with http:// or https://.",
            hint=f"Set providers.{name}.base_url.",
        )
    addresses = Addresses(base_url, vendor.path, vendor.stream_path, vendor.raw_query)
    if authorization is None and options.keys:
        ring = KeyRing(options.keys, options.key_cool_down_s)
        return KeyedAccess(
            name, addresses, ring, lambda key: {**vendor.headers, **vendor.authorize(key), **options.headers}
        )
    fixed = {**vendor.headers, **options.headers}
    return SignedAccess(name, addresses, authorization or FixedHeaders({}), fixed)


async def _known(access: ProviderAccess) -> ProviderAccess:
    return access


def _state(name: str, vendor: Vendor, *, has_key: bool) -> ProviderState:
    if vendor.environment and not has_key:
        detail = f"No key for {name}. Set {vendor.environment}, or providers.{name}.api_key in the settings."
        return ProviderState("unavailable", detail)
    return ProviderState("ready")
