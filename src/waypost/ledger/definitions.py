"""Projects and keys as an administrator defines them: the fields, what each may hold, and how they are told again.

One definition for the API and the command line. The invariant: no text gets in that cannot be shown on one line, so
that none of it can pass for another line of a log, another header or a terminal's command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from waypost.errors import InvalidRequest
from waypost.ledger.account import NO_LIMITS, Limits

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

LONGEST_NAME: Final = 100
MOST_TAGS: Final = 50
LONGEST_TAG: Final = 128
MOST_ROUTES: Final = 100
MOST_SHARES: Final = 10
MOST_PER_MINUTE: Final = 1_000_000_000_000
MOST_AT_ONCE: Final = 1_000_000
MOST_USD: Final = 1_000_000_000
"""In micro-dollars still a number that JSON carries exactly."""
MICRO: Final = 1_000_000
BUDGETS: Final = ("daily_budget", "monthly_budget", "user_daily_budget", "user_monthly_budget")
"""Fields that are dollars for people (`…_usd`) and whole micro-dollars in the database (`…_micro_usd`)."""
TAG_NAME: Final = re.compile(r"[A-Za-z0-9._:/-]{1,64}")


class UnusableField(InvalidRequest):
    """A field holds what it may not; `param` names it."""

    http_status = 422


def one_line(text: str) -> str:
    """The text, if all of it can be shown on a line. Raises ValueError."""
    if not text.isprintable():
        raise ValueError("holds a character that cannot be shown, such as a line break")
    if text != text.strip():
        raise ValueError("begins or ends with a space")
    return text


def _tag_name(text: str) -> str:
    if not TAG_NAME.fullmatch(text):
        raise ValueError("has a name that is not 1 to 64 letters, digits, or . _ : / -")
    return text


def _micro(usd: float) -> float:
    if Decimal(repr(usd)) * MICRO % 1:
        raise ValueError("may have six decimals at most: the smallest amount is a micro-dollar")
    return usd


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time such as 2027-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("must say its time zone, as in 2027-01-31T12:00:00Z")
    return text


def _ascending(shares: list[float]) -> list[float]:
    return sorted(set(shares))


Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(one_line)]
_Pattern: TypeAlias = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(one_line)]
_TagName: TypeAlias = Annotated[str, AfterValidator(_tag_name)]
_TagText: TypeAlias = Annotated[str, Field(max_length=LONGEST_TAG), AfterValidator(one_line)]
_Many: TypeAlias = Annotated[int, Field(ge=1, le=MOST_PER_MINUTE)]
_Usd: TypeAlias = Annotated[float, Field(gt=0, le=MOST_USD, allow_inf_nan=False), AfterValidator(_micro)]
_Share: TypeAlias = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
_Shares: TypeAlias = Annotated[list[_Share], Field(max_length=MOST_SHARES), AfterValidator(_ascending)]
Moment: TypeAlias = Annotated[
    str, Field(max_length=40, json_schema_extra={"format": "date-time"}), AfterValidator(_moment)
]


class Definition(BaseModel):
    """What every definition is: strict, and without fields that nobody knows."""

    model_config = ConfigDict(
        extra="forbid", strict=True, use_attribute_docstrings=True, hide_input_in_errors=True, defer_build=True
    )

    def columns(self) -> dict[str, Any]:
        """The fields that were written, as columns of the database."""
        return {column: value for field in self.model_fields_set for column, value in _column(field, self)}


class LimitFields(Definition):
    """What a project and a key may use; null is no limit. Both hold, each by itself."""

    tags: Annotated[dict[_TagName, _TagText], Field(max_length=MOST_TAGS)] | None = None
    """Names with values, for the request log: those of the project and of the key go with every request."""
    routes: Annotated[list[_Pattern], Field(min_length=1, max_length=MOST_ROUTES)] | None = None
    """Names of routes, aliases or models that may be asked for, * standing for any text; null is all."""
    requests_per_minute: _Many | None = None
    """The most requests in a minute."""
    tokens_per_minute: _Many | None = None
    """The most tokens in a minute, of prompts and answers."""
    concurrent_requests: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] | None = None
    """The most requests at once."""
    daily_budget_usd: _Usd | None = None
    """The most that may be spent in a UTC day, in US dollars."""
    monthly_budget_usd: _Usd | None = None
    """The most that may be spent in a UTC month."""
    user_daily_budget_usd: _Usd | None = None
    """The most that may be spent in a UTC day for each end user that requests name."""
    user_monthly_budget_usd: _Usd | None = None
    """The most that may be spent in a UTC month for each end user."""
    warn_at: _Shares | None = None
    """Shares of a budget, such as 0.8, at which somebody is told; null is 0.8 and 1, an empty list never."""
    require_pricing: bool = False
    """Are calls refused whose price is not known?"""


class NewProject(LimitFields):
    """A project to be made. Only its name is needed."""

    name: Name
    """What people call it; no other project has this name."""
    store_bodies: bool = False
    """Are requests and answers kept, redacted, for the time that the settings say?"""


class NewKey(LimitFields):
    """A key to be made. An inference key needs a project; an admin key has none."""

    name: Name
    """What people call it; no other key of the project has this name."""
    project_id: Annotated[str, Field(max_length=64)] | None = None
    """The project whose key it is."""
    is_admin: bool = False
    """May it administer? Then it asks no model, unless it is given `routes`."""
    expires_at: Moment | None = None
    """When it stops being good; null is never."""


def _without_defaults(schema: dict[str, Any]) -> None:
    """What is left out of a change stays as it is, whatever a new project or key would have."""
    for field in schema["properties"].values():
        field.pop("default", None)


_CHANGE: Final = ConfigDict(json_schema_extra=_without_defaults)


class ProjectChange(LimitFields):
    """What is to change of a project: fields that are left out stay as they are, null takes a limit away."""

    model_config = _CHANGE

    name: Name = ""
    """Another name."""
    store_bodies: bool = False
    """Are requests and answers kept?"""


class KeyChange(LimitFields):
    """What is to change of a key: fields that are left out stay as they are, null takes a limit away."""

    model_config = _CHANGE

    name: Name = ""
    """Another name."""
    expires_at: Moment | None = None
    """When it stops being good; null is never."""


def _column(field: str, definition: Definition) -> list[tuple[str, Any]]:
    value = getattr(definition, field)
    if field.endswith("_usd"):
        micro_usd = None if value is None else int(Decimal(repr(value)) * MICRO)
        return [(f"{field.removesuffix('_usd')}_micro_usd", micro_usd)]
    if field == "expires_at":
        return [("expires_at_ms", None if value is None else unix_ms(value))]
    return [(field, value)]


def limits_in(row: RowMapping) -> Limits:
    """The limits of a row of projects or keys."""
    routes, warn_at = row["routes"], row["warn_at"]
    return Limits(
        routes=None if routes is None else tuple(routes),
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
        concurrent_requests=row["concurrent_requests"],
        **{f"{budget}_micro_usd": row[f"{budget}_micro_usd"] for budget in BUDGETS},
        warn_at=NO_LIMITS.warn_at if warn_at is None else tuple(warn_at),
        require_pricing=row["require_pricing"],
    )


def told_limits(limits: Limits, tags: Mapping[str, str]) -> dict[str, Any]:
    """The fields of LimitFields, as JSON data."""
    return {
        "tags": dict(tags),
        "routes": None if limits.routes is None else list(limits.routes),
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "concurrent_requests": limits.concurrent_requests,
        **{f"{budget}_usd": usd(getattr(limits, f"{budget}_micro_usd")) for budget in BUDGETS},
        "warn_at": list(limits.warn_at),
        "require_pricing": limits.require_pricing,
    }


def usd(micro_usd: int | None) -> float | None:
    """Micro-dollars as dollars; None stays None."""
    return None if micro_usd is None else micro_usd / MICRO


def unix_ms(moment: str) -> int:
    """A time that `Moment` took, as Unix milliseconds."""
    since = datetime.fromisoformat(moment) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def told_time(unix_ms: int | None) -> str | None:
    """Unix milliseconds as ISO 8601 in UTC; None stays None."""
    if unix_ms is None:
        return None
    seconds, thousandths = divmod(unix_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{thousandths:03d}Z"
