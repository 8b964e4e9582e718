"""Claims about the setting database_url: what it may say and what it means; and no message repeats a password."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from waypost.errors import ConfigurationError
from waypost.settings import InvalidSettings, Settings, load_settings
from waypost.store.address import database_url, shown
from waypost.store.database import open_database

DATA = Path("/data dir")
SQLITE = [
    (None, "/data dir/waypost.db"),
    ("sqlite:////var/lib/way post/x.db", "/var/lib/way post/x.db"),
    ("sqlite:////var/lib/way%20post/100%25.db", "/var/lib/way post/100%.db"),
    ("sqlite:///x.db", "/data dir/x.db"),
    ("sqlite:///deeper/x.db", "/data dir/deeper/x.db"),
    ("sqlite:///~/x.db", str(Path.home() / "x.db")),
    ("sqlite+aiosqlite:///x.db", "/data dir/x.db"),
]


@pytest.mark.parametrize(("configured", "path"), SQLITE)
def test_an_sqlite_file_is_a_whole_path_and_relative_ones_are_in_the_data_folder(
    configured: str | None, path: str
) -> None:
    """Not in the folder one happens to be in: a command and the server would then mean two files."""
    url = database_url(configured, DATA)
    assert (url.drivername, url.database, shown(url)) == ("sqlite+pysqlite", path, path)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+asyncpg"])
def test_postgresql_by_any_of_its_names(scheme: str) -> None:
    url = database_url(f"{scheme}://me:p%40ss@host:6432/name?sslmode=require", DATA)
    assert (url.drivername, url.password, url.port) == ("postgresql+psycopg", "p@ss", 6432)
    assert shown(url) == "postgresql://me:***@host:6432/name?sslmode=require"


WRONG = [
    ("mysql://u:s3cret@host/db", 'begins with "mysql"'),
    ("postgresql://u:s3cret@host:pa55/db", "is not a URL"),
    ("postgresql://u:pa55@s3cret@host/db", "holds an @ too many"),
    ("postgresql://u:s3c@ret/pa55@host/db", "holds an @ too many"),
    ("sqlite://host/x.db", "with a host or parameters"),
    ("sqlite:///x.db?mode=ro", "with a host or parameters"),
    ("sqlite://", "in memory"),
    ("sqlite:///:memory:", "in memory"),
    ("s3cret", "is not a URL"),
]


@pytest.mark.parametrize(("configured", "reason"), WRONG)
def test_what_it_cannot_be_is_said_without_the_password(configured: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        database_url(configured, DATA)
    message = "".join(traceback.format_exception(caught.value))
    for part in ("s3cret", "pa55", "s3c", "ret/"):
        assert part not in message.replace("secret", "")
    assert caught.value.hint


def test_the_environment_comes_before_the_file_and_the_settings_show_neither(tmp_path: Path) -> None:
    file = tmp_path / "waypost.yaml"
    file.write_text("database_url: postgresql://u:s3cret@host/from_file\n")
    settings = load_settings(file, {})
    assert open_database(settings).url.database == "from_file"
    assert "s3cret" not in f"{settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    settings = load_settings(file, {"WAYPOST_DATABASE_URL": f"sqlite:///{tmp_path}/a b.db"})
    assert open_database(settings).url.database == f"{tmp_path}/a b.db"
    assert open_database(Settings(data_dir=tmp_path)).url.database == f"{tmp_path}/waypost.db"


def test_a_file_with_another_kind_of_address_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "waypost.yaml"
    file.write_text("# one line\ndatabase_url: mysql://u:s3cret@host/db\n")
    with pytest.raises(InvalidSettings, match=r"line 2.*must begin with postgresql:// or sqlite:///") as caught:
        load_settings(file, {})
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
