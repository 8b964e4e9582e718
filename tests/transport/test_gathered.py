"""What is written in a busy turn of the loop leaves at its end, whole and in order, and never after a close."""

from __future__ import annotations

import asyncio

import pytest

from waypost.transport.gathered import BUSY_WRITES, HELD_BYTES, MOST_HELD, GatheredWrites


class Inner(asyncio.Transport):
    """A transport that notes in `log` what is done to it."""

    def __init__(self, log: list[object] | None = None) -> None:
        super().__init__()
        self.log: list[object] = [] if log is None else log
        self.closing = False
        self.fails = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.fails:
            raise RuntimeError("it cannot be written to")
        self.log.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True
        self.log.append("closed")

    def abort(self) -> None:
        self.closing = True
        self.log.append("aborted")

    def write_eof(self) -> None:
        self.log.append("eof")


async def end_of_turn() -> None:
    """Returns when all that was called soon before has been done."""
    reached = asyncio.Event()
    asyncio.get_running_loop().call_soon(reached.set)
    await reached.wait()


async def busy_turn() -> None:
    """After it, the loop is taken for a busy one."""
    for _ in range(BUSY_WRITES):
        GatheredWrites(Inner()).write(b"much to do")
    await end_of_turn()


async def test_in_a_quiet_turn_a_write_leaves_at_once() -> None:
    """Before a busy turn, and again after one that was quiet."""
    inner = Inner()
    gathered = GatheredWrites(inner)
    gathered.write(b"at once")
    assert inner.log == [b"at once"]
    await busy_turn()
    gathered.write(b"later")
    assert inner.log == [b"at once"]
    await end_of_turn()
    gathered.write(b"at once again")
    assert inner.log == [b"at once", b"later", b"at once again"]


async def test_writes_of_one_turn_leave_together_at_its_end() -> None:
    await busy_turn()
    inner = Inner()
    gathered = GatheredWrites(inner)
    gathered.write(b"one ")
    gathered.writelines([b"two ", memoryview(b"three")])
    assert inner.log == []
    assert gathered.get_write_buffer_size() == len(b"one two three")
    await end_of_turn()
    assert inner.log == [b"one two three"]
    assert gathered.get_write_buffer_size() == 0


async def test_writes_to_several_connections_leave_in_their_order() -> None:
    await busy_turn()
    log: list[object] = []
    first, second = GatheredWrites(Inner(log)), GatheredWrites(Inner(log))
    first.write(b"a")
    second.write(b"b")
    first.write(b"c")
    await end_of_turn()
    assert log == [b"ac", b"b"]


@pytest.mark.parametrize(("end", "left"), [("close", [b"all", "closed"]), ("write_eof", [b"all", "eof"])])
async def test_an_end_comes_after_what_was_written_before_it(end: str, left: list[object]) -> None:
    await busy_turn()
    inner = Inner()
    gathered = GatheredWrites(inner)
    gathered.write(b"all")
    getattr(gathered, end)()
    assert inner.log == left
    await end_of_turn()
    assert inner.log == left


async def test_an_abort_takes_back_what_is_held() -> None:
    await busy_turn()
    inner = Inner()
    gathered = GatheredWrites(inner)
    gathered.write(b"never")
    gathered.abort()
    await end_of_turn()
    assert inner.log == ["aborted"]


async def test_nothing_is_written_to_a_connection_that_was_lost_within_the_turn() -> None:
    await busy_turn()
    inner = Inner()
    GatheredWrites(inner).write(b"late")
    inner.closing = True
    await end_of_turn()
    assert inner.log == []


async def test_much_data_leaves_at_once() -> None:
    """So that the transport can say, within the write, that its reader is slow."""
    await busy_turn()
    inner = Inner()
    gathered = GatheredWrites(inner)
    gathered.write(b"x")
    gathered.write(bytes(HELD_BYTES))
    assert inner.log == [b"x" + bytes(HELD_BYTES)]


async def test_many_connections_do_not_wait_for_the_end_of_a_long_turn() -> None:
    await busy_turn()
    log: list[object] = []
    for number in range(MOST_HELD):
        GatheredWrites(Inner(log)).write(b"%d" % number)
    assert log == []
    GatheredWrites(Inner(log)).write(b"one more")
    assert log == [b"%d" % number for number in range(MOST_HELD)]
    await end_of_turn()
    assert log[-1] == b"one more"


async def test_a_connection_that_cannot_be_written_to_keeps_nothing_from_the_others() -> None:
    await busy_turn()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(str(context["exception"])))
    broken, whole = Inner(), Inner()
    broken.fails = True
    GatheredWrites(broken).write(b"lost")
    GatheredWrites(whole).write(b"sent")
    await end_of_turn()
    await end_of_turn()
    assert whole.log == [b"sent"]
    assert told == ["it cannot be written to"]
