"""gateway/resume.py: a reader that comes back misses nothing, or is told so."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.clock import Clock, settle

from waypost.errors import InvalidRequest, RequestError, StreamExpired, UnknownStream
from waypost.gateway.resume import BEFORE_FIRST, EndKind, Reading, ResumeBuffers, StreamWriter, event_id, number_after

GRACE_S = 30.0


@dataclass
class Stage:
    """Buffers on a clock of their own, and which producers were told to stop."""

    max_bytes: int = 1_000_000
    per_stream_bytes: int = 100_000
    clock: Clock = field(default_factory=Clock)
    stopped: list[str] = field(default_factory=list)
    buffers: ResumeBuffers = field(init=False)

    def __post_init__(self) -> None:
        self.buffers = ResumeBuffers(GRACE_S, self.max_bytes, self.per_stream_bytes, self.clock, self.clock.call_later)

    def open(self, stream_id: str = "s", tenant: str = "t") -> StreamWriter:
        return self.buffers.open(stream_id, tenant, lambda: self.stopped.append(stream_id))

    def written(self, *events: bytes, stream_id: str = "s", end: EndKind | None = "finished") -> StreamWriter:
        writer = self.open(stream_id)
        for event in events:
            writer.append(event)
        if end is not None:
            writer.end(end)
        return writer


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def rest(reading: Reading) -> bytes:
    with reading:
        return b"".join([piece async for piece in reading])


async def test_every_reader_gets_what_it_missed_and_then_what_comes(stage: Stage) -> None:
    writer = stage.open()
    assert writer.next_id == "s.0"
    assert [writer.append(event) for event in (b"a", b"b", b"c")] == ["s.0", "s.1", "s.2"]
    readers = [asyncio.create_task(rest(stage.buffers.read("s", "t", after))) for after in (BEFORE_FIRST, 0, 2)]
    await settle()
    assert writer.append(b"d") == "s.3"
    await settle()
    assert not any(reader.done() for reader in readers)
    writer.append(b"e")
    writer.end("finished")
    assert await asyncio.gather(*readers) == [b"abcde", b"bcde", b"de"]


async def test_an_ended_stream_stays_readable_for_the_grace_time_and_then_holds_no_memory(stage: Stage) -> None:
    stage.written(b"a", b"b")
    stage.clock.advance(GRACE_S - 0.1)
    assert await rest(stage.buffers.read("s", "t", 0)) == b"b"
    assert await rest(stage.buffers.read("s", "t", 1)) == b""
    stage.clock.advance(0.1)
    with pytest.raises(UnknownStream):
        stage.buffers.read("s", "t")
    assert (len(stage.buffers), stage.buffers.size_bytes, stage.stopped) == (0, 0, [])


async def test_who_reads_an_ended_stream_slowly_is_not_cut_off_by_the_grace_time(stage: Stage) -> None:
    stage.written(b"a", b"b")
    with stage.buffers.read("s", "t") as reading:
        stage.clock.advance(GRACE_S * 3)
        assert await rest(reading) == b"ab"
    stage.clock.advance(GRACE_S * 2)
    assert stage.buffers.size_bytes == 0


async def test_the_producer_goes_on_for_the_grace_time_after_its_last_reader_and_is_then_stopped_once(
    stage: Stage,
) -> None:
    writer = stage.open()
    first, second = stage.buffers.read("s", "t"), stage.buffers.read("s", "t")
    first.close()
    first.close()
    stage.clock.advance(GRACE_S * 2)
    assert stage.stopped == []
    second.close()
    stage.clock.advance(GRACE_S - 0.1)
    writer.append(b"a")
    assert stage.stopped == []
    stage.clock.advance(0.2)
    assert stage.stopped == ["s"]
    stage.clock.advance(GRACE_S * 2)
    assert stage.stopped == ["s"]


async def test_a_reader_that_comes_back_in_time_keeps_the_producer_going(stage: Stage) -> None:
    writer = stage.open()
    for _ in range(3):
        stage.clock.advance(GRACE_S - 1)
        stage.buffers.read("s", "t").close()
    stage.clock.advance(GRACE_S - 1)
    writer.append(b"a")
    writer.end("finished")
    stage.clock.advance(GRACE_S - 1)
    assert stage.stopped == []
    assert await rest(stage.buffers.read("s", "t")) == b"a"


async def test_a_stream_that_nobody_ever_read_is_stopped(stage: Stage) -> None:
    stage.open()
    stage.clock.advance(GRACE_S)
    assert stage.stopped == ["s"]


async def test_a_stream_that_was_stopped_never_looks_finished(stage: Stage) -> None:
    writer = stage.open()
    writer.append(b"a")
    stage.clock.advance(GRACE_S)
    # What the producer still says while it is being cancelled changes nothing.
    writer.append(b"[DONE]")
    writer.end("finished")
    reading = stage.buffers.read("s", "t")
    assert await anext(reading) == b"a"
    with pytest.raises(StreamExpired, match="stopped"):
        await anext(reading)
    assert reading.end == "cancelled"
    with pytest.raises(StreamExpired, match="stopped"):
        stage.buffers.read("s", "t", 0)


async def test_a_producer_that_vanishes_without_an_end_is_not_taken_for_finished(stage: Stage) -> None:
    with stage.open() as writer:
        writer.append(b"a")
        reading = asyncio.create_task(rest(stage.buffers.read("s", "t")))
        await settle()
    with pytest.raises(StreamExpired):
        await reading
    assert stage.stopped == []


@pytest.mark.parametrize("kind", ["finished", "failed"])
async def test_a_reader_can_tell_how_the_stream_ended(stage: Stage, kind: EndKind) -> None:
    writer = stage.open()
    with writer, stage.buffers.read("s", "t") as reading:
        writer.append(b"a")
        assert reading.end is None
        writer.end(kind)
        writer.append(b"too late")
    assert await rest(reading) == b"a"
    assert reading.end == kind


@pytest.mark.parametrize(("stream_id", "tenant"), [("other", "t"), ("s", "other"), ("", ""), ("s.0", "t")])
def test_the_stream_of_another_tenant_is_as_unknown_as_one_that_never_was(
    stage: Stage, stream_id: str, tenant: str
) -> None:
    stage.written(b"a")
    with pytest.raises(UnknownStream) as caught:
        stage.buffers.read(stream_id, tenant)
    assert (caught.value.code, caught.value.http_status) == ("unknown_stream", 404)
    assert str(caught.value) == f"There is no such stream. {UnknownStream.advice}"


@pytest.mark.parametrize("number", [3, 4, 10**11, -2])
def test_one_cannot_go_on_from_an_event_that_never_was(stage: Stage, number: int) -> None:
    stage.written(b"a", b"b", b"c", end=None)
    with pytest.raises(InvalidRequest) as caught:
        stage.buffers.read("s", "t", number)
    assert caught.value.param == "Last-Event-ID"


async def test_a_stream_over_its_bound_loses_its_oldest_events_and_says_so_to_who_asks_for_those() -> None:
    stage = Stage(per_stream_bytes=5_000)
    writer = stage.open()
    slow = stage.buffers.read("s", "t")
    for number in range(10):
        writer.append(b"%d" % number * 1_000)
    for lost in (slow, None):
        with pytest.raises(StreamExpired) as caught:
            await anext(lost or stage.buffers.read("s", "t", 0))
        assert (caught.value.code, caught.value.http_status) == ("stream_expired", 410)
        assert "no longer here" in str(caught.value)
    writer.end("finished")
    assert await rest(stage.buffers.read("s", "t", 8)) == b"9" * 1_000
    assert stage.buffers.size_bytes <= 5_000


async def test_one_event_over_the_bound_still_reaches_a_reader_that_keeps_up() -> None:
    stage = Stage(per_stream_bytes=1_000)
    writer = stage.open()
    writer.append(b"a")
    with stage.buffers.read("s", "t") as reading:
        assert await anext(reading) == b"a"
        for _ in range(3):
            writer.append(b"x" * 10_000)
            assert await anext(reading) == b"x" * 10_000


async def test_when_all_is_full_the_streams_that_ended_first_go_first_and_then_the_writer_s_own_events() -> None:
    stage = Stage(max_bytes=20_000)
    live = stage.written(b"l" * 4_000, stream_id="live", end=None)
    known = [known_of(stage, "abc")]
    for stream_id in "abc":
        stage.written(b"x" * 4_000, stream_id=stream_id)
        known.append(known_of(stage, "abc"))
    for _ in range(2):
        live.append(b"l" * 5_000)
        known.append(known_of(stage, "abc"))
    assert known == ["", "a", "ab", "bc", "c", ""]
    assert await anext(stage.buffers.read("live", "t")) == b"l" * 14_000
    live.append(b"m" * 9_000)
    with pytest.raises(StreamExpired):
        stage.buffers.read("live", "t")
    assert await anext(stage.buffers.read("live", "t", 1)) == b"l" * 5_000 + b"m" * 9_000
    assert stage.buffers.size_bytes <= 20_000


def known_of(stage: Stage, stream_ids: str) -> str:
    known = ""
    for stream_id in stream_ids:
        with suppress(UnknownStream):
            stage.buffers.read(stream_id, "t").close()
            known += stream_id
    return known


async def test_who_reads_an_ended_stream_that_is_dropped_is_told() -> None:
    stage = Stage(max_bytes=10_000)
    stage.written(b"x" * 4_000, stream_id="a")
    behind, done = stage.buffers.read("a", "t"), stage.buffers.read("a", "t")
    assert await anext(done)
    stage.written(b"x" * 7_000, stream_id="b")
    with pytest.raises(StreamExpired):
        await anext(behind)
    with pytest.raises(StopAsyncIteration):
        await anext(done)


async def test_live_streams_alone_stay_near_the_bound_and_a_paced_reader_still_loses_nothing() -> None:
    """Eight streams want ten times the memory there is; each reader gets all of its stream."""
    stage = Stage(max_bytes=30_000, per_stream_bytes=1_000_000)
    heaviest = 0

    async def produce(writer: StreamWriter) -> None:
        nonlocal heaviest
        with writer:
            for number in range(40):
                writer.append(b"%02d" % number * 500)
                heaviest = max(heaviest, stage.buffers.size_bytes)
                await writer.ready()
            writer.end("finished")

    async def read(reading: Reading) -> bytes:
        got = b""
        async for piece in reading:
            got += piece
            await asyncio.sleep(0)
        return got

    writers = [stage.open(str(number)) for number in range(8)]
    reading = [read(stage.buffers.read(str(number), "t")) for number in range(8)]
    _, *got = await asyncio.gather(asyncio.gather(*map(produce, writers)), *reading)
    assert got == [b"".join(b"%02d" % number * 500 for number in range(40))] * 8
    assert heaviest <= 30_000 + 8 * 1_100


async def test_a_fast_producer_waits_for_a_slow_reader_and_for_nobody_when_there_is_none() -> None:
    stage = Stage(per_stream_bytes=10_000)
    writer = stage.open()
    reading = stage.buffers.read("s", "t")
    for _ in range(6):
        writer.append(b"x" * 1_000)
    waiting = asyncio.create_task(writer.ready())
    await settle()
    assert not waiting.done()
    assert len(await anext(reading)) == 6_000
    await asyncio.wait_for(waiting, 1)
    for _ in range(6):
        writer.append(b"x" * 1_000)
    waiting = asyncio.create_task(writer.ready())
    await settle()
    assert not waiting.done()
    reading.close()
    await asyncio.wait_for(waiting, 1)


async def test_a_reader_that_hangs_does_not_hold_up_the_one_that_came_back_in_its_place() -> None:
    stage = Stage(per_stream_bytes=10_000)
    writer = stage.open()
    hanging = stage.buffers.read("s", "t")
    for _ in range(6):
        writer.append(b"x" * 1_000)
    back = stage.buffers.read("s", "t", 5)
    await asyncio.wait_for(writer.ready(), 1)
    for _ in range(20):
        writer.append(b"y" * 1_000)
        assert await anext(back) == b"y" * 1_000
        await asyncio.wait_for(writer.ready(), 1)
    with pytest.raises(StreamExpired):
        await anext(hanging)


async def test_ids_that_a_provider_gives_twice_lead_to_the_newer_stream_and_harm_nobody(stage: Stage) -> None:
    old = stage.open()
    old.append(b"old ")
    reading = stage.buffers.read("s", "t")
    new = stage.open()
    new.append(b"new")
    theirs = stage.open(tenant="u")
    theirs.append(b"theirs")
    old.append(b"one")
    for writer in (old, new, theirs):
        writer.end("finished")
    assert await rest(reading) == b"old one"
    assert await rest(stage.buffers.read("s", "t")) == b"new"
    assert await rest(stage.buffers.read("s", "u")) == b"theirs"
    stage.written(b"newest")
    assert await rest(stage.buffers.read("s", "t")) == b"newest"
    stage.clock.advance(GRACE_S)
    assert (len(stage.buffers), stage.buffers.size_bytes) == (0, 0)


async def test_closing_stops_what_nobody_reads(stage: Stage) -> None:
    stage.open("unread")
    stage.open("read")
    stage.buffers.read("read", "t")
    stage.buffers.close()
    assert stage.stopped == ["unread"]


async def test_by_default_time_is_the_event_loop_s() -> None:
    """With the real clock: nobody reads, so the producer is stopped after the grace time of 10 ms."""
    stopped = asyncio.Event()
    buffers = ResumeBuffers(0.01, 10_000, 1_000)
    buffers.open("s", "t", stopped.set)
    await asyncio.wait_for(stopped.wait(), 5)
    buffers.close()


@pytest.mark.parametrize(
    ("header", "number"),
    [(None, -1), ("", -1), ("resp.1:a.0", 0), ("resp.1:a.12", 12), ("resp.1:a.007", 7)],
)
def test_the_number_of_a_last_event_id(header: str | None, number: int) -> None:
    assert number_after("resp.1:a", header) == number


@pytest.mark.parametrize(
    "header",
    [
        *("0", "other.0", "RESP.1:A.0", "x" * 100_000, "\0"),
        *(f"resp.1:a.{number}" for number in ("", "-1", "1.2", "٣", "1e3", "1\n", " 1", "9" * 5_000)),
    ],
)
def test_a_last_event_id_that_is_none_of_this_stream_s_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        number_after("resp.1:a", header)
    assert caught.value.param == "Last-Event-ID"
    assert len(str(caught.value)) < 300


@given(st.integers(0, 10**12 - 1))
def test_every_event_id_is_read_back(number: int) -> None:
    assert number_after("a.b", event_id("a.b", number)) == number


STEPS = st.tuples(st.sampled_from(["open", "append", "append", "end", "read", "close", "wait"]), st.integers(0, 3))


@given(st.lists(STEPS, max_size=150))
async def test_whatever_happens_readers_see_no_gap_and_no_memory_leaks(steps: list[tuple[str, int]]) -> None:
    stage = Stage(max_bytes=12_000, per_stream_bytes=4_000)
    writers: list[StreamWriter] = []
    readers: list[tuple[Reading, list[bytes]]] = []
    for step, number in steps:
        match step:
            case "open":
                writers.append(stage.open(str(number)))
            case "append" if writers:
                writer = writers[number % len(writers)]
                writer.append(writer.next_id.rpartition(".")[2].encode().ljust(300 * number + 4))
            case "end" if writers:
                writers[number % len(writers)].end("finished")
            case "read":
                readers += [(found, []) for found in opened(stage, number)]
            case "close" if readers:
                readers[number % len(readers)][0].close()
            case "wait":
                stage.clock.advance(number * 10.0)
        await drain(readers)
        assert stage.buffers.size_bytes <= 12_000 + len(writers) * 2_000
    for reading, pieces in readers:
        reading.close()
        numbers = [int(text) for text in b"".join(pieces).split()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    stage.clock.advance(GRACE_S)
    stage.clock.advance(GRACE_S * 2)
    assert (len(stage.buffers), stage.buffers.size_bytes) == (0, 0)


def opened(stage: Stage, number: int) -> list[Reading]:
    try:
        return [stage.buffers.read(str(number), "t", number - 1)]
    except RequestError:
        return []


async def drain(readers: list[tuple[Reading, list[bytes]]]) -> None:
    """Give every reader what is there for it now."""
    for reading, pieces in readers:
        task = asyncio.ensure_future(anext(reading, b""))
        await asyncio.sleep(0)
        if task.done():
            with suppress(StreamExpired):
                pieces.append(task.result())
        else:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
