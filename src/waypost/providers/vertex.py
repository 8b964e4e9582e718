"""Gemini models of Google Cloud's Vertex AI: the Gemini format, at an address with project and region.

Not here: the models that other publishers offer there.
Source: Google's "Vertex AI API, Method: models.generateContent".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from waypost.codecs.gemini import codec
from waypost.providers.google_token import GoogleToken, google_credentials
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import VERTEX


@dataclass(frozen=True, slots=True)
class VertexAccount:
    """Whose models, and where. `credentials_file` None: the machine's own (Application Default Credentials)."""

    project: str
    region: str = "global"
    credentials_file: Path | None = None

    def base_url(self, host_url: str | None) -> str:
        """The address up to the publisher; `host_url` takes the place of Google's host."""
        host = "aiplatform" if self.region == "global" else f"{self.region}-aiplatform"
        origin = host_url.rstrip("/") if host_url else f"https://{host}.googleapis.com"
        return f"{origin}/v1/projects/{self.project}/locations/{self.region}"


def create(name: str, options: HostedOptions, account: VertexAccount) -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError, also if the extra is not installed."""
    credentials = google_credentials(account.credentials_file, proxy=options.proxy, ca_file=options.ca_file)
    options = replace(options, base_url=account.base_url(options.base_url))
    return build(name, VERTEX, codec, options, GoogleToken(credentials))
