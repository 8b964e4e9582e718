"""What a reload replaced is closed with the last request that may use it."""

from __future__ import annotations

import asyncio

from waypost.server.generations import Generations


class Closing:
    def __init__(self) -> None:
        self.closed: list[str] = []

    def of(self, name: str) -> object:
        async def close() -> None:
            self.closed.append(name)

        return close


async def test_unused_things_are_closed_at_once() -> None:
    generations, closing = Generations(), Closing()
    generations.retire(closing.of("old"))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert closing.closed == ["old"]


async def test_a_request_keeps_what_was_in_force_when_it_began_and_all_that_came_after() -> None:
    """One that began before two reloads may have taken either application: both wait for it."""
    generations, closing = Generations(), Closing()
    early = generations.enter()
    generations.retire(closing.of("first"))  # type: ignore[arg-type]
    late = generations.enter()
    generations.retire(closing.of("second"))  # type: ignore[arg-type]
    generations.leave(late)
    await asyncio.sleep(0)
    assert closing.closed == []
    generations.leave(early)
    await asyncio.sleep(0)
    assert sorted(closing.closed) == ["first", "second"]


async def test_a_later_request_does_not_keep_what_was_retired_before_it() -> None:
    generations, closing = Generations(), Closing()
    with generations.held():
        generations.retire(closing.of("old"))  # type: ignore[arg-type]
        later = generations.enter()
        await asyncio.sleep(0)
        assert closing.closed == []
    await asyncio.sleep(0)
    assert closing.closed == ["old"]
    generations.leave(later)


async def test_the_end_of_the_server_closes_what_is_in_use_too() -> None:
    generations, closing = Generations(), Closing()
    generations.enter()
    generations.retire(closing.of("old"))  # type: ignore[arg-type]
    await generations.close()
    assert closing.closed == ["old"]
