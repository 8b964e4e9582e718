"""Which budgets and limits hold for an account: values made once for each, since every request asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from waypost.errors import Limited, Whose
from waypost.ledger.account import Account, Limits
from waypost.ledger.allowances.pool import MONEY, Unit
from waypost.ledger.allowances.windows import Span
from waypost.ledger.subjects import key_subject, project_subject, user_subject

MOST_PLANS: Final = 10_000
LONGEST_NAME: Final = 100
"""Of an end user, in a sentence."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """So much of a unit in a window, for one subject. `name` and `what` are for people; money is in micro-dollars.

    `project_id` is the project's that the subject belongs to, of budgets.
    """

    whose: Whose
    name: str
    subject: str
    what: Limited
    unit: Unit
    span: Span
    limit: int
    warn_at: tuple[float, ...] = ()
    project_id: str | None = None

    @property
    def title(self) -> str:
        """As a sentence names it."""
        what = _TITLES[self.what]
        return f'{what.format(limit=self.limit)} of {_WHOSE[self.whose]} "{self.name}"'


_WHOSE: Final[Mapping[Whose, str]] = {"key": "the key", "project": "the project", "end_user": "the end user"}
_TITLES: Final[Mapping[Limited, str]] = {
    "requests_per_minute": "limit of {limit} requests per minute",
    "tokens_per_minute": "limit of {limit} tokens per minute",
    "concurrent_requests": "limit of {limit} requests at once",
    "daily_budget": "daily budget",
    "monthly_budget": "monthly budget",
}


class Plan:
    """All that holds for one account. `rates` are admitted to, `budgets` are reserved of."""

    __slots__ = ("_project_id", "_users", "account", "budgets", "limits_money", "rates")

    def __init__(self, account: Account) -> None:
        self.account = account
        key, project = key_subject(account.key_id), project_subject(account.project_id)
        self.rates = (
            *_rates("key", account.key_name, key, account.key),
            *_rates("project", account.project_name, project, account.project),
        )
        budgets = (
            *_budgets("key", account.key_name, key, account.key),
            *_budgets("project", account.project_name, project, account.project),
        )
        self.budgets = tuple(replace(each, project_id=account.project_id) for each in budgets)
        self._project_id = account.project_id
        self._users = _tighter(account.key, account.project)
        demands = account.key.require_pricing or account.project.require_pricing
        self.limits_money = demands or bool(self.budgets or self._users)

    def budgets_of(self, end_user: str | None) -> Sequence[Allowance]:
        """Those of the key and the project, and of the end user if one is named."""
        if not end_user or not self._users:
            return self.budgets
        subject = user_subject(self._project_id, end_user)
        name = end_user[:LONGEST_NAME]
        return (
            *self.budgets,
            *(replace(each, name=name, subject=subject, project_id=self._project_id) for each in self._users),
        )


class Plans:
    """Plans by account. An account is a value that its key's next change replaces, and its plan with it."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}

    def of(self, account: Account) -> Plan:
        """The plan of this account."""
        plan = self._plans.get(account.key_id)
        if plan is None or plan.account is not account:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[account.key_id] = Plan(account)
        return plan

    def all(self) -> Sequence[Plan]:
        """Those that were asked for."""
        return tuple(self._plans.values())


def _rates(whose: Whose, name: str, subject: str, limits: Limits) -> Iterator[Allowance]:
    if (limit := limits.requests_per_minute) is not None:
        yield Allowance(whose, name, subject, "requests_per_minute", "requests", "minute", limit)
    if (limit := limits.tokens_per_minute) is not None:
        yield Allowance(whose, name, subject, "tokens_per_minute", "tokens", "minute", limit)
    if (limit := limits.concurrent_requests) is not None:
        yield Allowance(whose, name, subject, "concurrent_requests", "slots", "always", limit)


def _budgets(whose: Whose, name: str, subject: str, limits: Limits) -> Iterator[Allowance]:
    warn_at = tuple(sorted(set(limits.warn_at)))
    if (limit := limits.daily_budget_micro_usd) is not None:
        yield Allowance(whose, name, subject, "daily_budget", MONEY, "day", limit, warn_at)
    if (limit := limits.monthly_budget_micro_usd) is not None:
        yield Allowance(whose, name, subject, "monthly_budget", MONEY, "month", limit, warn_at)


def _tighter(key: Limits, project: Limits) -> tuple[Allowance, ...]:
    """Of each end user; both limits count the same money, so that the smaller one is all there is to heed."""
    smallest: dict[Span, Allowance] = {}
    for limits in (key, project):
        each_user = replace(
            limits,
            daily_budget_micro_usd=limits.user_daily_budget_micro_usd,
            monthly_budget_micro_usd=limits.user_monthly_budget_micro_usd,
        )
        for each in _budgets("end_user", "", "", each_user):
            known = smallest.setdefault(each.span, each)
            if each.limit < known.limit:
                smallest[each.span] = each
    return tuple(smallest.values())
