"""The stream that a job tells is written in small groups, in order, and within bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from waypost.jobs.stream import Group, group_of, next_round
from waypost.store.types import to_json
from waypost.worker.groups import MOST_EVENTS, GroupWriter


class Written:
    """What was written. `error` is raised instead."""

    def __init__(self, error: Exception | None = None) -> None:
        self.groups: list[Group] = []
        self.error = error

    async def __call__(self, name: str, data: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        assert name == "stream"
        self.groups.append(group_of(to_json(data)))


def event(number: int, size_bytes: int = 10) -> tuple[tuple[str, dict[str, Any]], int]:
    return ("delta", {"text": str(number)}), size_bytes


async def test_events_that_come_one_by_one_are_written_together_and_numbered_on() -> None:
    written = Written()
    writer = GroupWriter(written, next_round(None, 2), 100_000, group_s=60)
    for number in range(MOST_EVENTS + 5):
        await writer.add([event(number)])
    await writer.close()
    assert [(group.first, len(group.events)) for group in written.groups] == [(2, MOST_EVENTS), (2 + MOST_EVENTS, 5)]
    assert [data["text"] for group in written.groups for _, data in group.events] == [
        str(number) for number in range(MOST_EVENTS + 5)
    ]


async def test_a_stream_over_its_bound_is_cut_once_and_the_rest_left_out() -> None:
    written = Written()
    writer = GroupWriter(written, next_round(None, 0), 100, group_s=0)
    for number in range(50):
        await writer.add([event(number)])
    await writer.close()
    assert [group.is_cut for group in written.groups].count(True) == 1
    assert written.groups[-1].is_cut
    assert written.groups[-1].next == 3, "each takes 26 bytes of the hundred"
    assert next_round(written.groups[-1], 0) == Group(2, 6, 6)


async def test_what_keeps_a_group_from_being_written_is_raised() -> None:
    writer = GroupWriter(Written(OSError("gone")), next_round(None, 0), 1_000, group_s=0)
    await writer.add([event(1)])
    with pytest.raises(OSError, match="gone"):
        await writer.close()


def test_a_round_begins_after_the_end_of_the_one_before() -> None:
    assert next_round(None, 2) == Group(1, 2, 2)
    assert next_round(Group(1, 2, 2, [("a", {}), ("b", {})]), 2) == Group(2, 6, 6)
