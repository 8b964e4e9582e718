"""What a check comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["passed", "failed", "skipped"]


class CheckFailed(Exception):
    """The server does not do what it should; the message is a sentence for people."""


class CheckSkipped(Exception):
    """It cannot be tried here; the message says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check: what came of it, in a sentence, and how long it took."""

    name: str
    status: Status
    detail: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one server. `version` None: the server did not say."""

    url: str
    version: str | None
    verdicts: Sequence[Verdict]

    @property
    def ok(self) -> bool:
        """Has none failed?"""
        return self.count("failed") == 0

    @property
    def duration_s(self) -> float:
        """All checks together."""
        return sum(verdict.duration_s for verdict in self.verdicts)

    def count(self, status: Status) -> int:
        """How many came out so."""
        return sum(verdict.status == status for verdict in self.verdicts)
