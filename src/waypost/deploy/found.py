"""What a look at a host finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from waypost.deploy.scripts import COLOURS, OTHER, Colour


@dataclass(frozen=True, slots=True)
class Found:
    """`served`: which version each colour serves, or served last. `releases`: installed versions with their SHA-256."""

    current: Colour | None = None
    served: Mapping[Colour, str] = field(default_factory=dict)
    alive: frozenset[Colour] = frozenset()
    releases: Mapping[str, str] = field(default_factory=dict)

    @property
    def live(self) -> Colour | None:
        """The colour that callers are given, if it runs."""
        return self.current if self.current in self.alive else None

    @property
    def idle(self) -> Colour:
        """The colour that can be made anew."""
        return "blue" if self.current is None else OTHER[self.current]

    @property
    def version(self) -> str | None:
        """The version that callers are given."""
        return self.served.get(self.current) if self.current else None

    @property
    def previous(self) -> str | None:
        """The version that the other colour served last, if it is still there."""
        version = self.served.get(self.idle)
        return version if version in self.releases else None


def found_in(text: str) -> Found:
    """From what the script `look` prints."""
    served: dict[Colour, str] = {}
    alive: set[Colour] = set()
    releases: dict[str, str] = {}
    current: Colour | None = None
    for line in text.splitlines():
        word, *rest = line.split()
        if word == "release":
            releases[rest[0]] = rest[1]
        for colour in COLOURS:
            if word == colour:
                served[colour] = rest[0]
            elif rest == [colour]:
                alive |= {colour} if word == "alive" else set()
                current = colour if word == "current" else current
    return Found(current, served, frozenset(alive), releases)
