"""Whose a request is: a key, its project, and what either may use. Values only, held in memory by every server.

None is "no limit". Both a key's limits and its project's hold, each by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Limits:
    """What a project or a key may use. `routes` are names or patterns of routes, aliases or models."""

    routes: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    daily_budget_micro_usd: int | None = None
    monthly_budget_micro_usd: int | None = None
    user_daily_budget_micro_usd: int | None = None
    """For each end user that requests name."""
    user_monthly_budget_micro_usd: int | None = None
    warn_at: tuple[float, ...] = (0.8, 1.0)
    """Shares of a budget at which somebody is told."""
    require_pricing: bool = False
    """Is a call refused whose price is not known?"""

    def allows(self, name: str) -> bool:
        """May it ask for the model, route or alias called `name`?"""
        return self.routes is None or any(fnmatchcase(name, pattern) for pattern in self.routes)


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Account:
    """The key that a request showed. Its ids are the tenant of all that is kept; names are for people."""

    key_id: str
    project_id: str
    key_name: str
    project_name: str
    is_admin: bool = False
    key: Limits = NO_LIMITS
    project: Limits = NO_LIMITS
    tags: Mapping[str, str] = field(default_factory=dict)
    store_bodies: bool = False

    def allows(self, name: str) -> bool:
        """May it ask for the model, route or alias called `name`?"""
        return self.key.allows(name) and self.project.allows(name)


LOCAL = Account("local", "local", "local", "local", is_admin=True)
"""Everybody, on a server without keys."""


def configured_account(name: str, *, is_admin: bool, routes: tuple[str, ...] | None) -> Account:
    """That of a key in the settings file: a project of its own."""
    own_id = f"config:{name}"
    return Account(own_id, own_id, name, name, is_admin, Limits(routes=routes))
