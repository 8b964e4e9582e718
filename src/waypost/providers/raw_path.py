"""The address of a provider's path that a caller names: below the provider's own base, whatever the caller writes.

Only the characters that RFC 3986 allows in a path pass, and no segment that any decoding turns into "." or "..", an
empty one, or one with a slash in it. Source: RFC 3986, 3.3 (Path) and 3.4 (Query).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlencode

from waypost.errors import InvalidRequest

_PATH: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]|]|%[0-9A-Fa-f]{2})*")
_MAX_CHARACTERS: Final = 4096
_MAX_DECODINGS: Final = 4
_CREDENTIALS: Final = frozenset({"key", "api_key", "api-key", "access_token"})
"""Parameters by which callers show us their own key: it is nothing to the provider."""


def raw_url(base_url: str, path: str, query: str = "", added: Mapping[str, str] | None = None) -> str:
    """`base_url`, the path and the query, without the caller's own credentials; `added` where the caller has none.

    `path` and `query` as they were sent, still encoded. Raises InvalidRequest.
    """
    relative = path.removeprefix("/")
    if len(path) + len(query) > _MAX_CHARACTERS:
        raise _refused(f"is over the limit of {_MAX_CHARACTERS} characters")
    if not relative or not _PATH.fullmatch(relative):
        raise _refused("is empty or holds a character that no path has")
    for segment in relative.removesuffix("/").split("/"):
        _check(segment)
    if not _QUERY.fullmatch(query):
        raise _refused("has a query that holds a character that no query has")
    parameters = [part for part in query.split("&") if part and _name(part) not in _CREDENTIALS]
    given = {_name(part) for part in parameters}
    parameters += [urlencode({name: value}) for name, value in (added or {}).items() if name.lower() not in given]
    return f"{base_url}/{relative}" + (f"?{'&'.join(parameters)}" if parameters else "")


def _check(segment: str) -> None:
    decoded = segment
    for _ in range(_MAX_DECODINGS):
        if _leads_away(decoded):
            raise _refused("may hold no empty segment, no . or .. and no address of its own")
        following = unquote(decoded)
        if following == decoded:
            return
        decoded = following
    raise _refused("is encoded too many times over")


def _leads_away(segment: str) -> bool:
    # A server may take "..;x=1" for ".." with a parameter.
    plain = segment.partition(";")[0]
    return plain in ("", ".", "..") or not segment.isprintable() or any(sign in segment for sign in "/\\")


def _name(parameter: str) -> str:
    return unquote(parameter.partition("=")[0].replace("+", " ")).strip().lower()


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"The path {why}.", hint="Name a path of the provider's own interface, as its documentation does.", param="path"
    )
