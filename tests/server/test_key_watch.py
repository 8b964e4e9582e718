"""The keys of the database in memory: read at the start, anew when they change, and kept while the database is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from tests.databases import PostgresServer
from tests.ledger.administered import ACTOR, key, project
from tests.server.keyed import bearer, keyed, keyed_settings

from waypost.app import build
from waypost.errors import ConfigurationError
from waypost.ledger.audit import changing
from waypost.ledger.key_changes import revoke_key, rotate_key
from waypost.server.api import create_app
from waypost.server.key_watch import KeyWatch
from waypost.settings import Settings
from waypost.store.database import Database
from waypost.store.lazy import LazyDatabase
from waypost.store.migrate import upgrade
from waypost.store.tables import requests

CONFIGURED = "a-configured-key-01"
MODELS = "/v1/models"


def becomes(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@contextmanager
def watching(database: Database | Settings, interval_s: float = 0.05) -> Iterator[KeyWatch]:
    settings = database if isinstance(database, Settings) else keyed_settings(database)
    lazy = LazyDatabase(settings)
    watch = KeyWatch(lazy, interval_s)
    watch.start()
    try:
        yield watch
    finally:
        asyncio.run(watch.stop())
        lazy.close()


@asynccontextmanager
async def read_once(database: Database) -> AsyncIterator[KeyWatch]:
    """A watch that looks by itself only at its start."""
    lazy = LazyDatabase(keyed_settings(database))
    watch = KeyWatch(lazy, interval_s=3600)
    await watch.until_read()
    yield watch
    await watch.stop()
    lazy.close()


def revoked(database: Database, key_id: str) -> None:
    with changing(database, ACTOR) as change:
        revoke_key(change, key_id)


def test_what_is_changed_is_seen_soon(database: Database) -> None:
    with watching(database) as watch:
        assert becomes(lambda: watch.is_read)
        assert (watch.known.any_made, watch.known.by_name) == (False, {})
        made = key(database, project(database))
        assert becomes(lambda: made.key.id in watch.known.by_name)
        assert watch.known.any_made
        assert watch.known.by_name[made.key.id].account.project_name == "shop"
        with changing(database, ACTOR) as change:
            rotate_key(change, made.key.id)
        assert becomes(lambda: len(watch.known.by_digest) == 2)
        revoked(database, made.key.id)
        assert becomes(lambda: not watch.known.by_digest)
        assert watch.known.any_made


def test_without_a_change_nothing_is_read_again(database: Database) -> None:
    key(database, project(database))
    with watching(database) as watch:
        assert becomes(lambda: watch.is_read)
        before = watch.known
        for _ in range(3):
            watch.look_soon()
        assert watch.known is before


def test_no_file_is_made_to_find_that_there_are_no_keys(tmp_path: Path) -> None:
    """And the keys that another process then makes in it are found."""
    settings = Settings.model_validate({"data_dir": str(tmp_path)})
    with watching(settings) as watch:
        assert becomes(lambda: watch.is_read)
        assert not watch.known.any_made
        assert list(tmp_path.iterdir()) == []
        database = LazyDatabase(settings).open()
        made = key(database, None, "ops")
        assert becomes(lambda: made.key.id in watch.known.by_name)
        database.close()


async def test_who_asks_for_a_key_that_was_made_just_now_need_not_wait_for_the_next_look(database: Database) -> None:
    async with read_once(database) as watch:
        made = await asyncio.to_thread(lambda: key(database, project(database)))
        assert await watch.look_again()
        assert made.key.id in watch.known.by_name
        assert not await watch.look_again()


async def test_many_who_ask_at_once_share_a_look(database: Database) -> None:
    async with read_once(database) as watch:
        looks = 0
        read = watch._read

        def counted() -> Any:
            nonlocal looks
            looks += 1
            return read()

        watch._read = counted  # type: ignore[method-assign]
        await asyncio.gather(*(watch.look_again() for _ in range(200)))
        assert looks <= 2


async def test_the_first_request_waits_until_the_keys_are_read(database: Database) -> None:
    """Also in an application whose start nobody waited for; what anybody may see does not wait."""
    made = key(database, project(database))
    application = keyed(database)
    transport = httpx.ASGITransport(app=create_app(application))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        replies = await asyncio.gather(*(http.get(MODELS, headers=bearer(made.text)) for _ in range(5)))
        assert [reply.status_code for reply in replies] == [200] * 5
        assert (await http.get(MODELS)).status_code == 401
        assert (await http.get("/ready")).json()["keys"] == {"status": "ready", "detail": ""}
    await application.callers.stop()
    await application.close()


def test_the_start_does_not_wait_for_a_database_that_hangs(live: Any) -> None:
    """Its port is open and nobody answers there."""
    with hanging() as url:
        providers = {"a": {"kind": "openai", "api_key": "k"}}
        application = build(Settings.model_validate({"database_url": url, "providers": providers}))
        started = time.monotonic()
        with live(application) as running:
            assert httpx.get(f"{running.url}/health").status_code == 200
            assert time.monotonic() - started < 3


@contextmanager
def hanging() -> Iterator[str]:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"postgresql://me:my-pass-word@127.0.0.1:{listening.getsockname()[1]}/db"


def test_without_the_database_at_the_start_keys_of_the_settings_are_good_and_ready_says_so(
    live: Any, caplog: pytest.LogCaptureFixture
) -> None:
    providers = {"a": {"kind": "openai", "api_key": "k"}}
    nowhere = {"database_url": "postgresql://me:my-pass-word@127.0.0.1:9/db", "providers": providers}
    own = build(Settings.model_validate({**nowhere, "keys": {"own": {"key": CONFIGURED}}}))
    with live(own) as running, httpx.Client(base_url=running.url) as http:
        assert http.get(MODELS, headers=bearer(CONFIGURED)).status_code == 200
        stored = http.get(MODELS, headers=bearer("wp_" + "x" * 43))
        assert (stored.status_code, stored.json()["error"]["code"]) == (503, "database_unavailable")
        assert stored.headers["retry-after"] == "1"
        assert http.get(MODELS).status_code == 401
        ready = http.get("/ready")
        assert (ready.status_code, ready.json()["status"], ready.json()["keys"]["status"]) == (
            200,
            "ready",
            "unavailable",
        )
    with live(build(Settings.model_validate(nowhere))) as running, httpx.Client(base_url=running.url) as http:
        for headers in ({}, bearer(CONFIGURED)):
            assert http.get(MODELS, headers=headers).status_code == 503
        ready = http.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert "does not answer" in ready.json()["error"]["message"]
    lines = [record.getMessage() for record in caplog.records if "database" in record.getMessage()]
    assert len(lines) == 2
    assert not any("my-pass-word" in line for line in lines)


def test_a_database_of_a_newer_schema_is_told_and_opens_nothing(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version = 9999, oldest_code = 9999")
    with watching(database) as watch:
        assert becomes(lambda: watch.status == "unavailable")
        assert watch.known.any_made
        assert "schema 9999" in caplog.text
        assert len([record for record in caplog.records if "9999" in record.getMessage()]) == 1


def test_while_the_database_is_away_known_keys_are_good_and_afterwards_changes_are_seen(
    postgres: PostgresServer, live: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    database = Database(postgres.create())
    upgrade(database)
    made, other = key(database, project(database)), key(database, None, "ops", routes=["*"])
    with live(keyed(database)) as running, httpx.Client(base_url=running.url) as http:

        def ready() -> Any:
            return http.get("/ready").json()["keys"]["status"]

        assert http.get(MODELS, headers=bearer(made.text)).status_code == 200
        database.close()
        postgres.stop()
        assert becomes(lambda: ready() == "stale", 10)
        for shown in (made, other):
            assert http.get(MODELS, headers=bearer(shown.text)).status_code == 200
        assert http.get(MODELS, headers=bearer("wp_" + "x" * 43)).status_code == 401
        admin = http.get("/api/admin/keys", headers=bearer(other.text))
        assert (admin.status_code, admin.json()["error"]["code"]) == (503, "database_unavailable")
        postgres.start()
        assert becomes(lambda: ready() == "ready", 10)
        revoked(database, made.key.id)
        assert becomes(lambda: http.get(MODELS, headers=bearer(made.text)).status_code == 401, 2)
    database.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "waypost.server"]
    told = [line for line in lines if "keys" in line]
    assert len(told) == 2
    assert "changes are not seen" in told[0]
    assert told[1] == "the keys in the database are read again"


def test_a_database_that_stands_still_keeps_nobody_waiting_who_is_known(postgres: PostgresServer, live: Any) -> None:
    database = Database(postgres.create())
    upgrade(database)
    made = key(database, project(database))
    with live(keyed(database)) as running, httpx.Client(base_url=running.url, timeout=30) as http:
        assert http.get(MODELS, headers=bearer(made.text)).status_code == 200
        postgres.freeze()
        try:
            for _ in range(20):
                began = time.monotonic()
                assert http.get(MODELS, headers=bearer(made.text)).status_code == 200
                assert time.monotonic() - began < 1
            # Whoever shows one that is not known waits a little, and not for ever.
            began = time.monotonic()
            assert http.get(MODELS, headers=bearer("wp_" + "x" * 43)).status_code == 401
            assert time.monotonic() - began < 6
            assert becomes(lambda: http.get("/ready").json()["keys"]["status"] == "stale", 10)
        finally:
            postgres.thaw()
        assert becomes(lambda: http.get("/ready").json()["keys"]["status"] == "ready", 10)
    database.close()


def test_an_address_that_others_reach_wants_a_key_in_the_settings_or_the_database(database: Database) -> None:
    from waypost.server.run import may_be_exposed

    exposed = keyed(database, server={"host": "0.0.0.0"})  # noqa: S104 - nothing is bound
    assert not may_be_exposed(exposed, "0.0.0.0")  # noqa: S104
    key(database, project(database))
    assert may_be_exposed(exposed, "0.0.0.0")  # noqa: S104
    assert not may_be_exposed(exposed, "127.0.0.1")
    own = keyed(database, server={"host": "0.0.0.0"}, keys={"own": {"key": CONFIGURED}})  # noqa: S104
    assert may_be_exposed(own, "0.0.0.0")  # noqa: S104


def test_a_server_that_others_reach_does_not_start_if_it_cannot_know_whether_there_are_keys() -> None:
    nowhere = Settings.model_validate(
        {"database_url": "postgresql://127.0.0.1:9/db", "providers": {"a": {"kind": "openai", "api_key": "k"}}}
    )
    with pytest.raises(ConfigurationError, match="the database does not answer"):
        build(nowhere).callers.any_made()


def test_a_reload_keeps_the_keys_that_were_read(database: Database) -> None:
    made = key(database, project(database))
    before = keyed(database)
    before.callers.any_in_database()
    after = build(keyed_settings(database, keys={"own": {"key": CONFIGURED}}), before)
    assert after.callers.watch is before.callers.watch
    assert after.database is before.database
    assert after.callers.named(made.key.id) is not None
    before.database.close()


def test_what_was_read_before_the_watch_began_lets_nobody_in(database: Database) -> None:
    """A worker that is started anew is forked of a process that read the keys at its own start."""
    made = key(database, project(database))
    lazy = LazyDatabase(keyed_settings(database))
    watch = KeyWatch(lazy)
    watch.look()
    assert watch.known.by_name
    revoked(database, made.key.id)
    with watch._turn:
        # Nothing can be read now.
        watch.start()
        assert (watch.is_read, watch.known.any_made, watch.known.by_name) == (False, True, {})
    assert becomes(lambda: watch.is_read)
    assert watch.known.by_name == {}
    asyncio.run(watch.stop())
    lazy.close()


def test_the_watch_ends_with_the_server(database: Database, live: Any) -> None:
    application = keyed(database)
    watch: Any = application.callers.watch
    with live(application):
        thread = watch._thread
        assert thread.is_alive()
    assert becomes(lambda: not thread.is_alive(), 3)


def test_a_request_is_written_down_as_its_key_s_with_the_tags_of_project_key_and_request(
    database: Database, live: Any, tmp_path: Path
) -> None:
    owner = project(database, "shop", tags={"team": "a", "where": "b", "what": "c"})
    made = key(database, owner, tags={"where": "d", "what": "e"})
    with live(keyed(database, data_dir=str(tmp_path))) as running:
        headers = {**bearer(made.text), "x-waypost-tags": "what=f, also=g"}
        # Its provider is not there: that is written down too.
        assert httpx.post(f"{running.url}/api/ai/generate", json={"prompt": "p"}, headers=headers).status_code == 502

        def row() -> Any:
            with database.read() as connection:
                return connection.execute(select(requests)).one_or_none()

        assert becomes(lambda: row() is not None, 20)
    written = row()
    assert (written.key_id, written.project_id) == (made.key.id, owner.id)
    assert written.tags == {"team": "a", "where": "d", "what": "f", "also": "g"}
