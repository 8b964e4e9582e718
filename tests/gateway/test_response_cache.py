"""gateway/response_cache.py: who gets an answer again, and who never does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.clock import Clock

from waypost.codecs.jsonbytes import MAX_DEPTH
from waypost.gateway.response_cache import VOLATILE, ResponseCache, Wish, cache_key, wish_of
from waypost.server.doors.table import CALLS

HEAD = ((b"content-type", b"application/json"), (b"x-waypost-model", b"m"))
KEY, OTHER = b"k" * 32, b"o" * 32
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":1}'


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ResponseCache:
    return ResponseCache(100_000, clock)


def key_of(
    body: bytes,
    *,
    tenant: str = "t",
    route: str = "r",
    wire: str = "openai_chat",
    stream: bool = False,
    also: Sequence[str] = (),
) -> bytes:
    key = cache_key(tenant, route, wire, stream=stream, body=body, also=also)
    assert key is not None
    return key


def answered(cache: ResponseCache, key: bytes = KEY, *, body: bytes = b"answer", ttl_s: float = 60.0) -> bool:
    recording = cache.record(key, ttl_s)
    recording.start(200, HEAD)
    recording.append(body)
    return recording.finish(complete=True)


def test_a_complete_answer_is_told_again_and_says_how_old_it_is(cache: ResponseCache, clock: Clock) -> None:
    recording = cache.record(KEY, 60.0)
    recording.start(200, HEAD)
    for piece in (b"data: 1\n\n", b"data: [DONE]\n\n"):
        recording.append(piece)
    assert cache.look_up(KEY) is None
    assert recording.finish(complete=True)
    clock.advance(59.9)
    hit = cache.look_up(KEY)
    assert hit is not None
    assert hit.body == b"data: 1\n\ndata: [DONE]\n\n"
    assert hit.headers == (*HEAD, (b"x-waypost-cache", b"hit"), (b"age", b"59"))
    assert hit.age_s == pytest.approx(59.9)


def test_the_age_runs_from_the_end_of_the_answer_and_a_hit_does_not_make_it_younger(
    cache: ResponseCache, clock: Clock
) -> None:
    answered(cache)
    clock.advance(30.0)
    assert cache.look_up(KEY) is not None
    clock.advance(30.0)
    assert cache.look_up(KEY) is None
    assert (len(cache), cache.size_bytes) == (0, 0)


@pytest.mark.parametrize("status", [201, 204, 304, 400, 429, 500, 502])
def test_nothing_but_status_200_is_kept(cache: ResponseCache, status: int) -> None:
    recording = cache.record(KEY, 60.0)
    recording.start(status, HEAD)
    recording.append(b"{}")
    assert not recording.finish(complete=True)
    assert cache.look_up(KEY) is None


def test_a_stream_that_was_cut_or_broke_is_not_kept(cache: ResponseCache) -> None:
    for ended in (True, False):
        recording = cache.record(KEY, 60.0)
        recording.start(200, HEAD)
        recording.append(b'data: {"half": ')
        if ended:
            assert not recording.finish(complete=False)
            assert not recording.finish(complete=True)
        del recording
        assert cache.look_up(KEY) is None


def test_headers_of_the_one_request_are_not_told_to_another(cache: ResponseCache) -> None:
    recording = cache.record(KEY, 60.0)
    own = [(b"X-Request-Id", b"req_1"), (b"set-cookie", b"a=b"), (b"x-ratelimit-remaining", b"1"), (b"age", b"7")]
    recording.start(200, [*own, (b"Content-Type", b"text/plain"), (b"x-waypost-attempts", b"3")])
    assert recording.finish(complete=True)
    hit = cache.look_up(KEY)
    assert hit is not None
    assert [name for name, _ in hit.headers] == [b"Content-Type", b"x-waypost-cache", b"age"]


def test_an_answer_over_the_bound_is_not_kept_and_not_held_while_it_is_recorded(clock: Clock) -> None:
    cache = ResponseCache(100_000, clock, max_answer_bytes=1_000)
    recording = cache.record(KEY, 60.0)
    recording.start(200, HEAD)
    for _ in range(3):
        recording.append(b"x" * 500)
    assert recording._chunks == []
    assert not recording.finish(complete=True)
    assert not cache.keep(OTHER, HEAD, b"x" * 1_001, 60.0)
    assert answered(cache, body=b"x" * 1_000)


def test_the_least_recently_used_goes_first(clock: Clock) -> None:
    cache = ResponseCache(20_000, clock, max_answer_bytes=10_000)
    keys = [bytes([number]) * 32 for number in range(4)]
    for key in keys[:3]:
        assert answered(cache, key, body=b"x" * 5_500)
        assert cache.look_up(keys[0])
    answered(cache, keys[3], body=b"x" * 5_500)
    assert [cache.look_up(key) is not None for key in keys] == [True, False, True, True]
    assert cache.size_bytes <= 20_000
    cache.clear()
    assert (len(cache), cache.size_bytes, cache.look_up(keys[0])) == (0, 0, None)


def test_a_newer_answer_takes_the_place_of_the_older(cache: ResponseCache, clock: Clock) -> None:
    answered(cache, body=b"old")
    weight = cache.size_bytes
    clock.advance(10.0)
    answered(cache, body=b"new")
    hit = cache.look_up(KEY)
    assert hit is not None
    assert (hit.body, hit.age_s, len(cache), cache.size_bytes) == (b"new", 0.0, 1, weight)


@pytest.mark.parametrize(
    ("header", "wish"),
    [
        (None, Wish()),
        ("", Wish()),
        ("no-store", Wish(reads=False, writes=False)),
        ("No-Cache", Wish(reads=False)),
        ("max-age=0", Wish(max_age_s=0.0)),
        (' private , max-age="30"', Wish(max_age_s=30.0)),
        ("max-age=soon, max-stale", Wish()),
        ("max-age=-1", Wish()),
        ("max-age=³", Wish()),
        ("max-age=" + "9" * 5_000, Wish()),
        ("no-cache, no-store", Wish(reads=False, writes=False)),
    ],
)
def test_what_cache_control_asks_for(header: str | None, wish: Wish) -> None:
    assert wish_of(header) == wish


def test_a_caller_may_refuse_an_answer_that_others_still_get(cache: ResponseCache, clock: Clock) -> None:
    answered(cache)
    clock.advance(5.0)
    assert cache.look_up(KEY, max_age_s=4.0) is None
    assert cache.look_up(KEY, max_age_s=5.0) is not None


@pytest.mark.parametrize(
    "same",
    [
        b' { "model" : "m",\n"messages":[ {"role":"user","content":"hi"} ], "temperature":1 }',
        b'{"temperature":1,"messages":[{"role":"user","content":"hi"}],"model":"m"}',
        b'{"user":"u","metadata":{"a":"b"},"safety_identifier":"s",' + BODY[1:],
    ],
)
def test_white_space_order_at_the_top_and_who_asks_do_not_matter(same: bytes) -> None:
    assert key_of(same) == key_of(BODY)


@pytest.mark.parametrize(
    "other",
    [
        BODY.replace(b"hi", b"h i"),
        BODY.replace(b":1}", b":1.0}"),
        BODY.replace(b'{"role":"user","content":"hi"}', b'{"content":"hi","role":"user"}'),
        b'{"seed":1,' + BODY[1:],
        b'{"stream_options":{"include_usage":true},' + BODY[1:],
        b'{"store" : true ,' + BODY[1:],
    ],
)
def test_whatever_may_change_the_answer_does(other: bytes) -> None:
    assert key_of(other) != key_of(BODY)


def test_large_numbers_are_told_apart_and_what_the_provider_stores_is_stored_for_each_user() -> None:
    big = [BODY.replace(b":1}", b":1000000000000000000000000%d}" % last) for last in (1, 2)]
    stored = [b'{"store":true,"user":"%s",' % user + BODY[1:] for user in (b"u", b"v")]
    assert len({key_of(body) for body in (*big, *stored)}) == 4


def test_tenant_route_format_and_stream_are_in_the_key() -> None:
    keys = {
        key_of(BODY),
        key_of(BODY, tenant="u"),
        key_of(BODY, route="s"),
        key_of(BODY, wire="anthropic_messages"),
        key_of(BODY, stream=True),
        key_of(BODY, tenant="tr", route=""),
        key_of(BODY, tenant="", route="tr"),
        key_of(BODY, also=["alt=sse"]),
        key_of(BODY, also=["alt=", "sse"]),
    }
    assert len(keys) == 9


def test_every_wire_format_has_decided_what_is_volatile() -> None:
    assert set(VOLATILE) == {door.codec.name for door in CALLS.values()}


def test_answers_that_repeat_who_asked_are_not_shared_between_those_who_ask() -> None:
    """The Responses format echoes `metadata` and `user`."""
    named = [b'{"metadata":{"user":"%s"},"input":"hi"}' % name for name in (b"a", b"b")]
    assert key_of(named[0], wire="openai_responses") != key_of(named[1], wire="openai_responses")
    assert key_of(named[0], wire="anthropic_messages") == key_of(named[1], wire="anthropic_messages")


@pytest.mark.parametrize(
    "body",
    [b"", b"[1]", b"null", b"{", b"{} x", b'{"\xff":1}', b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":' + b"[" * 9_999],
)
def test_what_is_no_json_object_has_no_key(body: bytes) -> None:
    assert cache_key("t", "r", "openai_chat", stream=False, body=body) is None


def test_the_deepest_body_that_a_door_lets_in_has_a_key() -> None:
    assert key_of(b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}")


@given(
    st.lists(st.tuples(st.sampled_from("akw"), st.integers(0, 5), st.integers(0, 30)), max_size=100),
)
def test_whatever_happens_the_weight_is_the_sum_and_under_the_bound(steps: list[tuple[str, int, int]]) -> None:
    clock = Clock()
    cache = ResponseCache(10_000, clock, max_answer_bytes=3_000)
    for step, number, amount in steps:
        key = bytes([number]) * 32
        match step:
            case "a":
                answered(cache, key, body=b"x" * 150 * amount, ttl_s=10.0)
            case "k":
                hit = cache.look_up(key)
                assert hit is None or hit.age_s < 10.0
            case _:
                clock.advance(amount / 10)
        assert cache.size_bytes == sum(kept.size_bytes for kept in cache._kept.values()) <= 10_000
