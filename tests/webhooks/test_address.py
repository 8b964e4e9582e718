"""Which addresses may be called: by their text, and by where their names lead."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from waypost.errors import WebhookRefused
from waypost.webhooks.address import LONGEST_URL, AddressRules, CheckedLookup, shown_address
from waypost.webhooks.public_addresses import why_not_public

GOOD = (
    "https://hooks.example.com/path?token=1",
    "https://HOOKS.example.com",
    "https://hooks.example.com:443/",
    "https://hooks.example.com:8443/",
    "https://1.1.1.1/",
    "https://[2606:4700:4700::1111]/",
    "https://[64:ff9b::101:101]/",
    "https://m%C3%BCller.example.com/".replace("m%C3%BCller", "xn--mller-kva"),
)
REFUSED = (
    # url, the rule
    ("", "url"),
    ("hooks.example.com/path", "url"),
    ("https://", "url"),
    ("https:///path", "url"),
    ("https://hooks.example.com:99999/", "url"),
    ("https://hooks.example.com:port/", "url"),
    ("https://hooks.example.com/a b", "url"),
    ("https://hooks.example.com/a\nhost: evil", "url"),
    ("https://hooks.example.com\\@127.0.0.1/", "url"),
    ("https://hooks.example.com/#part", "url"),
    ("https://hooks.example.com/ä", "url"),
    (f"https://hooks.example.com/{'a' * LONGEST_URL}", "url"),
    ("http://hooks.example.com/", "scheme"),
    ("ftp://hooks.example.com/", "scheme"),
    ("file:///etc/passwd", "scheme"),
    ("gopher://127.0.0.1:6379/_", "scheme"),
    ("https://user@hooks.example.com/", "credentials"),
    ("https://user:password@hooks.example.com/", "credentials"),
    ("https://hooks.example.com@127.0.0.1/", "credentials"),
    ("https://hooks.example.com:22/", "port"),
    ("https://hooks.example.com:25/", "port"),
    ("https://hooks.example.com:80/", "port"),
    ("https://hooks.example.com:0/", "port"),
    ("https://localhost/", "host"),
    ("https://a.localhost:8443/", "host"),
    ("https://printer.local/", "host"),
    ("https://metadata.google.internal/", "host"),
    ("https://intranet/", "host"),
    ("https://hooks.example.com./", "host"),
    ("https://-hooks.example.com/", "host"),
    ("https://%31%32%37.0.0.1/", "host"),
    ("https://127.1/", "host"),
    ("https://2130706433/", "host"),
    ("https://0x7f.1/", "host"),
    ("https://0x7f000001/", "host"),
    ("https://0177.0.0.1/", "host"),
    ("https://127.0.0.1/", "address"),
    ("https://10.0.0.1/", "address"),
    ("https://169.254.169.254/latest/meta-data/", "address"),
    ("https://100.100.100.200/", "address"),
    ("https://[::1]/", "address"),
    ("https://[::ffff:127.0.0.1]/", "address"),
    ("https://[::ffff:a00:1]/", "address"),
    ("https://[64:ff9b::10.0.0.1]/", "address"),
    ("https://[2002:7f00:1::]/", "address"),
    ("https://[fd00:ec2::254]/", "address"),
)
NOT_PUBLIC = (
    "0.0.0.0",  # noqa: S104 - nobody listens
    "0.1.2.3",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:192.168.1.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:10::1",
    "2001:db8::1",
    "2002:0a00:0001::1",
    "2002:808:808::1",
    "2606:4700::5efe:a00:1",
    "2606:4700::200:5efe:7f00:1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "ff02::1",
)
PUBLIC = (
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "3ffe::1",
)


def found(*addresses: str) -> list[tuple[Any, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]


@pytest.mark.parametrize("url", GOOD)
def test_https_to_what_may_be_public_is_accepted(url: str) -> None:
    assert AddressRules().check(url).scheme == "https"


@pytest.mark.parametrize(("url", "rule"), REFUSED, ids=[url[:60] for url, _ in REFUSED])
def test_anything_else_is_refused_by_its_rule_and_without_a_look_up(
    url: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(WebhookRefused) as refused:
        AddressRules().check(url)
    assert (refused.value.rule, refused.value.http_status, refused.value.param) == (rule, 400, "webhook")
    assert "password" not in str(refused.value).replace("user name or password", "")


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_told_from_those_that_are(address: str) -> None:
    assert why_not_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public_up_to_the_edges_of_the_others(address: str) -> None:
    assert why_not_public(address) is None


def test_a_refusal_names_the_setting_and_what_to_write_into_it() -> None:
    with pytest.raises(WebhookRefused) as refused:
        AddressRules().check("http://hooks.intranet.example:8080/x")
    assert str(refused.value).endswith('webhooks.allowed_hosts: ["hooks.intranet.example:8080"]')
    with pytest.raises(WebhookRefused) as refused:
        AddressRules().check("https://[fd00::1]/")
    assert (
        refused.value.message == "The webhook's address may not be called: fd00::1 is not a public address but private."
    )
    assert refused.value.hint.endswith('webhooks.allowed_hosts: ["[fd00::1]:443"]')


@pytest.mark.parametrize(
    ("allowed", "url", "passes"),
    [
        ("hooks.intranet", "http://hooks.intranet/x", True),
        ("hooks.intranet", "https://hooks.intranet:25/x", True),
        ("HOOKS.intranet:8080", "http://hooks.intranet:8080/", True),
        ("hooks.intranet:8080", "http://hooks.intranet:8081/", False),
        ("hooks.intranet", "http://a.hooks.intranet/", False),
        ("hooks.intranet", "http://hooks.intranet.evil.example/", False),
        ("10.0.0.1:80", "http://10.0.0.1/", True),
        ("10.0.0.1", "http://10.0.0.2/", False),
        ("[fd00::1]:8080", "http://[fd00::1]:8080/", True),
        ("localhost", "http://localhost:5000/", True),
        ("hooks.intranet", "http://user@hooks.intranet/x", False),
        ("hooks.intranet", "ftp://hooks.intranet/x", False),
    ],
)
def test_a_configured_host_and_no_other_may_be_plain_and_private(allowed: str, url: str, passes: bool) -> None:
    rules = AddressRules([allowed])
    if passes:
        rules.check(url)
        return
    with pytest.raises(WebhookRefused):
        rules.check(url)


@pytest.mark.parametrize(
    "answers", [("10.0.0.1",), ("1.1.1.1", "10.0.0.1"), ("::ffff:7f00:1", "1.1.1.1"), ("odd",), ()]
)
def test_one_answer_that_is_not_public_is_enough_to_refuse_a_name(answers: tuple[str, ...]) -> None:
    """And the refusal does not say which one it was: that would map a network for whoever asks."""
    with pytest.raises(WebhookRefused) as refused:
        AddressRules().check_answers("hooks.example.com", 443, found(*answers))
    assert refused.value.rule == "address"
    assert not any(answer in str(refused.value) for answer in answers)


async def test_a_look_up_gives_what_was_checked_and_asks_once() -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[tuple[Any, ...]]:
        asked.append(f"{host}:{port}")
        return found("1.1.1.1") if len(asked) == 1 else found("127.0.0.1")

    lookup = CheckedLookup(AddressRules(), resolve)
    assert await lookup.addresses("hooks.example.com", 443) == found("1.1.1.1")
    with pytest.raises(WebhookRefused):
        await lookup.addresses("hooks.example.com", 443)
    assert asked == ["hooks.example.com:443"] * 2


def test_an_allowed_name_may_lead_anywhere() -> None:
    AddressRules(["hooks.intranet:443"]).check_answers("hooks.intranet", 443, found("10.0.0.1"))
    with pytest.raises(WebhookRefused):
        AddressRules(["hooks.intranet:443"]).check_answers("hooks.intranet", 8443, found("10.0.0.1"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/a/b?token=s3cret", "https://hooks.example.com:443/a/b?…"),
        ("https://user:s3cret@hooks.example.com:8443/a", "https://hooks.example.com:8443/a"),
        ("no url s3cret", "no address"),
        (None, "ledger.warning_webhook"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_secret(url: str | None, shown: str) -> None:
    assert shown_address(url) == shown
