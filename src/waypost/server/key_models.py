"""Projects, keys and the audit log as administrators get them, as Pydantic models for the OpenAPI document.

What administrators send is in `ledger.definitions`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from waypost.ledger.definitions import Definition
from waypost.server.models import Wire

Time: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
GRACE_S = 86_400
LONGEST_GRACE_S = 90 * 86_400


class LimitsModel(Wire):
    """What a project or a key may use; null is no limit."""

    tags: dict[str, str]
    """Names with values, for the request log."""
    routes: list[str] | None
    """Names of routes, aliases or models that may be asked for, * standing for any text; null is all, of an admin key
    none."""
    requests_per_minute: int | None
    """The most requests in a minute."""
    tokens_per_minute: int | None
    """The most tokens in a minute, of prompts and answers."""
    concurrent_requests: int | None
    """The most requests at once."""
    daily_budget_usd: float | None
    """The most that may be spent in a UTC day, in US dollars."""
    monthly_budget_usd: float | None
    """The most that may be spent in a UTC month."""
    user_daily_budget_usd: float | None
    """The most that may be spent in a UTC day for each end user that requests name."""
    user_monthly_budget_usd: float | None
    """The most that may be spent in a UTC month for each end user."""
    warn_at: list[float]
    """Shares of a budget at which somebody is told."""
    require_pricing: bool
    """Are calls refused whose price is not known?"""


class ProjectModel(LimitsModel):
    """A project: what keys, budgets and the request log belong to."""

    id: str
    """Its id, which never changes."""
    name: str
    """What people call it."""
    store_bodies: bool
    """Are requests and answers kept, redacted?"""
    created_at: Time
    """When it was made."""
    updated_at: Time
    """When it was last changed."""


class SecretModel(Wire):
    """One secret of a key, as far as it is shown."""

    shown: str
    """Its first and last characters."""
    created_at: Time
    """When it was made."""
    valid_until: Time | None
    """When it stops being good; null: with the key."""


class KeyModel(LimitsModel):
    """A key, without the key itself."""

    id: str
    """Its id, which never changes, also if it is rotated."""
    project_id: str | None
    """The project whose key it is; null: an admin key."""
    name: str
    """What people call it."""
    is_admin: bool
    """May it administer?"""
    state: Literal["active", "expired", "revoked"]
    """Is it good?"""
    expires_at: Time | None
    """When it stops being good; null is never."""
    revoked_at: Time | None
    """When it was revoked; null: it is not."""
    created_at: Time
    """When it was made."""
    updated_at: Time
    """When it was last changed."""
    secrets: list[SecretModel]
    """What is good as this key, the newest first: more than one only while it is being rotated."""


class MadeKeyModel(KeyModel):
    """A key that was made or rotated."""

    key: str
    """The key itself. It is shown here and never again."""


class Rotation(Definition):
    """How a key is to be rotated."""

    grace_s: Annotated[float, Field(ge=0, le=LONGEST_GRACE_S, allow_inf_nan=False)] = GRACE_S
    """Seconds that what was good before is still good; 0 ends it at once."""


class AuditModel(Wire):
    """A change that an administrator made."""

    id: str
    """Its id; ids sort by time."""
    at: Time
    """When."""
    actor: str
    """Who: a key's id, `config:` and the name of a key in the settings, `local` on a server without keys, or `cli:` and
    the account that ran a command."""
    action: str
    """What, such as `key.create`, `key.update`, `key.rotate`, `key.revoke`, `project.delete`."""
    object_kind: str
    """Of what: project or key."""
    object_id: str
    """Of which."""
    before: dict[str, Any] | None
    """What was changed, as it was; null: it was not there."""
    after: dict[str, Any] | None
    """What was changed, as it is; null: it is no more."""


class ProjectPage(Wire):
    """Some projects, the newest first."""

    items: list[ProjectModel]
    """The projects."""
    next: str | None
    """What to send as `after` for the next page; null: there is none."""


class KeyPage(Wire):
    """Some keys, the newest first."""

    items: list[KeyModel]
    """The keys."""
    next: str | None
    """What to send as `after` for the next page; null: there is none."""


class AuditPage(Wire):
    """Some changes, the newest first."""

    items: list[AuditModel]
    """The changes."""
    next: str | None
    """What to send as `after` for the next page; null: there is none."""
