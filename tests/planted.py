"""Schemas of the future, planted for tests: a folder with a migration more, and processes of the code that knows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

from waypost.store.database import Database
from waypost.store.migrate import newest
from waypost.store.migrations import VERSIONS

_UPGRADE = """
import sys
from pathlib import Path
from sqlalchemy.engine import make_url
from waypost.store.database import Database
from waypost.store.migrate import upgrade

database = Database(make_url(sys.argv[1]))
upgrade(database, [Path(folder) for folder in sys.argv[2:]])
database.close()
"""


class Planted:
    """Code that knows schemas after the newest real one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.folders = (VERSIONS, folder)

    def add(self, body: str, *, oldest_code: int) -> int:
        """A step with these statements; gives its number."""
        number = newest(self.folders) + 1
        head = f'revision = "{number:04}"\ndown_revision = "{number - 1:04}"\noldest_code = {oldest_code}\n'
        text = f"import sqlalchemy as sa\nfrom alembic import op\n\n{head}\n\ndef upgrade() -> None:\n"
        (self.folder / f"schema_{number:04}.py").write_text(text + indent(dedent(body).strip(), "    ") + "\n")
        return number

    def be_the_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have this process be of the version that knows them: its folder of versions holds them too."""
        everything = self.folder.with_name("versions")
        shutil.copytree(VERSIONS, everything, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(self.folder, everything, dirs_exist_ok=True)
        monkeypatch.setattr("waypost.store.migrations.VERSIONS", everything)

    def start(self, database: Database) -> subprocess.Popen[str]:
        """A process that upgrades the database and ends."""
        url = database.url.render_as_string(hide_password=False)
        command = [sys.executable, "-c", _UPGRADE, url, *map(str, self.folders)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    """Code of a later version, which knows more schemas."""
    return Planted(tmp_path / "later")
