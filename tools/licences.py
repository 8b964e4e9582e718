"""Which licences may be shipped with Waypost, and which packages are let through by name."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from tools.shipped import shipped

ALLOWED = frozenset(
    {
        "0bsd",
        "3-clause bsd license",
        "apache software license",
        "apache-2.0",
        "bsd license",
        "bsd-2-clause",
        "bsd-3-clause",
        "isc",
        "isc license (iscl)",
        "mit",
        "mit license",
        "mit-0",
        "psf-2.0",
        "python software foundation license",
        "unlicense",
        "zlib",
    }
)
"""Licences as packages write them, in small letters: all let anybody use, change and pass on the code."""
LET_THROUGH: Mapping[str, tuple[str, str]] = {
    "certifi": ("Mozilla Public License 2.0 (MPL 2.0)", "a list of authorities, used unchanged"),
    "psycopg": ("LGPL-3.0-only", "used unchanged as a library of its own, which anybody may replace"),
    "psycopg-binary": ("LGPL-3.0-only", "as psycopg"),
}
"""Package -> its licence, and why it may be there all the same."""


def is_allowed(name: str, licence: str) -> bool:
    """`A AND B` and `A; B` want both, `A OR B` one of them."""
    if canonicalize_name(name) in LET_THROUGH and LET_THROUGH[canonicalize_name(name)][0] == licence:
        return True
    parts = re.split(r" AND |; ", licence)
    return all(any(choice.strip("() ").casefold() in ALLOWED for choice in part.split(" OR ")) for part in parts)


def refused(licences: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each package whose licence is not allowed."""
    return [f"{name}: {licence}" for name, licence in licences if not is_allowed(name, licence)]


def licences_of_shipped(python: Path) -> list[tuple[str, str]]:
    """(package, licence) of all that a user of Waypost installs, as that Python's packages say."""
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    folder = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    names = shipped([folder])
    command = ["pip-licenses", "--python", str(python), "--from=mixed", "--with-system", "--format=json"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [(row["Name"], row["License"]) for row in rows if canonicalize_name(row["Name"]) in names]
