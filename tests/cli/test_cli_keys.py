"""`waypost projects`, `keys` and `audit`, on both databases: what scripts get on standard output, and people read."""

from __future__ import annotations

import json
import os
import pwd
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.cli.conftest import Waypost

from waypost.cli.exit_codes import DATABASE
from waypost.ledger.books import now_ms
from waypost.ledger.key_reading import load_accounts
from waypost.store.database import Database
from waypost.store.tables import key_secrets

KEY, ADMIN_KEY = re.compile(r"wp_[0-9A-Za-z]{43}\n"), re.compile(r"wpa_[0-9A-Za-z]{43}\n")


@pytest.fixture
def run(waypost: Waypost, database: Database) -> Waypost:
    """Commands whose settings name the test's database."""
    url = database.url.render_as_string(hide_password=False)
    Path("waypost.yaml").write_text(f"database_url: '{url}'\n")
    return waypost


def told(run: Waypost, *arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def accounts(database: Database) -> set[bytes]:
    with database.read() as connection:
        return set(load_accounts(connection, now_ms()))


def test_a_key_is_alone_on_standard_output_and_good(run: Waypost, database: Database) -> None:
    made = run("keys", "create", "web")
    assert (made.exit_code, bool(KEY.fullmatch(made.stdout))) == (0, True)
    assert made.stdout.strip() not in made.stderr
    assert accounts(database) == {sha256(made.stdout.strip().encode()).digest()}


def test_the_first_key_of_an_empty_machine_is_made_offline(waypost: Waypost, environment: Any) -> None:
    """Without a settings file, a server, or a database: that is made, for its owner only."""
    made = waypost("keys", "create", "--admin")
    assert (made.exit_code, bool(ADMIN_KEY.fullmatch(made.stdout))) == (0, True)
    assert "the first key: from now on the server asks everybody for one" in made.stderr
    file = Path(environment["XDG_DATA_HOME"]) / "waypost" / "waypost.db"
    assert file.stat().st_mode & 0o077 == 0
    assert "first key" not in waypost("keys", "create", "web").stderr
    assert [key["name"] for key in told(waypost, "keys", "list")] == ["web", "admin"]


def test_with_json_the_key_is_in_it_once(run: Waypost) -> None:
    made = told(run, "keys", "create", "web", "--daily-budget-usd", "5", "--tag", "team=a", "--route", "d*")
    assert (made["daily_budget_usd"], made["tags"], made["routes"], made["state"]) == (
        5,
        {"team": "a"},
        ["d*"],
        "active",
    )
    assert "key" not in told(run, "keys", "show", "web")
    assert made["key"] not in json.dumps(told(run, "keys", "list"))


def test_without_a_project_the_key_is_one_of_the_project_default(run: Waypost) -> None:
    for name in ("web", "app"):
        run("keys", "create", name)
    (project,) = told(run, "projects", "list")
    assert project["name"] == "default"
    assert {key["project_id"] for key in told(run, "keys", "list")} == {project["id"]}


def test_a_project_is_made_shown_changed_listed_and_deleted(run: Waypost, database: Database) -> None:
    made = told(run, "projects", "create", "shop", "--monthly-budget-usd", "12.5", "--store-bodies", "--warn-at", "0.5")
    assert (made["monthly_budget_usd"], made["store_bodies"], made["warn_at"]) == (12.5, True, [0.5])
    assert told(run, "projects", "show", "shop") == told(run, "projects", "show", made["id"]) == made
    changed = told(
        run, "projects", "update", "shop", "--monthly-budget-usd", "none", "--no-store-bodies", "--no-warnings",
        "--name", "store", "--requests-per-minute", "7",
    )  # fmt: skip
    assert (changed["monthly_budget_usd"], changed["store_bodies"], changed["warn_at"]) == (None, False, [])
    assert (changed["name"], changed["requests_per_minute"]) == ("store", 7)
    run("keys", "create", "web", "--project", "store")
    assert run("projects", "delete", "store", input="n\n").exit_code == 1
    assert told(run, "projects", "list") == [changed]
    assert run("projects", "delete", "store", "--yes").exit_code == 0
    assert (told(run, "projects", "list"), told(run, "keys", "list"), accounts(database)) == ([], [], set())


def test_a_key_is_changed_rotated_and_revoked(run: Waypost, database: Database) -> None:
    old = run("keys", "create", "web", "--expires", "90d").stdout.strip()
    shown = told(run, "keys", "show", "web")
    expires = datetime.fromisoformat(shown["expires_at"])
    assert timedelta(days=89, hours=23) < expires - datetime.now(UTC) <= timedelta(days=90)
    changed = told(run, "keys", "update", "web", "--expires", "none", "--route", "a", "--route", "b")
    assert (changed["expires_at"], changed["routes"]) == (None, ["a", "b"])
    assert told(run, "keys", "update", "web", "--all-routes", "--tag", "a=b")["routes"] is None
    assert told(run, "keys", "update", "web", "--no-tags")["tags"] == {}
    new = run("keys", "rotate", "web", "--grace", "30m").stdout.strip()
    assert accounts(database) == {sha256(key.encode()).digest() for key in (old, new)}
    newest = run("keys", "rotate", "web", "--grace", "0").stdout.strip()
    assert accounts(database) == {sha256(newest.encode()).digest()}
    assert run("keys", "revoke", "web").exit_code == 0
    assert accounts(database) == set()
    assert told(run, "keys", "list", "--state", "revoked")[0]["id"] == shown["id"]
    assert told(run, "keys", "list", "--state", "active") == []
    again = run("keys", "rotate", "web")
    assert (again.exit_code, again.stdout) == (1, "")
    assert 'The key "web" is revoked' in again.stderr


def test_a_rotated_key_is_good_for_another_day_unless_told_otherwise(run: Waypost) -> None:
    run("keys", "create", "web")
    old = told(run, "keys", "rotate", "web")["secrets"][1]
    until = datetime.fromisoformat(old["valid_until"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < until <= timedelta(hours=24)


def test_one_name_in_two_projects_wants_the_project_or_the_id(run: Waypost) -> None:
    for project in ("first", "second"):
        run("projects", "create", project)
        run("keys", "create", "web", "--project", project)
    ids = [key["id"] for key in told(run, "keys", "list")]
    refused = run("keys", "revoke", "web")
    assert refused.exit_code == 1
    assert all(key_id in refused.stderr for key_id in ids)
    assert told(run, "keys", "revoke", "web", "--project", "first")["state"] == "revoked"
    assert told(run, "keys", "revoke", ids[0])["state"] == "revoked"


def test_lists_for_people_have_a_row_a_thing(run: Waypost) -> None:
    run("projects", "create", "shop", "--requests-per-minute", "1000", "--daily-budget-usd", "2.5")
    key = run("keys", "create", "web", "--project", "shop", "--route", "default").stdout.strip()
    run("keys", "create", "--admin", "ops")
    projects, keys = run("projects", "list").stdout.splitlines(), run("keys", "list").stdout.splitlines()
    assert (projects[0].split(), len(projects), len(keys)) == (["id", "name", "limits"], 2, 3)
    assert projects[1].endswith("  shop  1,000 requests/min, $2.5/day")
    assert re.search(r"ops +\(admin\) +active +wpa_....….... +-$", keys[1])
    assert keys[2].endswith(f"web   shop     active  {key[:7]}…{key[-4:]}   routes default")


def test_the_audit_log_says_who_did_what(run: Waypost) -> None:
    run("projects", "create", "shop")
    run("keys", "create", "web", "--project", "shop", "--requests-per-minute", "5")
    run("keys", "update", "web", "--requests-per-minute", "none")
    key = run("keys", "rotate", "web").stdout.strip()
    lines = told(run, "audit")
    assert [line["action"] for line in lines] == ["key.rotate", "key.update", "key.create", "project.create"]
    assert {line["actor"] for line in lines} == {f"cli:{pwd.getpwuid(os.getuid()).pw_name}"}
    assert key not in json.dumps(lines)
    assert [line["action"] for line in told(run, "audit", "--limit", "1")] == ["key.rotate"]
    assert len(told(run, "audit", "--object", lines[0]["object_id"], "--action", "key.update", "--since", "1h")) == 1
    assert told(run, "audit", "--since", "2999-01-01") == []
    assert told(run, "audit", "--actor", "config:nobody") == []
    table = run("audit").stdout
    assert "requests_per_minute: 5 → -" in table
    assert f"{key[:6]}" in table
    assert len(table.splitlines()) == 5


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("keys", "create"), 2, "Missing argument 'NAME'"),
    (("keys", "create", "web", "--admin", "--project", "p"), 2, "An admin key belongs to no project"),
    (("keys", "create", "web", "--project", "nowhere"), 1, 'There is no project "nowhere"'),
    (("keys", "create", "two\nlines"), 1, "name holds a character that cannot be shown"),
    (("keys", "create", "web", "--tag", "a"), 2, '"a" is not NAME=VALUE'),
    (("keys", "create", "web", "--tag", "a b=c"), 1, "tags has a name that is not 1 to 64 letters"),
    (("keys", "create", "web", "--requests-per-minute", "0"), 1, "requests_per_minute must be at least 1, not 0"),
    (("keys", "create", "web", "--requests-per-minute", "x"), 2, '"x" is neither a whole number nor none'),
    (("keys", "create", "web", "--daily-budget-usd", "nan"), 1, "daily_budget_usd"),
    (("keys", "create", "web", "--expires", "yesterday"), 2, '"yesterday" is neither a time'),
    (("keys", "create", "web", "--expires", "2020-01-01"), 1, "expires_at is in the past"),
    (("keys", "create", "web", "--expires", "999999999w"), 2, "is neither a time"),
    (("keys", "show", "nobody"), 1, 'There is no key "nobody"'),
    (("keys", "show", "key_" + "0" * 32), 1, "There is no key of that id"),
    (("keys", "show", "a\x1b[31mb"), 1, 'There is no key "a[31mb"'),
    (("keys", "rotate", "x", "--grace", "soon"), 2, '"soon" is no time'),
    (("keys", "rotate", "x", "--grace", "91d"), 2, "at most 90d"),
    (("projects", "show", "nobody"), 1, 'There is no project "nobody"'),
    (("projects", "create", "a", "--warn-at", "2"), 1, "warn_at[0] must be at most 1, not 2"),
    (("audit", "--since", "yesterday"), 2, '"yesterday" is no time'),
]


def test_what_is_wrong_is_one_sentence_and_nothing_is_made(run: Waypost, database: Database) -> None:
    for arguments, exit_code, sentence in WRONG:
        result = run(*arguments)
        assert (arguments, result.exit_code, result.stdout) == (arguments, exit_code, "")
        assert sentence in result.stderr
        assert "Traceback" not in result.stderr
    with database.read() as connection:
        assert connection.execute(select(key_secrets)).all() == []
    assert told(run, "audit") == []


def test_a_database_that_does_not_answer_is_one_sentence_without_the_password(waypost: Waypost) -> None:
    Path("waypost.yaml").write_text("database_url: 'postgresql://me:my-pass-word@127.0.0.1:9/db'\n")
    result = waypost("keys", "create", "web")
    assert (result.exit_code, result.stdout) == (DATABASE, "")
    assert result.stderr.startswith("Error: The database postgresql://me:***@127.0.0.1:9/db cannot be used")
    assert "my-pass-word" not in result.stderr


def test_a_name_is_shown_as_it_is(run: Waypost) -> None:
    """Nothing of it is a pattern, a quote, an option or a command."""
    for name in ("'; DROP TABLE keys; --", "%", "$(id)", "--name", "søk 🔎"):
        assert KEY.fullmatch(run("keys", "create", "--", name).stdout)
        assert json.loads(run("keys", "show", "--json", "--", name).stdout)["name"] == name
        assert name in run("keys", "list").stdout
