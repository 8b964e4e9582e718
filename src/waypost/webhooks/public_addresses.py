"""Which IP addresses are public: everybody can reach them, so that calling one for somebody gives him nothing new.

A table of our own rather than `ipaddress.is_global`, which means other things in other versions of Python. Sources: the
IANA registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380
(Teredo), RFC 5214 (ISATAP).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

_IPV4: Final[Mapping[str, str]] = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier (CGNAT)",
    "127.0.0.0/8": "loopback",
    # A virtual machine's own platform at Azure: not special by any registry, and not public either.
    "168.63.129.16/32": "a cloud platform's own",
    "169.254.0.0/16": "link-local, where clouds keep their metadata",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved for protocols",
    "192.0.2.0/24": "reserved for documentation",
    "192.88.99.0/24": "an obsolete relay (6to4)",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "reserved for benchmarks",
    "198.51.100.0/24": "reserved for documentation",
    "203.0.113.0/24": "reserved for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_IPV6: Final[Mapping[str, str]] = {
    "::/128": "this host",
    "::1/128": "loopback",
    "64:ff9b:1::/48": "a private translator (NAT64)",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "private",
    "ff00::/8": "multicast",
    "2001::/32": "a tunnel (Teredo)",
    "2001::/23": "reserved for protocols",
    "2001:db8::/32": "reserved for documentation",
    "2002::/16": "a tunnel (6to4)",
    "3fff::/20": "reserved for documentation",
}
_NETWORKS4: Final = tuple((IPv4Network(network), what) for network, what in _IPV4.items())
_NETWORKS6: Final = tuple((IPv6Network(network), what) for network, what in _IPV6.items())
_GLOBAL: Final = IPv6Network("2000::/3")
_EMBEDDING: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""An IPv4 address is in the last 32 bits, and is where a connection goes."""
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
"""Third quarter of an IPv6 address that tunnels to the IPv4 address in the last one."""


def why_not_public(text: str) -> str | None:
    """What the address is, if it is not public, such as "private" or "loopback". Raises ValueError if it is none."""
    address = ip_address(text.partition("%")[0])
    return _of_ipv4(address) if isinstance(address, IPv4Address) else _of_ipv6(address)


def _of_ipv4(address: IPv4Address) -> str | None:
    return next((what for network, what in _NETWORKS4 if address in network), None)


def _of_ipv6(address: IPv6Address) -> str | None:
    if any(address in network for network in _EMBEDDING):
        return _of_ipv4(IPv4Address(address.packed[-4:]))
    for network, what in _NETWORKS6:
        if address in network:
            return what
    if address not in _GLOBAL:
        return "reserved"
    return "a tunnel (ISATAP)" if int.from_bytes(address.packed[8:12], "big") in _ISATAP else None
