"""What became of each thing that the file says, where it did not simply become a setting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Outcome: TypeAlias = Literal["changed", "left out"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: where it stands in the file, and a sentence without its full stop."""

    outcome: Outcome
    where: str
    text: str


@dataclass(slots=True)
class Report:
    """Collects findings, each once, in the order in which they are made."""

    findings: dict[Finding, None] = field(default_factory=dict)

    def changed(self, where: str, text: str) -> None:
        """It is taken over, but not as it stands."""
        self.findings[Finding("changed", where, text)] = None

    def left_out(self, where: str, text: str) -> None:
        """It is not taken over."""
        self.findings[Finding("left out", where, text)] = None

    def rest(self, where: str, settings: dict[str, Any], reasons: dict[str, str], otherwise: str) -> None:
        """All that is still in `settings` is left out, for the reason that is known of it."""
        for name, value in settings.items():
            if value not in (None, False, [], {}):
                self.left_out(f"{where}.{name}", reasons.get(name, otherwise))
