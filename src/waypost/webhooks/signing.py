"""Signatures of messages, made and checked. No I/O. Source: Standard Webhooks 1.0 (standardwebhooks.com).

What is signed is `id.timestamp.body`, by HMAC-SHA256 with the bytes of a secret. A message may bear several signatures,
one for each secret that is good at the time; whoever checks it needs to know one of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Mapping, Sequence
from typing import Final

from waypost.errors import WaypostError
from waypost.settings.webhooks import SECRET_PREFIX, webhook_key

ID_HEADER: Final = "webhook-id"
TIME_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE_S: Final = 300
KEY_BYTES: Final = 32
_VERSION: Final = "v1,"
_PURPOSE: Final = b"waypost webhook secret 1"
MOST_SIGNATURES: Final = 16
"""That are looked at: a header of very many would be work for nothing."""


class SignatureRefused(WaypostError):
    """A message is not from who it should be from, is too old, or was changed on its way."""

    code = "signature_refused"


def new_secret() -> str:
    """A secret that nobody has seen."""
    return _written(os.urandom(KEY_BYTES))


def derived_secret(secret: str, project_id: str | None) -> str:
    """A project's own secret, of the installation's; None: the one for what is no project's. Raises ValueError.

    Knowing it, nobody can tell another project's. One block of HKDF-Expand. Source: RFC 5869, 2.3.
    """
    whose = b"installation" if project_id is None else b"project\0" + project_id.encode()
    return _written(hmac.digest(webhook_key(secret), _PURPOSE + b"\0" + whose + b"\x01", hashlib.sha256))


def signed_headers(message_id: str, body: bytes, secrets: Sequence[str], *, at_s: int) -> dict[str, str]:
    """The headers of a message that is sent at `at_s` (Unix seconds): one signature for each secret."""
    signatures = [_signature(secret, message_id, str(at_s), body) for secret in secrets]
    return {ID_HEADER: message_id, TIME_HEADER: str(at_s), SIGNATURE_HEADER: " ".join(signatures)}


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secrets: str | Sequence[str],
    *,
    now_s: float | None = None,
    tolerance_s: float = TOLERANCE_S,
) -> str:
    """The message's id, if it is signed with one of these secrets and not too old. For receivers, and for tests.

    `headers` may have their names in any case. `now_s` None is the present. A message may come again: whoever acts on
    one keeps its id, and takes each id once. Raises SignatureRefused, and ValueError if a secret is none.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at = given.get(ID_HEADER, ""), given.get(TIME_HEADER, "")
    if not message_id or not sent_at.isascii() or not sent_at.isdigit() or len(sent_at) > 15:
        raise SignatureRefused(f"The message lacks {ID_HEADER}, or a {TIME_HEADER} in Unix seconds.")
    if abs((time.time() if now_s is None else now_s) - int(sent_at)) > tolerance_s:
        raise SignatureRefused(f"The message was sent over {tolerance_s:g} s ago, or a clock is wrong.")
    shown = given.get(SIGNATURE_HEADER, "").split()[:MOST_SIGNATURES]
    known = [secrets] if isinstance(secrets, str) else secrets
    wanted = [_signature(secret, message_id, sent_at, body) for secret in known]
    # All of them are compared, whichever fits, and each in constant time.
    fits = [hmac.compare_digest(each.encode(errors="replace"), one.encode()) for each in shown for one in wanted]
    if not any(fits):
        raise SignatureRefused("No signature of the message fits.", hint="Check which project's secret it is.")
    return message_id


def _signature(secret: str, message_id: str, sent_at: str, body: bytes) -> str:
    signed = b".".join((message_id.encode(errors="replace"), sent_at.encode(), body))
    return _VERSION + base64.b64encode(hmac.digest(webhook_key(secret), signed, hashlib.sha256)).decode("ascii")


def _written(key: bytes) -> str:
    return SECRET_PREFIX + base64.b64encode(key).decode("ascii")
