"""The stream that a job tells: events in groups, one row of job_events each, for readers who come and go.

A job that is begun anew (its worker died, or somebody had it done again) tells its answer from the beginning, in
another round: what the round before had told is void. The invariants: numbers rise over all rounds, and never stand for
two events; no reader is told events of two rounds as if they were one answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from sqlalchemy import Connection

STREAM: Final = "stream"
"""The name of these rows among a job's events."""
GAP: Final = 2
"""Between the rounds: what ended the one before may have a number, and that it is void has one."""
Event = tuple[str, Mapping[str, Any]]
"""Its name, and what it says."""


@dataclass(frozen=True, slots=True)
class Group:
    """Events that were told together; `first` is the number of the first, `begin` that of the round's.

    `is_cut`: the round has told as much as is kept, and tells nothing more.
    """

    round: int
    begin: int
    first: int
    events: Sequence[Event] = ()
    is_cut: bool = False

    @property
    def next(self) -> int:
        """The number of what comes next."""
        return self.first + len(self.events)

    def told(self) -> dict[str, Any]:
        """As JSON data."""
        told: dict[str, Any] = {"round": self.round, "begin": self.begin, "first": self.first}
        told["events"] = [[name, dict(data)] for name, data in self.events]
        return {**told, "cut": True} if self.is_cut else told


def group_of(data: str) -> Group:
    """The group in a row's data."""
    told = msgspec.json.decode(data)
    events = [(name, members) for name, members in told["events"]]
    return Group(told["round"], told["begin"], told["first"], events, bool(told.get("cut")))


def last_group(connection: Connection, job_id: str) -> Group | None:
    """The newest there is. In threads only."""
    from sqlalchemy import select

    from waypost.store.job_tables import job_events

    of = job_events.c
    query = select(of.data).where(of.job_id == job_id, of.name == STREAM).order_by(of.number.desc()).limit(1)
    data = connection.execute(query).scalar()
    return None if data is None else group_of(data)


def next_round(last: Group | None, prelude: int) -> Group:
    """Where the next round begins, as an empty group. `prelude`: how many events each first round has before it."""
    if last is None:
        return Group(1, prelude, prelude)
    begin = last.next + GAP + last.is_cut
    return Group(last.round + 1, begin, begin)
