"""Which version may serve on which database, beside which other one: decided by numbers alone."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from waypost.deploy.compatible import Schemas, objection
from waypost.deploy.wheel import MIGRATIONS, read_wheel
from waypost.errors import ConfigurationError

# Schema, oldest code that may use it; what the database has and wants; what the running version knows; who objects.
ROWS = [
    ({1: 1}, Schemas(), None),
    ({1: 1, 2: 1}, Schemas(1, 1, 1), None),
    ({1: 1, 2: 2}, Schemas(1, 1, 1), "could neither go on"),
    ({1: 1, 2: 2}, Schemas(2, 2, 2), None),
    ({1: 1, 2: 1, 3: 2}, Schemas(2, 1, 2), None),
    ({1: 1, 2: 1, 3: 3}, Schemas(2, 1, 2), "could neither go on"),
    ({1: 1, 2: 1, 3: 3, 4: 1}, Schemas(2, 1, 2), "could neither go on"),
    ({1: 1}, Schemas(2, 1, 2), None),
    ({1: 1}, Schemas(2, 2, 2), "wants code of schema 2 or later"),
    ({1: 1, 2: 2}, Schemas(None, 0, None), None),
]


@pytest.mark.parametrize(("steps", "now", "words"), ROWS)
def test_a_version_that_cannot_live_there_is_objected_to(
    steps: dict[int, int], now: Schemas, words: str | None
) -> None:
    reason = objection("2.0.0", steps, now)
    assert (reason is None) == (words is None)
    assert words is None or words in str(reason)


def wheel(folder: Path, version: str, steps: dict[int, int]) -> Path:
    file = folder / f"waypost-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            f"waypost-{version}.dist-info/METADATA", f"Metadata-Version: 2.4\nName: waypost\nVersion: {version}\n"
        )
        for number, oldest in steps.items():
            archive.writestr(f"{MIGRATIONS}schema_{number:04}.py", f'revision = "x"\noldest_code = {oldest}\n')
    return file


def test_a_wheel_says_its_version_and_what_its_migrations_want(tmp_path: Path) -> None:
    read = read_wheel(wheel(tmp_path, "1.2.3", {1: 1, 2: 1, 3: 2}))
    assert (read.version, read.steps) == ("1.2.3", {1: 1, 2: 1, 3: 2})


def test_what_is_no_wheel_of_waypost_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other-1.0.dist-info/METADATA", "Version: 1.0\n")
    text = tmp_path / "text.whl"
    text.write_text("no archive")
    for file in (other, text, tmp_path / "missing.whl", wheel(tmp_path, "1.0", {})):
        with pytest.raises(ConfigurationError):
            read_wheel(file)


def test_a_version_that_would_be_another_path_is_refused(tmp_path: Path) -> None:
    file = wheel(tmp_path, "1.0", {1: 1})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("waypost-1.0.dist-info/METADATA", "Version: ../../etc\n")
        archive.writestr(f"{MIGRATIONS}schema_0001.py", "oldest_code = 1\n")
    with pytest.raises(ConfigurationError):
        read_wheel(file)
