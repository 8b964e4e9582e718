"""Where the server may listen, and what it says when it cannot."""

from __future__ import annotations

import socket

import pytest

from waypost.errors import ConfigurationError
from waypost.server.listen import listen, url_of


def test_port_0_takes_a_free_one() -> None:
    (opened,) = listen("127.0.0.1", 0)
    with opened:
        port = opened.getsockname()[1]
        assert port > 0
        assert url_of([opened]) == f"http://127.0.0.1:{port}"


def test_localhost_is_every_loopback_address_with_one_port() -> None:
    opened = listen("localhost", 0)
    ports = {each.getsockname()[1] for each in opened}
    for each in opened:
        each.close()
    assert len(ports) == 1


def test_a_busy_port_is_named_with_what_to_do() -> None:
    (opened,) = listen("127.0.0.1", 0)
    port = opened.getsockname()[1]
    with opened, pytest.raises(ConfigurationError) as caught:
        listen("127.0.0.1", port)
    assert f"Port {port} on 127.0.0.1 is already in use" in caught.value.message
    assert "--port" in caught.value.hint


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])  # noqa: S104 - refused, that is the point
def test_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(ConfigurationError, match="only listens on loopback"):
        listen(host, 0)


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r'"no\.such\.invalid" is not known'):
        listen("no.such.invalid", 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_ipv6_url_has_brackets() -> None:
    try:
        (opened,) = listen("::1", 0)
    except ConfigurationError:
        pytest.skip("this machine has no address ::1")
    with opened:
        assert url_of([opened]).startswith("http://[::1]:")
