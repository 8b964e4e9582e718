"""What all formats' replies share: the wait asked for and quoted text. (Any header: see the fuzz tests.)"""

from __future__ import annotations

import pytest

from waypost.codecs.replies import LONGEST_WAIT_S, excerpt, retry_after_s


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e300"}, LONGEST_WAIT_S),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "Thu, 99 Jan 1970 00:00:01 GMT"}, None),
    ],
)
def test_the_wait_is_read_from_seconds_milliseconds_or_a_date(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(headers, clock=lambda: 10.0) == wait_s


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("  a\r\n\tb  ", "a b"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        ("a\x1b[31mb\ud800", "a\ufffd[31mb\ufffd"),
        ("x" * 11, "xxxxxxxxx…"),
        ("x" * 10, "x" * 10),
        ("é" * 10_000, "é" * 9 + "…"),
        (" " * 1000, "…"),
    ],
)
def test_an_excerpt_is_one_bounded_line(text: str | bytes, shown: str) -> None:
    assert excerpt(text, 10) == shown


@pytest.mark.parametrize(
    "secret", ["sk-proj-abcdef123456", "gsk_abcdef123456", "Bearer abcdef.123456", "sk-abc***xyz9"]
)
def test_what_looks_like_a_key_is_masked(secret: str) -> None:
    shown = excerpt(f"Incorrect API key provided: {secret}.")
    assert secret[-6:] not in shown
    assert shown.startswith("Incorrect API key provided: ")
