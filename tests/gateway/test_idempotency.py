"""gateway/idempotency.py: one key, one answer, one charge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.clock import Clock, settle

from waypost.errors import AnswerNotKept, AnswerUnderWay, IdempotencyConflict, InvalidRequest, ServerBusy
from waypost.gateway.idempotency import Fresh, IdempotencyStore, Pending, Replay, body_digest, checked_key, replay_of
from waypost.ledger.durable_answers import KeptAnswer

PATH = "/v1/chat/completions"
BODY = body_digest(b'{"model": "m"}')
OTHER = body_digest(b'{"model": "n"}')
HEAD = ((b"content-type", b"text/event-stream"),)
REPLAYED = (b"idempotent-replayed", b"true")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> IdempotencyStore:
    return IdempotencyStore(ttl_s=100.0, max_bytes=1_000_000, clock=clock)


def begun(store: IdempotencyStore, key: str = "k", *, tenant: str = "t", digest: bytes = BODY) -> Fresh:
    fresh = store.begin(tenant, PATH, key, digest)
    assert isinstance(fresh, Fresh)
    return fresh


def again(store: IdempotencyStore, key: str = "k", digest: bytes = BODY) -> Fresh | Pending | Replay:
    return store.begin("t", PATH, key, digest)


def joined(store: IdempotencyStore, key: str = "k") -> Pending:
    pending = again(store, key)
    assert isinstance(pending, Pending)
    return pending


def answered(store: IdempotencyStore, key: str = "k", *, status: int = 200, body: bytes = b"answer") -> None:
    with begun(store, key) as fresh:
        fresh.start(status, HEAD)
        fresh.append(body)
        fresh.finish()


async def all_of(chunks: AsyncIterator[bytes]) -> list[bytes]:
    return [chunk async for chunk in chunks]


async def test_the_second_time_the_first_answer_is_told_again_byte_by_byte_and_marked(
    store: IdempotencyStore, clock: Clock
) -> None:
    with begun(store) as fresh:
        fresh.start(200, HEAD)
        clock.advance(1.0)
        fresh.append(b"data: 1\n\n")
        clock.advance(2.0)
        fresh.append(b"data: [DONE]\n\n")
        fresh.finish()
    for _ in range(2):
        replay = again(store)
        assert isinstance(replay, Replay)
        assert await replay.head() == (200, (*HEAD, REPLAYED))
        assert await all_of(replay.chunks()) == [b"data: 1\n\n", b"data: [DONE]\n\n"]
        assert [chunk.after_s for chunk in replay.recorded] == [1.0, 3.0]


async def test_who_asks_while_it_runs_gets_what_was_sent_and_then_what_comes_live(store: IdempotencyStore) -> None:
    with begun(store) as fresh:
        early = joined(store)
        head = asyncio.create_task(early.head())
        await settle()
        assert not head.done()
        fresh.start(200, HEAD)
        assert await head == (200, (*HEAD, REPLAYED))
        fresh.append(b"one ")
        got: list[bytes] = []

        async def read(pending: Pending) -> None:
            async for chunk in pending.chunks():
                got.append(chunk)

        reading = asyncio.create_task(read(joined(store)))
        await settle()
        assert got == [b"one "]
        fresh.append(b"two")
        await settle()
        assert got == [b"one ", b"two"]
        assert not reading.done()
        fresh.finish()
        await reading
    assert await all_of(early.chunks()) == [b"one ", b"two"]


@pytest.mark.parametrize(
    ("tenant", "path", "key"), [("other", PATH, "k"), ("t", "/v1/messages", "k"), ("t", PATH, "K")]
)
def test_another_tenant_path_or_key_knows_nothing_of_it(
    store: IdempotencyStore, tenant: str, path: str, key: str
) -> None:
    answered(store)
    assert isinstance(store.begin(tenant, path, key, OTHER), Fresh)


def test_the_same_key_with_another_body_is_refused_while_it_runs_and_after(store: IdempotencyStore) -> None:
    with begun(store) as fresh:
        with pytest.raises(IdempotencyConflict) as running:
            again(store, digest=OTHER)
        fresh.start(200, HEAD)
        fresh.finish()
    with pytest.raises(IdempotencyConflict) as ended:
        again(store, digest=OTHER)
    for caught in (running, ended):
        told = caught.value
        assert (told.code, told.http_status, told.param) == ("idempotency_key_reused", 422, "Idempotency-Key")
        assert "new Idempotency-Key" in told.hint


def test_the_query_is_part_of_what_was_asked_and_cannot_be_taken_for_the_body() -> None:
    assert len({body_digest(b"ab"), body_digest(b"b", b"a"), body_digest(b"", b"ab"), body_digest(b"a", b"b")}) == 4


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\tkey", "new\nline", "clé", "\x7f"])
def test_keys_are_1_to_255_printable_characters(store: IdempotencyStore, key: str) -> None:
    with pytest.raises(InvalidRequest, match="255"):
        again(store, key)
    assert checked_key("k" * 255)
    assert checked_key('"8e03978e-40d5-43dd-bc93-6894a57f9324"')
    assert len(store) == 0


@pytest.mark.parametrize(
    ("status", "remembered"),
    [
        *((status, True) for status in (200, 400, 413, 422)),
        *((status, False) for status in (401, 404, 408, 409, 429, 500, 502, 503, 529)),
    ],
)
def test_errors_that_another_try_may_mend_free_their_key_and_others_are_remembered(
    store: IdempotencyStore, status: int, remembered: bool
) -> None:
    answered(store, status=status)
    assert isinstance(again(store), Replay if remembered else Fresh)


async def test_who_joined_gets_even_an_error_that_is_not_remembered(store: IdempotencyStore) -> None:
    with begun(store) as fresh:
        pending = joined(store)
        fresh.start(503, HEAD)
        fresh.append(b"busy")
        fresh.finish()
    assert isinstance(again(store), Fresh)
    assert (await pending.head())[0] == 503
    assert await all_of(pending.chunks()) == [b"busy"]


def test_an_error_after_a_provider_answered_is_remembered_lest_it_be_billed_twice(store: IdempotencyStore) -> None:
    with begun(store) as fresh:
        fresh.note_billed()
        fresh.start(502, HEAD)
        fresh.finish()
    assert isinstance(again(store), Replay)


async def test_if_the_first_caller_leaves_the_work_goes_on_only_while_somebody_who_joined_reads(
    store: IdempotencyStore,
) -> None:
    fresh = begun(store)
    with joined(store), joined(store) as second:
        deserted = asyncio.create_task(fresh.deserted())
        fresh.leave()
        await settle()
        assert not deserted.done()
    second.close()
    await asyncio.wait_for(deserted, 1)


async def test_nobody_is_deserted_while_the_first_caller_is_there(store: IdempotencyStore) -> None:
    fresh = begun(store)
    deserted = asyncio.create_task(fresh.deserted())
    with joined(store):
        await settle()
    await settle()
    assert not deserted.done()
    fresh.leave()
    await asyncio.wait_for(deserted, 1)


async def test_work_that_ends_without_an_answer_frees_its_key_and_who_joined_is_told_to_ask_again(
    store: IdempotencyStore,
) -> None:
    with begun(store):
        pending = joined(store)
        reading = asyncio.create_task(all_of(pending.chunks()))
        await settle()
    with pytest.raises(ServerBusy, match="without an answer"):
        await reading
    with pytest.raises(ServerBusy):
        await pending.head()
    assert isinstance(again(store), Fresh)


@pytest.mark.parametrize("told_by", ["head", "note_billed"])
async def test_work_that_is_cut_off_after_a_provider_began_is_not_done_again(
    store: IdempotencyStore, told_by: str
) -> None:
    with begun(store) as fresh:
        pending = joined(store)
        if told_by == "head":
            fresh.start(200, HEAD)
            fresh.append(b"half of")
        else:
            fresh.note_billed()
    with pytest.raises(AnswerNotKept):
        await all_of(pending.chunks())
    with pytest.raises(AnswerNotKept) as caught:
        again(store)
    assert (caught.value.code, caught.value.http_status) == ("answer_not_kept", 409)
    assert "billed once more" in caught.value.hint


async def test_an_answer_over_the_bound_reaches_its_caller_is_not_kept_and_is_not_paid_twice(clock: Clock) -> None:
    store = IdempotencyStore(ttl_s=100.0, max_bytes=1_000_000, clock=clock, max_answer_bytes=2_000)
    with begun(store) as fresh:
        pending = joined(store)
        fresh.start(200, HEAD)
        fresh.append(b"x" * 1_000)
        reading = asyncio.create_task(all_of(pending.chunks()))
        await settle()
        fresh.append(b"x" * 1_000)
        with pytest.raises(AnswerNotKept):
            await reading
        with pytest.raises(AnswerNotKept):
            again(store)
        fresh.append(b"x" * 1_000)
        assert store.size_bytes < 1_000
        fresh.finish()
    with pytest.raises(AnswerNotKept):
        again(store)


async def test_when_the_memory_is_full_what_ended_first_loses_its_answer_and_keeps_its_key(clock: Clock) -> None:
    store = IdempotencyStore(ttl_s=100.0, max_bytes=20_000, clock=clock, max_answer_bytes=10_000)
    running = begun(store, "running")
    running.start(200, HEAD)
    for key in ("a", "b", "c"):
        answered(store, key, body=b"x" * 6_000)
    replay = again(store, "b")
    assert isinstance(replay, Replay)
    with pytest.raises(AnswerNotKept):
        again(store, "a")
    answered(store, "d", body=b"x" * 6_000)
    with pytest.raises(AnswerNotKept):
        again(store, "b")
    assert await all_of(replay.chunks()) == [b"x" * 6_000]
    assert isinstance(again(store, "c"), Replay)
    assert isinstance(again(store, "running"), Pending)
    assert store.size_bytes <= 20_000


async def test_who_joined_reads_to_the_end_though_the_answer_was_dropped_right_after_it(clock: Clock) -> None:
    store = IdempotencyStore(ttl_s=100.0, max_bytes=10_000, clock=clock, max_answer_bytes=9_000)
    with begun(store, "a") as fresh:
        pending = joined(store, "a")
        fresh.start(200, HEAD)
        fresh.append(b"x" * 6_000)
        fresh.finish()
    answered(store, "b", body=b"x" * 6_000)
    with pytest.raises(AnswerNotKept):
        again(store, "a")
    assert await pending.head() == (200, (*HEAD, REPLAYED))
    assert await all_of(pending.chunks()) == [b"x" * 6_000]


def test_bare_keys_are_bounded_too(clock: Clock) -> None:
    store = IdempotencyStore(ttl_s=100.0, max_bytes=20_000, clock=clock)
    for number in range(1_000):
        with begun(store, str(number)) as fresh:
            fresh.note_billed()
    assert len(store) < 20
    with pytest.raises(AnswerNotKept):
        again(store, "999")


@pytest.mark.parametrize("billed", [True, False])
def test_after_its_time_a_key_is_free_and_holds_no_memory(store: IdempotencyStore, clock: Clock, billed: bool) -> None:
    with begun(store) as fresh:
        if billed:
            fresh.note_billed()
        else:
            fresh.start(400, HEAD)
            fresh.finish()
    clock.advance(99.9)
    assert len(store) == 1
    clock.advance(0.1)
    begun(store, "another", digest=OTHER).__exit__(None, None, None)
    assert (len(store), store.size_bytes) == (0, 0)
    begun(store, digest=OTHER)


def test_a_running_request_is_never_taken_for_an_old_one(store: IdempotencyStore, clock: Clock) -> None:
    begun(store)
    clock.advance(1_000.0)
    assert isinstance(again(store), Pending)


WRITTEN: dict[str, Callable[[Fresh, int], None]] = {
    "head": lambda fresh, number: fresh.start(500 if number % 2 else 200, HEAD),
    "append": lambda fresh, number: fresh.append(b"x" * 1_000 * number),
    "finish": lambda fresh, number: fresh.finish(),
    "exit": lambda fresh, number: fresh.__exit__(None, None, None),
}
STEPS = st.tuples(st.sampled_from(["begin", "wait", *WRITTEN]), st.integers(0, 5))


@given(st.lists(STEPS, max_size=200))
def test_whatever_happens_the_weight_is_under_the_bound_and_nothing_is_left_in_the_end(
    steps: list[tuple[str, int]],
) -> None:
    clock = Clock()
    store = IdempotencyStore(ttl_s=10.0, max_bytes=20_000, clock=clock, max_answer_bytes=8_000)
    running: dict[int, Fresh] = {}
    for step, number in steps:
        if step == "wait":
            clock.advance(number)
        elif step == "begin":
            with suppress(AnswerNotKept):
                found = again(store, str(number))
                assert isinstance(found, Pending if number in running else (Fresh, Replay))
                running |= {number: found} if isinstance(found, Fresh) else {}
        elif (fresh := running.get(number)) is not None:
            WRITTEN[step](fresh, number)
            if step in ("finish", "exit"):
                del running[number]
        assert store.size_bytes <= 20_000
    for fresh in running.values():
        fresh.__exit__(None, None, None)
    clock.advance(10.0)
    with begun(store, "last"):
        assert len(store) == 1
    assert (len(store), store.size_bytes) == (0, 0)


# What stands before the database


ELSEWHERE = KeptAnswer(200, HEAD, b"data: 1\n\n")


async def test_an_answer_from_elsewhere_is_told_to_all_who_ask_here(store: IdempotencyStore) -> None:
    with begun(store) as fresh:
        waiting = joined(store)
        replay = fresh.fill(ELSEWHERE)
    for each in (replay, waiting, again(store)):
        assert not isinstance(each, Fresh)
        assert await each.head() == (200, (*HEAD, REPLAYED))
        assert await all_of(each.chunks()) == [b"data: 1\n\n"]


async def test_one_that_is_too_large_for_this_memory_is_told_all_the_same(clock: Clock) -> None:
    store = IdempotencyStore(ttl_s=100.0, max_bytes=10_000, clock=clock)
    large = KeptAnswer(200, HEAD, b"x" * 9_000)
    with begun(store) as fresh:
        assert await all_of(fresh.fill(large).chunks()) == [large.body]
    assert await all_of(replay_of(large).chunks()) == [large.body]


async def test_who_waits_is_told_why_the_first_was_not_begun(store: IdempotencyStore) -> None:
    with begun(store) as fresh:
        waiting = joined(store)
        fresh.refuse(AnswerUnderWay("elsewhere"))
    with pytest.raises(AnswerUnderWay):
        await waiting.head()
    begun(store)


ENDINGS: list[tuple[str, int, bool, bool, str]] = [
    ("an answer", 200, True, True, "kept"),
    ("an error that no try would mend", 400, False, True, "kept"),
    ("an error that one may", 503, False, True, "free"),
    ("an error after somebody had begun to answer", 502, True, True, "kept"),
    ("a caller who left before anybody answered", 0, False, False, "free"),
    ("a caller who left in the middle", 200, True, False, "bare"),
]


@pytest.mark.parametrize(
    ("status", "billed", "whole", "fate"), [case[1:] for case in ENDINGS], ids=[case[0] for case in ENDINGS]
)
def test_what_becomes_of_a_key_is_told_for_others_too(
    store: IdempotencyStore, status: int, billed: bool, whole: bool, fate: str
) -> None:
    with begun(store) as fresh:
        with pytest.raises(RuntimeError):
            _ = fresh.ending
        if billed:
            fresh.note_billed()
        if status:
            fresh.start(status, HEAD)
            fresh.append(b"a")
            fresh.append(b"b")
        if whole:
            fresh.finish()
    kept = KeptAnswer(status, HEAD, b"ab") if fate == "kept" else None
    assert (fresh.ending.fate, fresh.ending.answer) == (fate, kept)


def test_an_answer_that_has_no_room_here_is_whole_for_others(clock: Clock) -> None:
    """It is dropped at its very end, for want of memory; too large for one answer is another matter."""
    store = IdempotencyStore(ttl_s=100.0, max_bytes=2_000, clock=clock, max_answer_bytes=1_900)
    runs = [begun(store, key) for key in ("a", "b")]
    for fresh in runs:
        fresh.start(200, HEAD)
    runs[0].append(b"x" * 500)
    runs[0].finish()
    assert runs[0].ending.answer == KeptAnswer(200, HEAD, b"x" * 500)
    runs[1].append(b"x" * 1_890)
    runs[1].finish()
    assert (runs[1].ending.fate, runs[1].ending.answer) == ("bare", None)
