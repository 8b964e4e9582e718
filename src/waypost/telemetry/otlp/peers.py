"""Where providers are reached, by their names in the settings, and which of them are one's own.

It changes with a reload.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from waypost.telemetry.otlp.names import Peer

_OWN_ENDINGS: Final = (".local", ".internal", ".lan", ".home.arpa", ".svc", ".localhost")
"""Of names that lead nowhere in the public internet. Source: RFC 6762, RFC 8375, ICANN's .internal; Kubernetes."""


@dataclass(slots=True)
class Peers:
    """What is known now; read by the thread that sends."""

    known: Mapping[str, Peer] = field(default_factory=dict)


def is_own(address: str) -> bool:
    """Is a host, by its name or address, one of one's own network? A name is not looked up."""
    host = address.lower().rstrip(".")
    try:
        known = ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_OWN_ENDINGS))
    return known.is_loopback or known.is_private or known.is_link_local
