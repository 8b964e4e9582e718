"""The options that say what a project or a key may use, for making and for changing one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
NONE: Final = "none"
SECONDS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw]?)")
_NUMBERS: Final[Mapping[str, str]] = {
    "requests_per_minute": "The most requests in a minute.",
    "tokens_per_minute": "The most tokens in a minute.",
    "concurrent_requests": "The most requests at once.",
}
_BUDGETS: Final[Mapping[str, str]] = {
    "daily_budget_usd": "The most US dollars in a UTC day.",
    "monthly_budget_usd": "The most US dollars in a UTC month.",
    "user_daily_budget_usd": "The most US dollars in a UTC day for each end user.",
    "user_monthly_budget_usd": "The most US dollars in a UTC month for each end user.",
}


_FLAGS: Final[Mapping[str, tuple[str, Any]]] = {
    "no_tags": ("tags", None),
    "all_routes": ("routes", None),
    "no_warnings": ("warn_at", []),
}
_SEVERAL: Final[Mapping[str, Callable[[Any], Any]]] = {"tags": dict, "routes": list, "warn_at": list}


class Given(click.ParamType[Any]):
    """What `kind` reads, or the word none, which takes a limit away. Passed on as a list of one, to tell None apart."""

    def __init__(self, kind: Callable[[str], Any], name: str, wanted: str) -> None:
        self.kind = kind
        self.name = name
        self.wanted = wanted

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click wants it."""
        if isinstance(value, list):
            return value
        if value == NONE:
            return [None]
        try:
            return [self.kind(value)]
        except ValueError:
            self.fail(f'"{value}" is neither {self.wanted} nor {NONE}.', param, ctx)


def seconds_in(text: str) -> int:
    """`90d`, `24h`, `30m`, `45s` or a plain number of seconds. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("no duration")
    return int(found[1]) * SECONDS[found[2] or "s"]


def moment_in(text: str) -> str:
    """When it is in that time from now, or on that day or time of the calendar, as ISO 8601. Raises ValueError."""
    if _DURATION.fullmatch(text) and not text.isdecimal():
        try:
            return (datetime.now(UTC) + timedelta(seconds=seconds_in(text))).isoformat()
        except OverflowError:
            raise ValueError("too far") from None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


class Duration(click.ParamType[int]):
    """Seconds, written as 24h, 30m or 7d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As click wants it."""
        try:
            return value if isinstance(value, int) else seconds_in(value)
        except ValueError:
            self.fail(f'"{value}" is no time such as 24h, 30m, 7d or 0.', param, ctx)


class Tag(click.ParamType[tuple[str, str]]):
    """NAME=VALUE."""

    name = "tag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """As click wants it."""
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not equals:
            self.fail(f'"{value}" is not NAME=VALUE.', param, ctx)
        return name, text


MOMENT: Final = Given(moment_in, "when", "a time such as 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z")
TAG: Final = Tag()


def limit_options(function: Function) -> Function:
    """The options for making something, passed on under the fields' names; `given` makes fields of them."""
    return _with(_limits(), function)


def change_options(function: Function) -> Function:
    """Those, and the ones that take away what only a change can."""
    return _with([*_limits(), *_removals()], function)


def _with(options: Sequence[Callable[[Function], Function]], function: Function) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were named, of what `limit_options` passed on."""
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if name in _FLAGS:
            fields.update([_FLAGS[name]] if value else ())
        elif name in _SEVERAL:
            fields.update({name: _SEVERAL[name](value)} if value else {})
        elif value is not None:
            fields[name] = value[0] if isinstance(value, list) else value
    return fields


def _limits() -> list[Callable[[Function], Function]]:
    number = Given(int, "number", "a whole number")
    dollars = Given(float, "usd", "a number")
    return [
        click.option("--tag", "tags", type=TAG, multiple=True, metavar="NAME=VALUE", help="A tag for the request log."),
        click.option(
            "--route", "routes", multiple=True, metavar="NAME", help="A route, alias or model; * is any text."
        ),
        *(click.option(_flag(name), name, type=number, metavar="N|none", help=text) for name, text in _NUMBERS.items()),
        *(
            click.option(_flag(name), name, type=dollars, metavar="USD|none", help=text)
            for name, text in _BUDGETS.items()
        ),
        click.option(
            "--warn-at",
            type=float,
            multiple=True,
            metavar="SHARE",
            help="A share of a budget at which somebody is told. [default: 0.8 and 1]",
        ),
        click.option(
            "--require-pricing/--no-require-pricing", default=None, help="Refuse calls whose price is not known?"
        ),
    ]


def _removals() -> list[Callable[[Function], Function]]:
    return [
        click.option("--no-tags", is_flag=True, help="Take all tags away."),
        click.option("--all-routes", is_flag=True, help="Take the limit to some routes away."),
        click.option("--no-warnings", is_flag=True, help="Tell nobody about budgets."),
    ]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
