"""Which requests: the options that `waypost requests` and `waypost usage` share, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.ledger.log_filters import Filters

Function = TypeVar("Function", bound=Callable[..., Any])
END_STATES = ("answered", "failed", "caller_left", "unknown")
WHEN = "a day (2026-11-26), a time (2026-11-26T09:30Z) or how long ago (90m, 24h, 7d)"


class When(click.ParamType[int]):
    """A time, or how long ago, as Unix milliseconds."""

    name = "when"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As click wants it."""
        from waypost.errors import InvalidRequest
        from waypost.ledger.books import now_ms
        from waypost.ledger.moments import moment_ms

        if isinstance(value, int):
            return value
        try:
            return moment_ms(str(value), now_ms())
        except InvalidRequest as error:
            self.fail(str(error), param, ctx)


class Dollars(click.ParamType[int]):
    """An amount of US dollars, as micro-dollars."""

    name = "usd"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As click wants it; rounded up."""
        import math
        from decimal import Decimal

        if isinstance(value, int):
            return value
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,12})?", str(value), re.ASCII):
            self.fail(f'"{value}" is no amount of US dollars such as 0.05.', param, ctx)
        return math.ceil(Decimal(str(value)) * 1_000_000)


class Tag(click.ParamType[tuple[str, str]]):
    """`name=value`."""

    name = "tag"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """As click wants it."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            self.fail(f'"{value}" is no tag such as team=search.', param, ctx)
        return name, text


def _together(options: list[Callable[[Function], Function]]) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


_OWNERS: list[Callable[[Any], Any]] = [
    click.option("--project", metavar="PROJECT", help="Only this project's, by its name or id."),
    click.option("--key", metavar="KEY", help="Only those with this key, by its name or id."),
    click.option("--route", help="Only those that took this route."),
    click.option("--provider", help="Only this provider's, by its name in the settings."),
]
owner_options = _together([*_OWNERS, click.option("--model", help="Only this model's.")])
filter_options = _together(
    [
        click.option("--since", "since_ms", type=When(), metavar="WHEN", help=f"Only from then on: {WHEN}."),
        click.option("--until", "until_ms", type=When(), metavar="WHEN", help="Only before then."),
        *_OWNERS,
        click.option("--model", help="Only this model's; gpt-* stands for all that begin so."),
        click.option("--user", "end_user", help="Only those for this end user."),
        click.option("--end", "end_state", type=click.Choice(END_STATES), help="Only those that ended so."),
        click.option("--status", type=click.IntRange(100, 599), help="Only those with this HTTP status."),
        click.option("--error", "error_code", metavar="CODE", help="Only those that ended with this error."),
        click.option(
            "--tag", "tags", type=Tag(), metavar="NAME=VALUE", multiple=True, help="Only those with this tag."
        ),
        click.option("--min-cost", "min_cost_micro_usd", type=Dollars(), help="Only those that cost at least so much."),
        click.option(
            "--min-ms",
            "min_total_ms",
            type=click.IntRange(0),
            help="Only those that took at least so many milliseconds.",
        ),
        click.option("--request-id", metavar="ID", help="Only those whose caller was told this id."),
    ]
)


def filters_of(connection: Connection, options: Mapping[str, Any]) -> Filters:
    """The filters that the options of `filter_options` say. Raises RequestError, UnusableField."""
    from waypost.ledger.log_filters import Filters

    told = dict(options)
    model: str | None = told.pop("model")
    begins = model is not None and model.endswith("*")
    return Filters(
        model=None if begins else model,
        model_prefix=(model or "").removesuffix("*") or None if begins else None,
        tags=dict(told.pop("tags")),
        **owners(connection, told),
        **told,
    )


def owners(connection: Connection, told: dict[str, Any]) -> dict[str, Any]:
    """Takes `project` and `key` out of the options, and gives their ids. Raises RequestError."""
    project, key = told.pop("project"), told.pop("key")
    return {
        "project_id": None if project is None else _project_id(connection, project),
        "key_id": None if key is None else _key_id(connection, key, project),
    }


def _is_known_id(reference: str) -> bool:
    """An id of ours, also of what is deleted; and what has no row, because the settings made it."""
    from waypost.ledger.named_rows import is_id

    return is_id(reference) or reference == "local" or reference.startswith("config:")


def _project_id(connection: Connection, reference: str) -> str:
    from waypost.cli.administering import project_of

    return reference if _is_known_id(reference) else project_of(connection, reference).id


def _key_id(connection: Connection, reference: str, project: str | None) -> str:
    from waypost.cli.administering import key_of

    if _is_known_id(reference):
        return reference
    return key_of(connection, reference, None if project is None or _is_known_id(project) else project).id
