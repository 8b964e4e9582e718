"""Idempotency-Key between a real server and real connections: one answer and one charge, whoever hangs up."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest
from tests.server.gated import Gated, becomes, callers, shows

from waypost.errors import ProviderServerError

PATH = "/api/ai/generate"
KEY = {"idempotency-key": "k1"}
Live = Callable[[Any], AbstractContextManager[Any]]


class Site:
    """A running server and its one provider."""

    def __init__(self, running: Any, provider: Any, http: httpx.Client) -> None:
        self.running = running
        self.provider = provider
        self.http = http

    def ask(
        self, *, stream: bool = False, prompt: str = "p", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        body = {"prompt": prompt, "stream": stream}
        return self.http.post(PATH, json=body, headers={**KEY, **(headers or {})})

    def begin(self) -> AbstractContextManager[httpx.Response]:
        return self.http.stream("POST", PATH, json={"prompt": "p", "stream": True}, headers=KEY)

    def is_idle(self) -> bool:
        return bool(self.running.server.lifecycle.in_flight == 0)


@pytest.fixture
def site_of(live: Live, serve: Any) -> Callable[..., AbstractContextManager[Site]]:
    @contextmanager
    def make(provider: Any, *, keys: bool = False, **server: Any) -> Iterator[Site]:
        served = serve(provider, **server)
        if keys:
            served.callers = callers()
        with live(served) as running, httpx.Client(base_url=running.url, timeout=20) as http:
            yield Site(running, provider, http)

    return make


SiteOf = Callable[..., AbstractContextManager[Site]]


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_key_and_body_give_the_same_bytes_for_one_call(site_of: SiteOf, stream: bool) -> None:
    with site_of(Gated(3)) as site:
        site.provider.let_go(3)
        first, second = site.ask(stream=stream), site.ask(stream=stream, headers={"x-request-id": "again"})
    assert first.content == second.content
    assert "piece 2" in first.text
    assert first.headers["content-type"] == second.headers["content-type"]
    assert [reply.headers.get("idempotent-replayed") for reply in (first, second)] == [None, "true"]
    assert (second.headers["x-request-id"], site.provider.calls) == ("again", 1)


def test_the_same_key_with_another_body_is_refused(site_of: SiteOf) -> None:
    with site_of(Gated(1)) as site:
        site.provider.let_go(2)
        assert site.ask().status_code == 200
        other = site.ask(prompt="another")
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
        assert other.json()["error"]["request_id"] == other.headers["x-request-id"]
        assert site.ask(prompt="another", headers={"idempotency-key": "k2"}).status_code == 200
    assert site.provider.calls == 2


@pytest.mark.parametrize("value", [b"", b"x" * 256, "é".encode()])
def test_a_key_out_of_bounds_is_refused(site_of: SiteOf, value: bytes) -> None:
    with site_of(Gated(1)) as site:
        sent = [(b"idempotency-key", value), (b"content-type", b"application/json")]
        reply = site.http.post(PATH, content=b'{"prompt":"p"}', headers=sent)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "Idempotency-Key")


def test_who_comes_while_the_first_runs_joins_its_stream(site_of: SiteOf) -> None:
    with site_of(Gated(4)) as site:
        site.provider.let_go(1)
        with site.begin() as first, site.begin() as second:
            site.provider.let_go(3)
            assert first.read() == second.read()
        assert (first.headers.get("idempotent-replayed"), second.headers["idempotent-replayed"]) == (None, "true")
        assert "piece 3" in second.text
        assert "event: done" in second.text
    assert site.provider.calls == 1


def test_who_comes_while_the_first_runs_joins_its_whole_answer(site_of: SiteOf) -> None:
    replies: list[httpx.Response] = []
    with site_of(Gated(2)) as site:
        asking = [threading.Thread(target=lambda: replies.append(site.ask())) for _ in range(3)]
        for each in asking:
            each.start()
        assert becomes(lambda: site.running.server.lifecycle.in_flight == 3)
        site.provider.let_go(2)
        for each in asking:
            each.join(20)
    assert len(replies) == 3
    assert len({reply.content for reply in replies}) == 1
    assert sorted(reply.headers.get("idempotent-replayed", "") for reply in replies) == ["", "true", "true"]
    assert site.provider.calls == 1


@pytest.mark.parametrize("grace_s", [0, 60])
def test_who_joined_gets_all_of_it_although_the_first_hung_up(site_of: SiteOf, grace_s: float) -> None:
    with site_of(Gated(4), resume_grace_s=grace_s) as site:
        site.provider.let_go(1)
        with site.begin() as first:
            # Held: httpx closes the connection when nobody has the iterator.
            pieces = first.iter_raw()
            next(pieces)
            with site.begin() as second:
                first.close()
                site.provider.let_go(3)
                second.read()
        assert "event: done" in second.text
        assert site.ask(stream=True).content == second.content
    assert (site.provider.calls, site.provider.cancelled.is_set()) == (1, False)


def test_who_comes_after_the_only_caller_hung_up_is_not_charged_again(site_of: SiteOf) -> None:
    with site_of(Gated(4), resume_grace_s=0) as site:
        site.provider.let_go(1)
        with site.begin() as first:
            next(first.iter_raw())
        assert site.provider.cancelled.wait(5)
        assert becomes(site.is_idle)
        again = site.ask(stream=True)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "answer_not_kept")
    assert site.provider.calls == 1


def test_a_caller_who_leaves_before_any_answer_frees_the_key(site_of: SiteOf) -> None:
    with site_of(Gated(1)) as site:
        with pytest.raises(httpx.ReadTimeout):
            site.http.post(PATH, json={"prompt": "p"}, headers=KEY, timeout=0.5)
        assert site.provider.cancelled.wait(5)
        assert becomes(site.is_idle)
        site.provider.let_go(1)
        again = site.ask()
    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)
    assert site.provider.calls == 2


def test_errors_that_another_try_may_mend_are_not_remembered_and_the_others_are(site_of: SiteOf, scripted: Any) -> None:
    provider = scripted(ProviderServerError("Down."))
    with site_of(provider) as site:
        assert [site.ask().status_code for _ in range(2)] == [502, 502]
        assert len(provider.calls) == 2
        bad = [site.http.post(PATH, json={"prompt": 1}, headers={"idempotency-key": "bad"}) for _ in range(2)]
    assert [reply.status_code for reply in bad] == [400, 400]
    assert bad[1].headers["idempotent-replayed"] == "true"


def test_each_caller_has_keys_of_its_own(site_of: SiteOf) -> None:
    with site_of(Gated(1), keys=True) as site:
        site.provider.let_go(2)
        for name in ("ann", "bob"):
            assert "idempotent-replayed" not in site.ask(headers=shows(name)).headers
        assert site.ask(prompt="another", headers=shows("bob")).status_code == 422
    assert site.provider.calls == 2


@pytest.mark.parametrize("off", [{"idempotency_ttl_s": 0}, {"idempotency_buffer_bytes": 0}])
def test_without_time_or_memory_each_request_is_its_own(site_of: SiteOf, off: dict[str, int]) -> None:
    with site_of(Gated(1), **off) as site:
        site.provider.let_go(2)
        assert [site.ask().status_code for _ in range(2)] == [200, 200]
    assert site.provider.calls == 2


def test_a_joined_stream_that_grows_too_large_ends_with_an_error(site_of: SiteOf) -> None:
    with site_of(Gated(60), idempotency_buffer_bytes=8 * 4_000) as site:
        site.provider.let_go(1)
        with site.begin() as first, site.begin() as second:
            site.provider.let_go(59)
            assert "event: done" in first.read().decode()
            last = second.read().decode().rpartition("event: ")[2]
        assert last.startswith("error\n")
        assert json.loads(last.partition("data: ")[2])["error"]["code"] == "answer_not_kept"
        assert site.ask(stream=True).status_code == 409
    assert site.provider.calls == 1


def test_the_log_says_what_was_a_replay(site_of: SiteOf, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "waypost.access")
    with site_of(Gated(1)) as site:
        site.provider.let_go(1)
        site.ask()
        site.ask()
    # The server has ended, and so has every request.
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "waypost.access"]
    # A line is written when its request is over, which may be after another one's answer was told again.
    assert sorted(line.get("replayed", False) for line in lines) == [False, True]


@pytest.mark.parametrize("grace_s", [0, 60])
def test_at_a_shutdown_first_and_joined_are_told_the_same(site_of: SiteOf, grace_s: float) -> None:
    with site_of(Gated(2), shutdown_grace_s=0.2, resume_grace_s=grace_s) as site:
        site.provider.let_go(1)
        with site.begin() as first, site.begin() as second:
            site.running.server.drain()
            assert first.read() == second.read()
    last = first.text.rpartition("event: ")[2]
    assert last.startswith("error\n")
    assert json.loads(last.partition("data: ")[2])["error"]["code"] == "server_busy"
