"""Pages of a list by cursor: what stands after an item, or before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from waypost.simulator.dialect import Refused, error_for
from waypost.simulator.exchange import Exchange

DEFAULT_LIMIT: Final = 20


class Page(NamedTuple):
    """The ids on it, and whether there are more in the direction asked for."""

    ids: Sequence[str]
    has_more: bool


def page_after(ids: Sequence[str], after: str | None, limit: int) -> Page:
    """Those that follow; the first ones if `after` is None. An id that is not there is followed by nothing."""
    rest = ids if after is None else ids[ids.index(after) + 1 :] if after in ids else []
    return Page(rest[:limit], len(rest) > limit)


def page_before(ids: Sequence[str], before: str, limit: int) -> Page:
    """Those that stand right before it."""
    rest = ids[: ids.index(before)] if before in ids else []
    return Page(rest[-limit:], len(rest) > limit)


def limit_of(exchange: Exchange, most: int, default: int = DEFAULT_LIMIT) -> int:
    """The `limit` in the query. Raises Refused."""
    given = exchange.request.query.get("limit")
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= most):
        message = f"limit: Input should be a whole number between 1 and {most}"
        raise Refused(error_for(exchange.dialect, name="bad_request", message=message).at("limit"))
    return int(given)
