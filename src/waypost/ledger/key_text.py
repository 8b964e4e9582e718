"""Keys as their holders see them: how one is made, what of it may be shown, and the hash that is kept. No I/O."""

from __future__ import annotations

import secrets
import string
from hashlib import sha256
from typing import Final

PREFIX: Final = "wp_"
ADMIN_PREFIX: Final = "wpa_"
RANDOM_BYTES: Final = 32
DIGITS: Final = string.digits + string.ascii_letters
LENGTH: Final = 43
"""62 to the power of 43 is more than 256 to the power of 32."""


def new_key_text(*, is_admin: bool) -> str:
    """A key that nobody has seen: its kind, and 32 random bytes in letters and digits."""
    number = int.from_bytes(secrets.token_bytes(RANDOM_BYTES), "big")
    digits = []
    for _ in range(LENGTH):
        number, digit = divmod(number, len(DIGITS))
        digits.append(DIGITS[digit])
    return (ADMIN_PREFIX if is_admin else PREFIX) + "".join(digits)


def shown_of(key: str) -> str:
    """Enough of a key to know it again, and far too little to use it: `wp_4fKx…Zt9q`."""
    head = key.index("_") + 5
    return f"{key[:head]}…{key[-4:]}"


def digest_of(key: bytes) -> bytes:
    """Its SHA-256, 32 bytes: what is kept of a key, and what it is looked up by."""
    return sha256(key).digest()


def is_ours(key: bytes) -> bool:
    """Does it look like a key that was made here?"""
    return key.startswith((PREFIX.encode(), ADMIN_PREFIX.encode()))
