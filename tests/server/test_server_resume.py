"""Streams that outlive their connection, between a real server and real connections that break."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest
from tests.server.gated import Gated, becomes, callers, shows

from waypost.codecs.sse import SseDecoder, SseEvent

PATH = "/api/ai/generate"
ASKED = {"prompt": "p", "stream": True}
Live = Callable[[Any], AbstractContextManager[Any]]


class Reader:
    """One connection to a stream, read an event at a time."""

    def __init__(self, reply: httpx.Response) -> None:
        self.reply = reply
        self.id = reply.headers["x-waypost-response-id"]
        self.seen: list[SseEvent] = []
        self._decoder = SseDecoder()
        self._pieces = reply.iter_raw()
        self._waiting: list[SseEvent] = []

    def next(self) -> SseEvent | None:
        while not self._waiting:
            piece = next(self._pieces, None)
            if piece is None:
                return None
            self._waiting += self._decoder.feed(piece)
        event = self._waiting.pop(0)
        self.seen.append(event)
        return event

    def read(self, events: int) -> list[SseEvent]:
        found = [self.next() for _ in range(events)]
        return [event for event in found if event is not None]

    def rest(self) -> list[SseEvent]:
        before = len(self.seen)
        while self.next() is not None:
            pass
        return self.seen[before:]


class Site:
    """A running server, its provider, and callers."""

    def __init__(self, running: Any, provider: Gated) -> None:
        self.provider = provider
        self.running = running
        self.http = httpx.Client(base_url=running.url, timeout=20)

    @contextmanager
    def begin(self, **headers: str) -> Iterator[Reader]:
        with self.http.stream("POST", PATH, json=ASKED, headers=headers) as reply:
            assert reply.status_code == 200
            yield Reader(reply)

    @contextmanager
    def again(self, stream_id: str, last_event_id: str = "", **headers: str) -> Iterator[Reader]:
        sent = {"last-event-id": last_event_id, **headers}
        with self.http.stream("GET", events_of(stream_id), headers=sent) as reply:
            assert reply.status_code == 200, reply.read()
            yield Reader(reply)

    def refused(self, stream_id: str, last_event_id: str = "", **headers: str) -> tuple[int, str]:
        reply = self.http.get(events_of(stream_id), headers={"last-event-id": last_event_id, **headers})
        return reply.status_code, reply.json()["error"]["code"] if reply.content else ""


def events_of(stream_id: str) -> str:
    return f"/api/ai/responses/{stream_id}/events"


@pytest.fixture
def site_of(live: Live, serve: Any) -> Callable[..., AbstractContextManager[Site]]:
    @contextmanager
    def make(pieces: int = 6, *, keys: bool = False, **server: Any) -> Iterator[Site]:
        provider = Gated(pieces)
        served = serve(provider, **server)
        if keys:
            served.callers = callers()
        with live(served) as running:
            site = Site(running, provider)
            with site.http:
                yield site

    return make


SiteOf = Callable[..., AbstractContextManager[Site]]


def test_after_a_cut_connection_exactly_the_missed_events_come(site_of: SiteOf) -> None:
    with site_of() as site:
        site.provider.let_go(2)
        with site.begin() as first:
            first.read(3)
            with site.again(first.id) as uncut:
                uncut.read(3)
                first.reply.close()
                # Said while the first caller is away.
                site.provider.let_go(2)
                uncut.read(2)
                with site.again(first.id, first.seen[-1].id) as later:
                    assert [event.id for event in later.read(2)] == [event.id for event in uncut.seen[3:5]]
                    site.provider.let_go(2)
                    later.rest()
                uncut.rest()
    assert first.seen + later.seen == uncut.seen
    assert [event.event for event in uncut.seen] == ["start", *["delta"] * 6, "done"]
    assert [event.id for event in uncut.seen] == [f"{first.id}.{number}" for number in range(8)]
    assert site.provider.calls == 1


def test_the_answer_goes_on_while_nobody_reads_and_is_there_afterwards(site_of: SiteOf) -> None:
    with site_of() as site:
        site.provider.let_go(1)
        with site.begin() as first:
            first.read(2)
        assert becomes(lambda: site.running.server.lifecycle.in_flight == 0)
        site.provider.let_go(5)
        assert site.provider.finished.wait(10)
        with site.again(first.id, first.seen[-1].id) as later:
            later.rest()
        text = [json.loads(event.data)["text"] for event in first.seen + later.seen if event.event == "delta"]
        assert "".join(text) == "".join(f"piece {number} " for number in range(6))
        assert site.refused(first.id, later.seen[-1].id) == (204, "")
    assert not site.provider.cancelled.is_set()


def test_the_id_is_ours_and_told_at_the_start(site_of: SiteOf) -> None:
    with site_of(1) as site:
        site.provider.let_go(2)
        ids = []
        for _ in range(2):
            with site.begin() as reader:
                start, done = json.loads(reader.read(1)[0].data), json.loads(reader.rest()[-1].data)
                assert start["id"] == done["id"] == reader.id
                ids.append(reader.id)
    assert all(re.fullmatch("resp_[0-9a-f]{32}", found) for found in ids)
    assert ids[0] != ids[1]


def test_another_key_cannot_tell_a_stream_from_one_that_never_was(site_of: SiteOf) -> None:
    with site_of(keys=True) as site:
        site.provider.let_go(1)
        with site.begin(**shows("ann")) as first:
            first.read(2)
            for other in (first.id, "resp_" + "0" * 32):
                assert site.refused(other, f"{other}.0", **shows("bob")) == (404, "unknown_stream")
                assert site.http.delete(f"/api/ai/responses/{other}", headers=shows("bob")).status_code == 404
            with site.again(first.id, **shows("ann")) as own:
                assert own.read(2) == first.seen


NONSENSE = ["x", "0", "resp_other.0", "{id}.", "{id}.-1", "{id}.1.1", "{id}.9", "{id}." + "9" * 400, "{id}.१"]


@pytest.mark.parametrize("value", NONSENSE)
def test_a_last_event_id_that_names_no_event_of_the_stream_is_refused(site_of: SiteOf, value: str) -> None:
    with site_of() as site:
        site.provider.let_go(1)
        with site.begin() as first:
            first.read(2)
            sent = value.replace("{id}", first.id).encode()
            reply = site.http.get(events_of(first.id), headers=[(b"last-event-id", sent)])
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
    assert reply.json()["error"]["param"] == "Last-Event-ID"


def test_when_the_grace_time_is_over_the_call_is_cancelled_and_the_stream_expires(site_of: SiteOf) -> None:
    with site_of(resume_grace_s=0.5) as site:
        site.provider.let_go(1)
        with site.begin() as first:
            first.read(2)
        assert site.provider.cancelled.wait(10)
        assert site.refused(first.id, first.seen[-1].id) == (410, "stream_expired")
        assert becomes(lambda: site.refused(first.id, first.seen[-1].id) == (404, "unknown_stream"))


def test_events_that_were_dropped_for_want_of_memory_are_told_as_gone(site_of: SiteOf) -> None:
    with site_of(200, resume_buffer_bytes=8 * 4_000) as site:
        site.provider.let_go(200)
        with site.begin() as first:
            assert first.rest()[-1].event == "done"
        assert site.refused(first.id) == (410, "stream_expired")
        with site.again(first.id, first.seen[-4].id) as later:
            assert later.rest() == first.seen[-3:]


def test_a_stream_can_be_ended_at_once_and_its_readers_are_told(site_of: SiteOf) -> None:
    with site_of() as site:
        site.provider.let_go(1)
        with site.begin() as first, site.again(first.id) as second:
            first.read(2)
            ended = site.http.delete(f"/api/ai/responses/{first.id}")
            assert (ended.status_code, ended.content) == (204, b"")
            assert site.provider.cancelled.wait(5)
            for reader in (first, second):
                last = reader.rest()[-1]
                assert last.event == "error"
                assert json.loads(last.data)["error"]["code"] == "stream_expired"
                # Not an event of the stream: the browser's own reconnecting must not count it as one.
                assert last.id == f"{first.id}.1"
        assert site.http.delete(f"/api/ai/responses/{first.id}").status_code == 204
        assert site.http.delete("/api/ai/responses/other").status_code == 404


@pytest.mark.parametrize("off", [{"resume_grace_s": 0}, {"resume_buffer_bytes": 0}])
def test_without_grace_or_memory_a_stream_ends_with_its_caller(site_of: SiteOf, off: dict[str, int]) -> None:
    with site_of(**off) as site:
        site.provider.let_go(1)
        with site.http.stream("POST", PATH, json=ASKED) as reply:
            assert "x-waypost-response-id" not in reply.headers
            assert "start" in next(reply.iter_text())
        assert site.provider.cancelled.wait(5)
        assert site.refused("resp_1") == (404, "unknown_stream")


def test_a_stream_that_nobody_reads_does_not_hold_up_a_shutdown(site_of: SiteOf) -> None:
    with site_of(shutdown_grace_s=60) as site:
        site.provider.let_go(1)
        with site.begin() as first:
            first.read(2)
        assert becomes(lambda: site.running.server.lifecycle.in_flight == 0)
        site.running.server.drain()
        site.running.thread.join(10)
        assert not site.running.thread.is_alive()
    assert site.provider.cancelled.is_set()
    assert site.running.served.closed == 1


def test_an_error_in_the_middle_is_the_last_event_for_everybody(live: Live, serve: Any, scripted: Any) -> None:
    with live(serve(scripted("a", RuntimeError("the secret")))) as running:
        site = Site(running, Gated(0))
        with site.http, site.begin(**{"x-request-id": "mine"}) as first:
            first.rest()
            with site.again(first.id) as later:
                assert later.rest() == first.seen
    error = json.loads(first.seen[-1].data)["error"]
    assert [event.event for event in first.seen] == ["start", "delta", "error"]
    assert (error["code"], error["request_id"]) == ("internal_error", "mine")
    assert first.seen[-1].id == f"{first.id}.2"
