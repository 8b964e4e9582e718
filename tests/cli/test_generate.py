"""tools/generate.py: the committed reference is what the code says, and complete."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from waypost.cli.main import COMMANDS
from waypost.settings import OVERRIDES
from waypost.settings.environment import OTHER_VARIABLES

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.generate", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_committed_reference_is_not_stale() -> None:
    done = generate(ROOT, "--check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tool and a fresh reference in a place where they may be changed."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    assert generate(tmp_path).returncode == 0
    return tmp_path


def test_stale_and_missing_files_are_named_and_written_anew(copy: Path) -> None:
    before = {path.name: path.read_text() for path in (copy / "docs/reference").iterdir()}
    (copy / "docs/reference/cli.md").write_text("old")
    (copy / "docs/reference/errors.md").unlink()
    done = generate(copy, "--check")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "docs/reference/cli.md is stale; run: make fix",
        "docs/reference/errors.md is stale; run: make fix",
    ]
    assert generate(copy).returncode == 0
    assert {path.name: path.read_text() for path in (copy / "docs/reference").iterdir()} == before


def test_every_command_and_variable_is_documented() -> None:
    commands, settings = ((REFERENCE / name).read_text() for name in ("cli.md", "settings.md"))
    assert [name for name in COMMANDS if f"## waypost {name}\n" not in commands] == []
    variables = [*(override.variable for override in OVERRIDES), *OTHER_VARIABLES]
    assert [variable for variable in variables if f"| `{variable}` |" not in settings] == []
