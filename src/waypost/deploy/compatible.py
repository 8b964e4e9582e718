"""May a version serve on this database, beside the one that serves now? Decided before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from waypost.store.steps import Steps, oldest_code_after


@dataclass(frozen=True, slots=True)
class Schemas:
    """The database, and the code that uses it now. `schema` None: the database is empty, or nobody uses it yet."""

    schema: int | None = None
    oldest_code: int = 0
    running_code: int | None = None

    @classmethod
    def told(cls, state: Mapping[str, Any]) -> Schemas:
        """From what the running version's `waypost db check --json` says."""
        return cls(state["schema"], state["oldest_code"] or 0, state["this_version"])


def objection(version: str, steps: Steps, now: Schemas) -> str | None:
    """Why a version with these migrations may not be put there; None: it may."""
    newest = max(steps)
    if newest < now.oldest_code:
        return (
            f"Version {version} knows schema {newest} of the database, which has schema {now.schema} and wants code of "
            f"schema {now.oldest_code} or later."
        )
    oldest = oldest_code_after(steps, now.schema, now.oldest_code)
    if now.running_code is not None and now.running_code < oldest:
        return (
            f"Version {version} takes the database to schema {newest}, which wants code of schema {oldest} or later; "
            f"the running version is of schema {now.running_code} and could neither go on nor be gone back to."
        )
    return None
