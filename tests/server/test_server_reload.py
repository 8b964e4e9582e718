"""POST /api/admin/reload, SIGHUP's core, over real sockets: good files, bad files, and what lives on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from waypost.app import Application, SettingsFile
from waypost.gateway.breaker import Circuit
from waypost.server.serving import Serving, SettingsRefused
from waypost.simulator import Simulator

GENERATE, RELOAD, STATUS = "/api/ai/generate", "/api/admin/reload", "/api/admin/status"
FILE = """\
providers:
  first: {{kind: openai_compatible, base_url: '{url}', api_key: k, default_model: one}}
  second: {{kind: openai_compatible, base_url: '{url}', api_key: k, default_model: two}}
routes: {{default: {{targets: [first]}}}}
"""
SLOW = {"pacing": {"token_interval_s": 0.05, "tokens_per_chunk": 1}, "reply": {"text": "a b c d e f g h i j k l m n"}}
Live = Callable[[Any], AbstractContextManager[Any]]


@pytest.fixture
def simulator_url() -> Iterator[str]:
    """In a thread of its own: the tests block."""
    loop, started, stop, urls = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), []

    async def play() -> None:
        async with Simulator({"rules": [{"match": {"contains": "slowly"}, **SLOW}, {"reply": {"echo": True}}]}) as it:
            urls.append(it.openai_url)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(play()))
    thread.start()
    assert started.wait(10)
    yield urls[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def file(tmp_path: Path, simulator_url: str) -> Path:
    file = tmp_path / "waypost.yaml"
    file.write_text(FILE.format(url=simulator_url))
    return file


@pytest.fixture
def serving(file: Path) -> Serving:
    return Serving(source=SettingsFile(file))


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def application(serving: Serving) -> Application:
    assert isinstance(serving.current, Application)
    return serving.current


def test_a_good_file_is_in_force_at_once(live: Live, serving: Serving, file: Path) -> None:
    with live(serving) as running, httpx.Client(base_url=running.url) as http:
        assert http.post(GENERATE, json={"prompt": "p"}).json()["model"] == "one"
        rewrite(file, "targets: [first]", "targets: [second]")
        told = http.post(RELOAD)
        assert (told.status_code, told.json()) == (200, {"changed": ["routes.default"], "needs_restart": []})
        assert http.post(GENERATE, json={"prompt": "p"}).json()["model"] == "two"


def test_a_bad_file_changes_nothing_and_every_problem_is_told(live: Live, serving: Serving, file: Path) -> None:
    with live(serving) as running, httpx.Client(base_url=running.url) as http:
        before = serving.current
        file.write_text(file.read_text().replace("[first]", "[third]") + "server: {prot: 1}\n")
        told = http.post(RELOAD)
        assert told.status_code == 422
        error = told.json()["error"]
        assert error["code"] == "configuration_error"
        assert [finding["line"] for finding in error["details"]["findings"]] == [4, 5]
        assert {finding["source"] for finding in error["details"]["findings"]} == {str(file)}
        assert "did you mean port?" in error["message"]
        assert serving.current is before
        assert http.post(GENERATE, json={"prompt": "p"}).json()["model"] == "one"


def test_a_dry_run_only_looks(live: Live, serving: Serving, file: Path) -> None:
    with live(serving) as running, httpx.Client(base_url=running.url) as http:
        before = serving.current
        rewrite(file, "targets: [first]", "targets: [second]")
        told = http.post(RELOAD, params={"dry_run": "true"})
        assert told.json() == {"changed": ["routes.default"], "needs_restart": []}
        assert serving.current is before
        assert http.post(RELOAD, params={"dry_run": "perhaps"}).status_code == 400


def test_a_stream_runs_on_over_a_reload_that_replaces_its_provider(live: Live, serving: Serving, file: Path) -> None:
    """The replaced provider is closed when the stream has ended, and not before; the unchanged one is kept."""
    with live(serving) as running, httpx.Client(base_url=running.url) as http:
        before = application(serving).providers
        closed: list[str] = []
        close = before["first"].close

        async def noted() -> None:
            closed.append("first")
            await close()

        before["first"].close = noted  # type: ignore[method-assign]
        asked = {"prompt": "slowly", "stream": True}
        with httpx.stream("POST", running.url + GENERATE, json=asked) as stream:
            lines = stream.iter_lines()
            assert next(lines)
            rewrite(file, "default_model: one", "default_model: uno")
            assert http.post(RELOAD).json()["changed"] == ["providers.first"]
            assert http.post(GENERATE, json={"prompt": "p"}).json()["model"] == "uno"
            after = application(serving).providers
            assert after["first"] is not before["first"]
            assert after["second"] is before["second"]
            assert closed == []
            rest = list(lines)
        assert "event: done" in rest
        assert not any(line == "event: error" for line in rest)
        for _ in range(100):
            if closed:
                break
            http.get("/health")
        assert closed == ["first"]


def test_breakers_live_on_and_those_of_targets_that_are_gone_do_not(live: Live, serving: Serving, file: Path) -> None:
    with live(serving) as running, httpx.Client(base_url=running.url) as http:
        for provider in ("first", "second"):
            breaker = serving.gateway.board.of(provider, "status-503").breaker
            for _ in range(20):
                breaker.failed()
        rewrite(file, "  second:", "  third:")
        assert http.post(RELOAD).json()["changed"] == ["providers.second", "providers.third"]
        assert serving.gateway.board.circuits() == {("first", "status-503"): Circuit.OPEN}
        told = http.post(GENERATE, json={"prompt": "p", "model": "first/status-503"})
        assert told.json()["error"]["attempts"][0]["code"] == "target_paused"
        breakers = http.get(STATUS).json()["workers"][0]["breakers"]
        assert breakers == [{"provider": "first", "model": "status-503", "circuit": "open"}]


def test_what_only_counts_at_the_start_is_told_and_stays(live: Live, serving: Serving, file: Path) -> None:
    with live(serving) as running, httpx.Client(base_url=running.url) as http:
        with file.open("a") as more:
            more.write("server: {port: 1, workers: 4, max_body_bytes: 2048}\ndata_dir: elsewhere\n")
        for _ in range(2):
            told = http.post(RELOAD).json()
            assert told["needs_restart"] == ["server.port", "server.workers", "data_dir"]
        assert (serving.settings.server.port, serving.settings.server.workers) == (8000, 1)
        assert http.post(GENERATE, json={"prompt": "p" * 3000}).status_code == 413


def test_a_key_file_is_read_anew(live: Live, serving: Serving, file: Path) -> None:
    keys = file.parent / "keys"
    keys.write_text("key-number-one\n")
    keys.chmod(0o600)
    rewrite(file, "api_key: k, default_model: one", "api_key_file: keys, default_model: one")
    with live(serving) as running, httpx.Client(base_url=running.url) as http:
        before = application(serving).providers
        assert http.post(RELOAD).json() == {"changed": [], "needs_restart": []}
        after = application(serving).providers
        assert after["first"] is not before["first"]
        assert after["second"] is before["second"]
        keys.unlink()
        refused = http.post(RELOAD)
        assert (refused.status_code, len(refused.json()["error"]["details"]["findings"])) == (422, 1)
        assert application(serving).providers["first"] is after["first"]


ADMIN, PLAIN = "an-admin-key-0123", "a-plain-key-01234"


def test_with_keys_only_an_admin_may(live: Live, serving: Serving, file: Path) -> None:
    with file.open("a") as more:
        more.write(f"keys: {{boss: {{key: {ADMIN}, admin: true}}, ann: {{key: {PLAIN}}}}}\n")
    with live(serving) as running, httpx.Client(base_url=running.url) as http:
        for method, path in (("POST", RELOAD), ("GET", STATUS)):
            assert http.request(method, path).status_code == 401
            assert http.request(method, path, headers={"x-api-key": PLAIN}).status_code == 403
            assert http.request(method, path, headers={"x-api-key": ADMIN}).status_code == 200
        # Keys are taken away by a reload too.
        rewrite(file, f", ann: {{key: {PLAIN}}}", "")
        assert http.post(RELOAD, headers={"x-api-key": ADMIN}).json()["changed"] == ["keys.ann"]
        assert http.get("/v1/models", headers={"x-api-key": PLAIN}).status_code == 401


def test_keys_cannot_all_be_taken_from_a_server_that_others_can_reach(file: Path) -> None:
    """The file alone would be sound: it names loopback. The address in force is another."""
    text = file.read_text()
    file.write_text(text + f"keys: {{boss: {{key: {ADMIN}}}}}\nserver: {{host: 0.0.0.0}}\n")
    serving = Serving(source=SettingsFile(file))
    assert serving.settings.server.host == "0.0.0.0"  # noqa: S104 - nothing is bound
    file.write_text(text)
    with pytest.raises(SettingsRefused, match="Without keys Waypost only listens on loopback"):
        asyncio.run(serving.reload())
    assert not serving.callers.open_to_all
    asyncio.run(serving.close())


def test_a_program_s_own_application_has_nothing_to_read(live: Live, serve: Any, scripted: Any) -> None:
    with live(serve(scripted("ok"))) as running:
        told = httpx.post(running.url + RELOAD)
        assert (told.status_code, told.json()["error"]["code"]) == (422, "configuration_error")
        assert httpx.get(running.url + STATUS).json()["workers"][0]["worker"] == 1
