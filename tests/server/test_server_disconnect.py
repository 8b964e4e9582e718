"""`while_connected`: whichever ends first, work or watcher, ends the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from waypost.errors import ServerBusy
from waypost.server.disconnect import CallerGone, while_connected
from waypost.server.lifecycle import Lifecycle


class Work:
    """Runs for ever, and notes that it could clean up after it was cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cleaned = False

    async def __call__(self) -> str:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.cleaned = True
        return "never"


async def stays() -> Any:
    await asyncio.Event().wait()


async def leaves() -> Any:
    return {"type": "http.disconnect"}


async def test_the_result_comes_through() -> None:
    async def work() -> int:
        return 7

    assert await while_connected(work(), stays, Lifecycle()) == 7


async def test_the_error_comes_through() -> None:
    async def work() -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await while_connected(work(), stays, Lifecycle())


async def test_a_disconnect_ends_the_work_first() -> None:
    work = Work()

    async def leaves_later() -> Any:
        await work.begun.wait()
        return await leaves()

    with pytest.raises(CallerGone):
        await while_connected(work(), leaves_later, Lifecycle())
    assert work.cleaned


async def test_late_bytes_of_a_body_are_no_disconnect() -> None:
    messages = iter([{"type": "http.request"}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    with pytest.raises(CallerGone):
        await while_connected(Work()(), receive, Lifecycle())
    assert next(messages, None) is None


async def test_the_end_of_the_grace_time_ends_the_work() -> None:
    work, lifecycle = Work(), Lifecycle()
    running = asyncio.create_task(while_connected(work(), stays, lifecycle))
    await work.begun.wait()
    lifecycle.expire()
    with pytest.raises(ServerBusy):
        await running
    assert work.cleaned


async def test_cancelling_the_request_cancels_the_work_and_passes_on() -> None:
    work = Work()
    running = asyncio.create_task(while_connected(work(), stays, Lifecycle()))
    await work.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert work.cleaned
    assert len(asyncio.all_tasks()) == 1


def test_one_lifecycle_serves_several_event_loops() -> None:
    """Test clients run each request in a loop of its own."""
    lifecycle = Lifecycle()

    async def work() -> int:
        return 1

    for _ in range(2):
        assert asyncio.run(while_connected(work(), stays, lifecycle)) == 1
