"""The settings of webhooks: which hosts may be called besides public ones, and what messages are signed with."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from waypost.settings.fields import AnchoredPath, Part, Secret

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how secrets begin
SHORTEST_KEY_BYTES: Final = 24
LONGEST_KEY_BYTES: Final = 64
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_SECRET_FORM: Final = f"must be {SECRET_PREFIX} and {SHORTEST_KEY_BYTES} to {LONGEST_KEY_BYTES} bytes in Base64"


def webhook_key(secret: str) -> bytes:
    """The bytes that a secret stands for. Raises ValueError. Source: Standard Webhooks, symmetric signatures."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not SHORTEST_KEY_BYTES <= len(key) <= LONGEST_KEY_BYTES:
        # Without a cause, which would repeat the secret.
        raise ValueError(f"{_SECRET_FORM}; make one with: waypost webhooks secret --new") from None
    return key


def host_and_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[address]` or `[address]:port`, small letters; None: any port. Raises ValueError."""
    wrong = f'"{text[:100]}" must be a host, or host:port, such as hooks.example.com:8443'
    try:
        parts = urlsplit(f"//{text}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.netloc != text or "@" in text or not is_host(host) or port == 0:
        raise ValueError(wrong)
    return host, port


def is_host(host: str) -> bool:
    """Is it a name, in the form that DNS has it, or the text of an IP address without a zone?"""
    if _NAME.fullmatch(host):
        return len(host) <= 253
    try:
        return bool(ipaddress.ip_address(host)) and "%" not in host
    except ValueError:
        return False


def _secret(secret: SecretStr) -> SecretStr:
    webhook_key(secret.get_secret_value())
    return secret


def _allowed(text: str) -> str:
    host_and_port(text)
    return text.lower()


WebhookSecret = Annotated[Secret, AfterValidator(_secret)]


class WebhookSettings(Part):
    """Messages to other servers about jobs and budgets."""

    secret: WebhookSecret | None = None
    """What messages are signed with, whsec_ and Base64; null: one that is made once, in data_dir/webhook-secret."""
    previous_secret: WebhookSecret | None = None
    """The secret before it: messages are signed with both while it stands here."""
    secret_file: AnchoredPath | None = None
    """File with the secret in its first line, and in further ones those before it, instead of secret."""
    allowed_hosts: Annotated[tuple[Annotated[str, AfterValidator(_allowed)], ...], Field(max_length=1000)] = ()
    """Hosts, as name or name:port, that may be called over http too, and at addresses that are not public."""
    ca_file: AnchoredPath | None = None
    """File with certificate authorities to trust besides the system's, in PEM."""

    @model_validator(mode="after")
    def _one_form(self) -> WebhookSettings:
        if self.secret_file is not None and (self.secret or self.previous_secret):
            raise ValueError("takes either secret or secret_file, not both")
        if self.previous_secret is not None and self.secret is None:
            raise ValueError("has a previous_secret without a secret")
        return self
