"""What is wrong with the settings: problems with their place, and the error that carries all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from waypost.errors import ConfigurationError

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: names of mappings' keys and numbers of list entries, from the outermost."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written: a file and line, an environment variable, or a command-line option."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        line = f" line {self.line}" if self.line is not None else ""
        column = f" column {self.column}" if self.column is not None else ""
        return f"{self.source}{line}{column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, as a sentence without its full stop. `place` None: nobody wrote the value."""

    text: str
    place: Place | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


class InvalidSettings(ConfigurationError):
    """Settings that cannot be used. `problems` holds every one that was found, in the order of their lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_line))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _line(problem: Problem) -> int:
    return problem.place.line or 0 if problem.place else 0


def key_text(path: KeyPath) -> str:
    """The path as people write it: `routes.default.targets[0]`."""
    names = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return names.removeprefix(".")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, if one is like it at all."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def listed(names: Iterable[str], *, last: str = "or") -> str:
    """`a, b or c`."""
    *first, final = names
    return f"{', '.join(first)} {last} {final}" if first else final
