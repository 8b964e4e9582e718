"""What secrets look like, and what their members are called. Tables and one search over them.

Each expression begins with fixed letters and then takes all that it can, demanding nothing after it: so none looks at
a character again and again. Each is only tried where its letters are in the text at all, which is found much sooner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_START: Final = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
"""No letter or digit stands before it, but perhaps the last one of an escaped character."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Letters that begin it, some of which must be in the text, and the expression. `group` is what is secret."""

    letters: tuple[str, ...]
    expression: re.Pattern[str]
    group: int = 0
    any_case: bool = False


def _token(letters: str, rest: str, start: str = "") -> Shape:
    return Shape((letters,), re.compile(f"{start}{re.escape(letters)}{rest}"))


_WORD: Final = "[A-Za-z0-9_-]"
_NAMES: Final = (
    "authorization",
    "api[-_ ]?key",
    "access[-_ ]?key",
    "secret[-_ ]?key",
    "private[-_ ]?key",
    "access[-_ ]?token",
    "refresh[-_ ]?token",
    "auth[-_ ]?token",
    "session[-_ ]?token",
    "client[-_ ]?secret",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "cookie",
)
_VALUE: Final = (
    r"""(?:\\?"(?:[^"\\\n]|\\.)+|\\?'(?:[^'\\\n]|\\.)+|(?:(?:bearer|basic|token)[ \t]{1,8})?[^\s"'\\,;&<>{}\[\]()]+)"""
)
_NAMED: Final = Shape(
    ("authorization", "key", "token", "secret", "passw", "passp", "cookie"),
    re.compile(rf"""(?i)(?:{"|".join(_NAMES)})s?\\?["']?[ \t]{{0,8}}[:=][ \t]{{0,8}}\[?({_VALUE})"""),
    group=1,
    any_case=True,
)
SHAPES: Final = (
    _token("wp_", "[A-Za-z0-9]{20,}", _START),
    _token("wpa_", "[A-Za-z0-9]{20,}", _START),
    _token("sk-ant-", f"{_WORD}{{8,}}"),
    _token("sk-proj-", f"{_WORD}{{8,}}"),
    _token("sk-", f"{_WORD}{{16,}}", _START),
    _token("sk_live_", f"{_WORD}{{8,}}"),
    _token("rk_live_", f"{_WORD}{{8,}}"),
    _token("gsk_", f"{_WORD}{{16,}}", _START),
    _token("xai-", f"{_WORD}{{16,}}", _START),
    _token("hf_", "[A-Za-z0-9]{20,}", _START),
    _token("pplx-", f"{_WORD}{{16,}}", _START),
    _token("AIza", f"{_WORD}{{20,}}"),
    _token("ya29.", f"{_WORD}{{16,}}"),
    _token("AKIA", "[A-Z0-9]{12,}"),
    _token("ASIA", "[A-Z0-9]{12,}", _START),
    _token("ghp_", "[A-Za-z0-9]{16,}"),
    _token("gho_", "[A-Za-z0-9]{16,}"),
    _token("ghs_", "[A-Za-z0-9]{16,}"),
    _token("github_pat_", f"{_WORD}{{16,}}"),
    _token("glpat-", f"{_WORD}{{16,}}"),
    _token("xoxb-", f"{_WORD}{{10,}}"),
    _token("xoxp-", f"{_WORD}{{10,}}"),
    _token("npm_", "[A-Za-z0-9]{20,}", _START),
    _token("pypi-", f"{_WORD}{{40,}}", _START),
    # A JSON Web Token, or a part of one: {" in base64 begins so.
    _token("eyJ", rf"{_WORD}{{10,}}(?:\.{_WORD}+){{0,4}}", _START),
    Shape(("bearer",), re.compile(r"(?i)bearer[ \t]{1,8}([A-Za-z0-9._~+/=-]{12,})"), group=1, any_case=True),
    _NAMED,
)
_KEY_BLOCK: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_BLOCK_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----")

_SHORTEST: Final = 8
_SHORT: Final = 100
_ANY_LETTERS: Final = re.compile(
    "|".join(re.escape(letters) for letters in ("private key", *(each for shape in SHAPES for each in shape.letters))),
    re.IGNORECASE,
)
"""Quicker than to look for each, in a text that is short."""
_SEPARATORS: Final = str.maketrans("", "", "-_. ")
_NAME_ENDS: Final = (
    "authorization",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "accesstoken",
    "refreshtoken",
    "authtoken",
    "idtoken",
    "sessiontoken",
    "bearertoken",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "cookie",
    "credential",
    "credentials",
)


def is_secret_name(name: str) -> bool:
    """Is what a member of this name holds a secret? Also `openai_api_key` and `X-Api-Key`, and never `max_tokens`."""
    return name.lower().translate(_SEPARATORS).endswith(_NAME_ENDS)


def find_secrets(text: str) -> list[tuple[int, int]]:
    """Where secrets are in the text, in order and apart."""
    if len(text) < _SHORTEST or (len(text) < _SHORT and not _ANY_LETTERS.search(text)):
        return []
    lowered = text.lower()
    spans = list(_key_blocks(text)) if "PRIVATE KEY" in text else []
    for shape in SHAPES:
        searched = lowered if shape.any_case else text
        if any(letters in searched for letters in shape.letters):
            spans += (found.span(shape.group) for found in shape.expression.finditer(text))
    return _joined(sorted(spans))


def _key_blocks(text: str) -> Iterator[tuple[int, int]]:
    """A block without an end goes on to the text's."""
    at = 0
    while begin := _KEY_BLOCK.search(text, at):
        end = _KEY_BLOCK_END.search(text, begin.end())
        at = end.end() if end else len(text)
        yield begin.start(), at


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in spans:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined
