"""What the schema's steps say of themselves, read from their text and not run: this version's, or those of a wheel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

FILE_NAME: Final = re.compile(r"schema_(\d{4})\.py")
_OLDEST_CODE: Final = re.compile(r"^oldest_code = (\d+)$", re.MULTILINE)
Steps: TypeAlias = Mapping[int, int]
"""For each schema the oldest schema whose code may go on with it."""


def steps_in(files: Iterable[tuple[str, str]]) -> Steps:
    """The steps among these files, each a name without folders and a text. Raises ValueError if one does not say."""
    steps: dict[int, int] = {}
    for name, text in files:
        number = FILE_NAME.fullmatch(name)
        if number is None:
            continue
        found = _OLDEST_CODE.search(text)
        if found is None:
            raise ValueError(f"{name} does not say how old the code may be that goes on with its schema")
        steps[int(number[1])] = int(found[1])
    return steps


def oldest_code_after(steps: Steps, version: int | None, oldest_code: int) -> int:
    """The oldest code that may use a database of schema `version` once every step has been taken."""
    return max((oldest_code, *(oldest for number, oldest in steps.items() if number > (version or 0))))
