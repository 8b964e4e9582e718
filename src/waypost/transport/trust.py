"""Whom TLS trusts: the system's authorities, and those of a PEM file."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

from waypost.errors import ConfigurationError


@cache
def system_trust() -> ssl.SSLContext:
    """The system's authorities. Made once, when the first connection wants them, because it reads files."""
    return _context()


def trust_with(ca_file: Path) -> ssl.SSLContext:
    """The system's authorities and those of a PEM file. Raises ConfigurationError, naming the file."""
    context = _context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError as error:
        reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(
            f"The file of trusted authorities {ca_file} cannot be used: {reason}.",
            hint="ca_file must name a readable file of PEM certificates.",
        ) from error
    return context


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
