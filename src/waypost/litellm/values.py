"""Values of the file as values of ours: `os.environ/NAME` is `${NAME}`, and a secret in clear becomes a variable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from waypost.litellm.report import Report

ENVIRONMENT: Final = "os.environ/"
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True)
class Variables:
    """The variables that the settings name: what each is for, and a value that would be accepted in its place.

    `named` are those that the file itself names, and those in which LiteLLM looks by itself.
    """

    uses: dict[str, str] = field(default_factory=dict)
    placeholders: dict[str, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    _given: set[str] = field(default_factory=set)

    def use(self, name: str, purpose: str, placeholder: str = "a-placeholder-of-a-key") -> str:
        """The reference to it."""
        self.uses.setdefault(name, purpose)
        self.placeholders.setdefault(name, placeholder)
        return f"${{{name}}}"

    def fresh(self, suggested: str) -> str:
        """A name for a secret that stands in clear: one that means nothing else."""
        name, number = suggested, 1
        while name in self.named or name in self._given:
            number += 1
            name = f"{suggested}_{number}"
        self._given.add(name)
        return name


def variables_in(value: Any) -> Iterator[str]:
    """All that a part of the file names."""
    if isinstance(value, dict):
        for item in value.values():
            yield from variables_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from variables_in(item)
    elif (name := variable_of(value)) is not None:
        yield name


def variable_of(value: Any) -> str | None:
    """The name in `os.environ/NAME`; None if the value is something else."""
    if not isinstance(value, str) or not value.startswith(ENVIRONMENT):
        return None
    name = value.removeprefix(ENVIRONMENT).strip()
    return name if NAME.fullmatch(name) else None


def plain(value: Any, variables: Variables, purpose: str, placeholder: str) -> str:
    """A value that is no secret, as text of ours."""
    name = variable_of(value)
    return variables.use(name, purpose, placeholder) if name is not None else str(value).replace("${", "$${")


def secret(
    value: Any,
    variables: Variables,
    report: Report,
    where: str,
    suggested: str,
    placeholder: str = "a-placeholder-of-a-key",
) -> str:
    """A reference to a variable: the one that the file names, else `suggested`, which must be set to what is there."""
    name = variable_of(value)
    if name is None:
        name = variables.fresh(suggested)
        report.changed(where, f"the file holds the secret itself; it is not copied: set {name} to it")
    return variables.use(name, where, placeholder)


def variable_name(text: str) -> str:
    """A name for a variable: OUR_PROVIDER."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").upper()
    return name if NAME.fullmatch(name) else f"WAYPOST_{name}"
