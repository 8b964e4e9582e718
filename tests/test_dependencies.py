"""Every direct dependency has its reason written down, and nothing is written down that is no dependency."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "adr" / "0020-dependencies.md").read_text(encoding="utf-8")


def names(requirements: list[object]) -> set[str]:
    """The names of requirements; groups that are included are not requirements."""
    return {re.split(r"[^A-Za-z0-9._-]", each)[0] for each in requirements if isinstance(each, str)}


def section(title: str) -> set[str]:
    """The names in the first column of a section's table, each with a reason beside it."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (`.+?`) \| (\S.{10,}) \|$", text, re.MULTILINE)
    return {name for first, _ in rows for name in re.findall(r"`(.+?)`", first)}


GROUPS = PROJECT["dependency-groups"]
EXTRAS = names([each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra])


@pytest.mark.parametrize(
    ("title", "wanted"),
    [
        ("The package", names(PROJECT["project"]["dependencies"])),
        ("Extras", EXTRAS),
        (
            "Building and development",
            names(GROUPS["build"] + GROUPS["dev"]) - EXTRAS,
        ),
        ("Operations", names(GROUPS["ops"])),
    ],
)
def test_every_direct_dependency_has_its_reason(title: str, wanted: set[str]) -> None:
    assert section(title) == wanted
