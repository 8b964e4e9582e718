"""Laws of the rules for addresses, for whatever somebody may write."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as some

from waypost.errors import WebhookRefused
from waypost.webhooks.address import AddressRules
from waypost.webhooks.public_addresses import why_not_public

IPV4 = some.integers(0, 2**32 - 1).map(IPv4Address)
IPV6 = some.one_of(some.integers(0, 2**128 - 1), some.integers(0x20 << 120, (0x40 << 120) - 1)).map(IPv6Address)
ODD = some.text(some.sampled_from("htps:/@[]%.#?\\ \t\n\x00ä0123456789abcxfelo-_"), max_size=40)
HOSTS = some.one_of(
    IPV4.map(str),
    IPV4.map(lambda address: str(int(address))),
    IPV4.map(lambda address: hex(int(address))),
    IPV6.map(lambda address: f"[{address}]"),
    IPV4.map(lambda address: f"[::ffff:{address}]"),
    some.sampled_from(["localhost", "a.local", "hooks.example.com", "127.1", "0", ""]),
    ODD,
)
URLS = some.builds(
    lambda scheme, user, host, port, rest: f"{scheme}://{user}{host}{port}{rest}",
    some.sampled_from(["https", "http", "HTTPS", "ftp", ""]),
    some.sampled_from(["", "a@", "a:b@", "@"]),
    HOSTS,
    some.one_of(some.just(""), some.integers(-1, 70_000).map(lambda port: f":{port}")),
    some.one_of(some.just("/x"), ODD),
)


@given(IPV4)
def test_an_ipv4_address_is_what_it_is_wherever_it_is_embedded(address: IPv4Address) -> None:
    told = why_not_public(str(address))
    assert why_not_public(f"::ffff:{address}") == told
    assert why_not_public(f"64:ff9b::{address}") == told
    assert why_not_public(str(IPv6Address((0x2002 << 112) | (int(address) << 80)))) == "a tunnel (6to4)"


@given(some.one_of(IPV4, IPV6))
def test_what_is_public_here_is_global_by_the_standard_library_too(address: IPv4Address | IPv6Address) -> None:
    """Not the other way round: more is refused here."""
    if why_not_public(str(address)) is None:
        embedded = getattr(address, "ipv4_mapped", None)
        assert (embedded or address).is_global
        assert not address.is_multicast


@given(some.one_of(URLS, ODD))
def test_any_text_is_accepted_or_refused_with_a_rule(url: str) -> None:
    """What is accepted is https to a name or to an address that is public, on a port that is allowed."""
    try:
        address = AddressRules().check(url)
    except WebhookRefused:
        return
    assert (address.scheme, address.authorization) == ("https", None)
    assert address.port == 443 or address.port >= 1024
    try:
        literal = ip_address(address.host)
    except ValueError:
        assert "." in address.host
        assert not address.host.rpartition(".")[2].isdigit()
    else:
        assert why_not_public(str(literal)) is None
