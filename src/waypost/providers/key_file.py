"""API keys from a file: one a line; empty lines and lines that begin with # are left out.

An error names the file and the line, never what stands there.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Final

from waypost.errors import ConfigurationError

_MAX_SIZE_BYTES: Final = 64 * 1024
_LOG = logging.getLogger("waypost.providers")


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys, each once, in the file's order; at least one. Raises ConfigurationError.

    Warns in the log if every user of the machine may read the file.
    """
    keys: dict[str, None] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigurationError(
                f"The key file {path} holds a character in line {number} that no key has.",
                hint="Write one key a line, and nothing else in its line.",
            )
        keys[key] = None
    if not keys:
        raise ConfigurationError(f"The key file {path} holds no key.", hint="Write one key a line.")
    return tuple(keys)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            _warn_if_public(path, os.fstat(file.fileno()).st_mode)
            data = file.read(_MAX_SIZE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"The key file {path} cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_SIZE_BYTES:
        raise ConfigurationError(f"The key file {path} is over the limit of {_MAX_SIZE_BYTES} bytes.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Without a cause: it would carry the bytes, which are secret.
        raise ConfigurationError(f"The key file {path} is not text (byte {error.start}).") from None


def _warn_if_public(path: Path, mode: int) -> None:
    if os.name == "posix" and mode & stat.S_IROTH:
        _LOG.warning("The key file %s can be read by every user of this machine; run: chmod 600 %s", path, path)
