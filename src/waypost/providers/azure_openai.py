"""Azure OpenAI: OpenAI's chat format at a resource of one's own. A model is the name of a deployment.

Two interfaces: v1, which has no date and takes the deployment as `model`, and the dated ones, which have it in the
path. Only API keys; Entra ID's tokens are not fetched here. Source: Microsoft's "Azure OpenAI REST API reference".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from waypost.codecs import openai_embeddings
from waypost.codecs.openai_chat import codec
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_inquiry import Place, Places
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import AZURE_OPENAI, Vendor

_PREFIXES: Final = ("/openai/v1", "/openai")


def create(name: str, options: HostedOptions, api_version: str | None = None) -> HttpProvider:
    """The provider named `name`; `api_version` None is the v1 interface. Raises ConfigurationError."""
    placed = replace(options, base_url=_base_url(options, api_version))
    return build(name, vendor_for(api_version), codec, placed, places=places_for(api_version))


def places_for(api_version: str | None) -> Places:
    """Where one interface answers embeddings; none of them counts tokens."""
    dated = f"/deployments/{{model}}/embeddings?api-version={api_version}"
    return Places(embeddings=(Place("/embeddings" if api_version is None else dated, openai_embeddings.codec),))


def vendor_for(api_version: str | None) -> Vendor:
    """The table row of one interface."""
    if api_version is None:
        return AZURE_OPENAI
    path = f"/deployments/{{model}}/chat/completions?api-version={api_version}"
    return replace(AZURE_OPENAI, path=path, raw_query={"api-version": api_version})


def _base_url(options: HostedOptions, api_version: str | None) -> str | None:
    """Below the resource's endpoint; the portal shows it with and without the interface's own part."""
    if not options.base_url:
        return None
    base_url = options.base_url.rstrip("/")
    for prefix in _PREFIXES:
        base_url = base_url.removesuffix(prefix)
    return base_url + ("/openai/v1" if api_version is None else "/openai")
