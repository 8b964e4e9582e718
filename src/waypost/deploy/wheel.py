"""What a wheel says of itself, read without installing it: its version, and what its migrations want."""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from waypost.errors import ConfigurationError
from waypost.store.steps import Steps, steps_in

MIGRATIONS: Final = "waypost/store/migrations/versions/"
VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]{0,99}")
"""What may be a folder's name, and nothing else."""
_METADATA: Final = re.compile(r"waypost-[^/]+\.dist-info/METADATA")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A built version of Waypost."""

    file: Path
    version: str
    sha256: str
    steps: Steps


def read_wheel(file: Path) -> Wheel:
    """Raises ConfigurationError if it is no wheel of Waypost's."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            metadata = next(name for name in names if _METADATA.fullmatch(name))
            version = _version(archive.read(metadata).decode())
            files = [name for name in names if name.startswith(MIGRATIONS)]
            steps = steps_in((PurePosixPath(name).name, archive.read(name).decode()) for name in files)
    except (OSError, zipfile.BadZipFile, StopIteration, ValueError) as error:
        raise ConfigurationError(f"{file} is no wheel of Waypost's.", hint="Build one with: make build") from error
    if not steps:
        raise ConfigurationError(f"{file} has no schema of the database in it.", hint="Build it with: make build")
    return Wheel(file, version, hashlib.sha256(file.read_bytes()).hexdigest(), steps)


def _version(metadata: str) -> str:
    """Raises StopIteration, ValueError."""
    line = next(line for line in metadata.splitlines() if line.startswith("Version: "))
    return checked_version(line.removeprefix("Version: ").strip())


def checked_version(text: str) -> str:
    """The text, if it may be a version. Raises ValueError."""
    if not VERSION.fullmatch(text):
        raise ValueError(f'"{text}" is no version')
    return text
