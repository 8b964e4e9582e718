"""What a URL becomes on the wire and in messages."""

from __future__ import annotations

import pytest

from waypost.transport.address import address_of, join_place, place_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://api.example.com/v1?key=SECRET", "api.example.com:443"),
        ("http://user:SECRET@127.0.0.1:8080/v1", "127.0.0.1:8080"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("http://SECRET@[::1", "the provider's address"),
        ("http://SECRET:port@", "the provider's address"),
        ("http://host:99999/", "the provider's address"),
        ("host", "the provider's address"),
    ],
)
def test_a_place_is_host_and_port_only(url: str, place: str) -> None:
    assert place_of(url) == place


def test_a_place_without_port_is_the_host() -> None:
    assert join_place("host", None) == "host"


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://host", "host", "/"),
        ("http://host?x=1", "host", "/?x=1"),
        ("http://host:80/v1", "host", "/v1"),
        ("https://host:80/v1", "host:80", "/v1"),
        ("HTTP://Host/v1#fragment", "host", "/v1"),
        ("http://[::1]:8080/v1", "[::1]:8080", "/v1"),
        ("http://user:word@host/v1", "host", "/v1"),
        ("http://bücher.example/v1", "xn--bcher-kva.example", "/v1"),
        ("http://host/a%20b/ü c?q=%2F&r=é", "host", "/a%20b/%C3%BC%20c?q=%2F&r=%C3%A9"),
        ("http://host/v1beta/models/gemini:generateContent", "host", "/v1beta/models/gemini:generateContent"),
    ],
)
def test_host_header_and_request_target(url: str, authority: str, target: str) -> None:
    """A default port is left out, what is encoded stays so, the rest is encoded, and no credentials are in either."""
    address = address_of(url)
    assert (address.authority, address.target) == (authority, target)


def test_the_credentials_of_a_url_are_decoded() -> None:
    assert address_of("http://us%40er:w%3Ard@host").authorization == "Basic dXNAZXI6dzpyZA=="


@pytest.mark.parametrize("url", ["http://host/a\r\nX: y", "http://ho\nst/", "http://host/\x00"])
def test_a_url_with_control_characters_is_none(url: str) -> None:
    """`urlsplit` would drop them in silence."""
    with pytest.raises(ValueError):  # noqa: PT011 - it has no text, so that it shows no URL
        address_of(url)


def test_no_secret_is_in_the_text_of_an_address() -> None:
    """Tracebacks with local variables show the text of values."""
    assert "SECRET" not in repr(address_of("http://user:SECRET@host/v1?key=SECRET"))
