"""Which addresses may be called: https at a public address, or a configured host.

An address is looked at when it is accepted, by its text alone, and again when it is connected to: the name is looked up
once, every answer is checked, and the connection is made to those very answers, so that a name that leads elsewhere a
moment later changes nothing. The invariant: no packet goes to an address that these rules do not let through.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Final, NoReturn, TypeAlias

from waypost.errors import WebhookRefused, WebhookRule
from waypost.settings.webhooks import host_and_port, is_host
from waypost.transport import Found
from waypost.transport.address import Address, address_of, join_place
from waypost.webhooks.public_addresses import why_not_public

SETTING: Final = "webhooks.allowed_hosts"
LONGEST_URL: Final = 2048
HTTPS_PORT: Final = 443
FIRST_FREE_PORT: Final = 1024
"""From here on ports are nobody's by custom; below are mail, remote shells and the like."""
LOOKUP_THREADS: Final = 8
_PLAIN: Final = re.compile(r"[!-~]+")
_CONFUSING: Final = re.compile(r"[\\#]")
"""A backslash, which some readers take for a slash, and a part that is never sent."""
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "intranet", "home.arpa", "localdomain", "lan")
"""Ends of names that are known on a machine or in a network only."""

Resolve: TypeAlias = Callable[[str, int], Awaitable[Found]]
"""What a host and port lead to, as `getaddrinfo` tells it. Raises OSError."""


class AddressRules:
    """What may be called. `allowed_hosts` are as the setting has them; `why_not` is None for what is public."""

    def __init__(
        self, allowed_hosts: Iterable[str] = (), *, why_not: Callable[[str], str | None] = why_not_public
    ) -> None:
        self._allowed = frozenset(host_and_port(each) for each in allowed_hosts)
        self._why_not = why_not
        self._trusts_all = False

    @classmethod
    def trusting(cls) -> AddressRules:
        """Rules that let everything through: for an address that stands in the settings."""
        rules = cls()
        rules._trusts_all = True
        return rules

    def check(self, url: str) -> Address:
        """Where the URL leads, looked at without any I/O. Raises WebhookRefused, naming the rule and the setting."""
        if self._trusts_all:
            return _address(url)
        address = _parsed(url)
        if address.authorization is not None:
            _refuse("credentials", "it holds a user name or password", "Leave it out: messages are signed.")
        if self._allows(address.host, address.port):
            return address
        if address.scheme != "https":
            _refuse("scheme", "it does not begin with https://", self._hint(address))
        if address.port != HTTPS_PORT and address.port < FIRST_FREE_PORT:
            told = f"port {address.port} is neither {HTTPS_PORT} nor {FIRST_FREE_PORT} or above"
            _refuse("port", told, self._hint(address))
        self._check_host(address)
        return address

    def check_answers(self, host: str, port: int, answers: Found) -> None:
        """Raise WebhookRefused if one of the addresses that the name leads to may not be called.

        Which one, and what it is, is not told: a caller could map a network by that.
        """
        if self._trusts_all or self._allows(host, port):
            return
        if not answers or any(self._is_refused(str(answer[4][0])) for answer in answers):
            hint = f"If that is meant, an operator can allow the host: {SETTING}: [{_quoted(host, port)}]"
            _refuse("address", f"{host} leads to an address that is not public", hint)

    def _is_refused(self, text: str) -> bool:
        try:
            return self._why_not(text) is not None
        except ValueError:
            return True

    def _allows(self, host: str, port: int) -> bool:
        return (host, port) in self._allowed or (host, None) in self._allowed

    def _check_host(self, address: Address) -> None:
        host = address.host
        if not is_host(host):
            _refuse("host", "its host is no name or address", "Write it as https://hooks.example.com/path.")
        try:
            ip_address(host)
        except ValueError:
            self._check_name(address)
            return
        what = self._why_not(host)
        if what is not None:
            _refuse("address", f"{host} is not a public address but {what}", self._hint(address))

    def _check_name(self, address: Address) -> None:
        labels = address.host.split(".")
        if labels[-1].isdigit() or labels[-1].startswith("0x"):
            # Such as 127.1, 2130706433 and 0x7f.1: the system's lookup takes them for addresses.
            _refuse("host", f"{address.host} is neither a name nor an address", "Write an address as 198.51.100.7.")
        if len(labels) == 1 or any(f".{address.host}".endswith(f".{name}") for name in _LOCAL_NAMES):
            _refuse("host", f"{address.host} is no public name", self._hint(address))

    def _hint(self, address: Address) -> str:
        return f"An operator can allow the host: {SETTING}: [{_quoted(address.host, address.port)}]"


@dataclass(frozen=True, slots=True)
class CheckedLookup:
    """Implements the transport's Lookup: looks up once, and gives only what the rules let through.

    The transport connects to what it gives and to nothing else, with the name for TLS and the Host header.
    """

    rules: AddressRules
    resolve: Resolve

    async def addresses(self, host: str, port: int) -> Found:
        """Raises WebhookRefused, OSError."""
        answers = await self.resolve(host, port)
        self.rules.check_answers(host, port, answers)
        return answers


def system_lookup() -> Resolve:
    """The system's name lookup, in threads of its own: names that never answer keep nothing else waiting."""
    threads = ThreadPoolExecutor(LOOKUP_THREADS, "webhook-lookup")

    async def resolve(host: str, port: int) -> Found:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        return [*await asyncio.get_running_loop().run_in_executor(threads, look_up)]

    return resolve


def shown_address(url: str | None) -> str:
    """An address for lists and logs: without what may be secret in it. None: the one in the settings."""
    if url is None:
        return "ledger.warning_webhook"
    try:
        address = address_of(url)
    except ValueError:
        return "no address"
    path = address.target.partition("?")
    return f"{address.origin}{path[0]}{'?…' if path[1] else ''}"


def _parsed(url: str) -> Address:
    if len(url) > LONGEST_URL:
        _refuse("url", f"it is longer than {LONGEST_URL} characters")
    if not _PLAIN.fullmatch(url) or _CONFUSING.search(url):
        _refuse("url", "it holds a character that no address holds", "Percent-encode it, and leave out # parts.")
    return _address(url)


def _address(url: str) -> Address:
    try:
        return address_of(url)
    except ValueError:
        scheme = url.partition("://")[0].lower()
        if "://" in url and scheme not in ("http", "https"):
            _refuse("scheme", "it does not begin with https://")
        _refuse("url", "it is no URL", "Write it as https://hooks.example.com/path.")


def _quoted(host: str, port: int) -> str:
    return f'"{join_place(host, port)}"'


def _refuse(rule: WebhookRule, why: str, hint: str = "") -> NoReturn:
    raise WebhookRefused(f"The webhook's address may not be called: {why}.", rule, hint=hint)
