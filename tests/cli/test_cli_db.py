"""waypost db and the doctor's look at the database, on both kinds of it: what is printed, and the exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from tests.databases import KINDS, PostgresServer
from tests.planted import Planted
from tools.schema_fixture import fill

from waypost.store.address import sqlite_url
from waypost.store.database import Database
from waypost.store.migrate import check, newest, upgrade

Waypost = Callable[..., Result]
NOW = newest()


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, waypost: Waypost) -> Iterator[Database]:
    """The database of the settings, without any table."""
    server: PostgresServer | None = None
    if request.param == "sqlite":
        url = sqlite_url(Path.cwd() / "a folder" / "way post.db")
        monkeypatch.setenv("WAYPOST_DATABASE_URL", f"sqlite:///{url.database}")
    else:
        server = request.getfixturevalue("shared_postgres")
        url = server.create()
        monkeypatch.setenv("WAYPOST_DATABASE_URL", str(url))
    database = Database(url)
    yield database
    database.close()
    if server:
        server.drop(url)


def checked(waypost: Waypost) -> tuple[int, str, dict[str, object]]:
    """The exit code of `waypost db check`, its line and what it says as JSON."""
    told, as_json = waypost("db", "check"), waypost("db", "check", "--json")
    assert told.exit_code == as_json.exit_code
    return told.exit_code, told.stdout, json.loads(as_json.stdout)


def test_an_upgrade_makes_the_schema_once(waypost: Waypost, database: Database) -> None:
    code, told, state = checked(waypost)
    assert (code, state["status"], state["schema"], state["size_bytes"]) == (1, "empty", None, None)
    assert f"is empty; the server's first start, or waypost db upgrade, makes schema {NOW}" in told
    assert waypost("db", "upgrade").stdout.endswith(f" has schema {NOW} now; it had none\n")
    assert waypost("db", "upgrade").stdout.endswith(f" has schema {NOW}: nothing to do\n")
    assert json.loads(waypost("db", "upgrade", "--json").stdout)["before"] == NOW
    code, told, state = checked(waypost)
    assert (code, state["status"], state["schema"], state["this_version"]) == (0, "current", NOW, NOW)
    assert told.endswith(f" has schema {NOW}, that of this version\n")
    assert isinstance(state["size_bytes"], int)
    assert state["size_bytes"] > 50_000


def test_a_backup_and_back(waypost: Waypost, database: Database) -> None:
    upgrade(database)
    fill(database)
    database.close()
    told = waypost("db", "backup", "a backup")
    assert told.exit_code == 0
    assert told.stdout.startswith("Wrote a backup (")
    assert told.stderr.endswith(")\n")
    assert " 100 % (" in told.stderr
    again = waypost("db", "backup", "a backup")
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == "Error: a backup exists already. Name another file, or say --force.\n"
    done = json.loads(waypost("db", "backup", "a backup", "--force", "--json").stdout)
    assert (done["file"], done["schema"], done["size_bytes"]) == ("a backup", NOW, Path("a backup").stat().st_size)
    refused = waypost("db", "restore", "a backup")
    assert refused.exit_code == 1
    assert "is not empty. Make a backup of it, then say --replace" in refused.stderr
    assert waypost("db", "restore", "a backup", "--replace").stdout.endswith(" holds what a backup held\n")
    done = json.loads(waypost("db", "restore", "a backup", "--replace", "--json").stdout)
    assert (done["before"], done["schema"]) == (NOW, NOW)
    assert check(database).status == "current"


def test_a_database_of_another_version_is_told_with_what_to_do(
    waypost: Waypost, database: Database, planted: Planted
) -> None:
    planted.add("pass", oldest_code=1)
    upgrade(database, planted.folders)
    code, told, state = checked(waypost)
    assert (code, state["status"], state["oldest_code"]) == (0, "ahead", 1)
    assert f"has schema {NOW + 1}, made by Waypost 0." in told
    assert doctor(waypost)["status"] == "warn"
    planted.add("pass", oldest_code=NOW + 1)
    upgrade(database, planted.folders)
    assert (doctor(waypost)["status"], doctor(waypost)["mend"][:15]) == ("fail", "Install Waypost")
    assert waypost("db", "upgrade").exit_code == 3
    refused = waypost("db", "check")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert f"has schema {NOW + 2}, made by Waypost" in refused.stderr
    assert json.loads(waypost("db", "check", "--json").stdout)["status"] == "too_new"


def test_an_upgrade_that_earlier_servers_cannot_live_with_is_told_before_it_is_made(
    waypost: Waypost, database: Database, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(database)
    planted.add("pass", oldest_code=1)
    planted.be_the_code(monkeypatch)
    _code, told, state = checked(waypost)
    assert (state["status"], state["oldest_code_when_upgraded"]) == ("behind", 1)
    assert "cannot go on" not in told
    shutil.rmtree(planted.folder.with_name("versions"))
    planted.add("pass", oldest_code=NOW + 1)
    planted.be_the_code(monkeypatch)
    _code, told, state = checked(waypost)
    assert (state["oldest_code"], state["oldest_code_when_upgraded"]) == (1, NOW + 1)
    assert f"cannot go on then: it wants code of schema {NOW + 1} or later" in told


def doctor(waypost: Waypost) -> dict[str, str]:
    """What the doctor says of the database."""
    checks = json.loads(waypost("doctor", "--json").stdout)["checks"]
    (found,) = [each for each in checks if each["name"] == "database"]
    return dict(found)


def test_the_doctor_says_where_the_database_is_and_makes_none(waypost: Waypost, database: Database) -> None:
    found = doctor(waypost)
    assert found["status"] == "ok"
    assert " is empty; the server's first start" in found["detail"]
    assert not Path("a folder").exists()
    upgrade(database)
    assert doctor(waypost)["detail"].endswith(f"has schema {NOW}, that of this version")


UNUSABLE = [
    ("postgresql://me:s3cret@127.0.0.1:1/db", 6, "The database postgresql://me:***@127.0.0.1:1/db cannot be used"),
    ("sqlite:////dev/null/x.db", 3, "The database /dev/null/x.db cannot be made: its folder is a file."),
    ("sqlite:///:memory:", 3, "database_url names an SQLite database in memory"),
    ("mysql://me:s3cret@host/db", 3, "WAYPOST_DATABASE_URL: database_url must begin with"),
]


@pytest.mark.parametrize(("address", "code", "told"), UNUSABLE)
def test_a_database_that_cannot_be_used_is_a_sentence_and_an_exit_code(
    waypost: Waypost, monkeypatch: pytest.MonkeyPatch, address: str, code: int, told: str
) -> None:
    monkeypatch.setenv("WAYPOST_DATABASE_URL", address)
    result = waypost("db", "upgrade")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"Error: {told}")
    assert "s3cret" not in result.stderr + waypost("doctor").output


def test_without_a_database_url_it_is_a_file_in_the_data_folder(waypost: Waypost, tmp_path: Path) -> None:
    assert waypost("db", "upgrade").exit_code == 0
    assert [path.name for path in (tmp_path / "data" / "waypost").iterdir()] == ["waypost.db"]
