"""Batches at providers, in the database: what is about to be sent, what was, and when it is looked at again.

In threads only; parts of transactions. The invariant: before a provider is asked to make a batch, a row says so; and
only whoever wrote that it is `sending`, in that one process, sends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, insert, select, update

from waypost.jobs.batched_calls import Group
from waypost.jobs.job import ENDED
from waypost.ledger.books import new_entry_id
from waypost.ledger.definitions import told_time
from waypost.store.job_tables import batched_calls, jobs, provider_batches

BatchState: TypeAlias = Literal["filling", "sending", "unsure", "running", "refused", "over"]
LIVE: Final[Sequence[BatchState]] = ("filling", "sending", "unsure", "running")
SUFFIX_CHARACTERS: Final = 16
LONGEST_TROUBLE: Final = 1000
_b = provider_batches.c


@dataclass(frozen=True, slots=True)
class ProviderBatch:
    """One as it is in the database: see `store.job_tables.provider_batches`. Times are Unix ms."""

    id: str
    batch_id: str
    provider: str
    kind: str
    model: str
    provider_key: str | None
    state: BatchState
    vendor_id: str | None
    vendor_state: str | None
    requests: int
    size_bytes: int
    executor_id: str | None
    sent_at_ms: int | None
    unsure_at_ms: int | None
    next_look_at_ms: int
    troubles: int
    trouble: str | None
    cancelled_at_ms: int | None
    created_at_ms: int
    ended_at_ms: int | None

    @property
    def suffix(self) -> str:
        """The end of the custom ids of its requests, by which it is told from every other batch."""
        return self.id[-SUFFIX_CHARACTERS:]

    def custom_id(self, job_id: str) -> str:
        """What the provider calls the request of this job."""
        return f"{job_id}-{self.suffix}"

    def job_of(self, custom_id: str) -> str | None:
        """The job whose request that is; None: it is none of this batch's."""
        job_id, _, suffix = custom_id.rpartition("-")
        return job_id if suffix == self.suffix else None

    def told(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "id": self.id,
            "provider": self.provider,
            "model": self.model,
            "state": self.state,
            "provider_batch": self.vendor_id,
            "provider_state": self.vendor_state,
            "requests": self.requests,
            "sent_at": told_time(self.sent_at_ms),
            "ended_at": told_time(self.ended_at_ms),
            "trouble": self.trouble,
        }


COLUMNS: Final = [_b[name] for name in ProviderBatch.__dataclass_fields__]


def begin(connection: Connection, group: Group, executor_id: str, key: str | None, now_ms: int) -> ProviderBatch:
    """A batch that is to be filled."""
    batch_id = f"pbatch_{new_entry_id()}"
    values = {
        "id": batch_id,
        "batch_id": group.batch_id,
        "provider": group.provider,
        "kind": group.kind,
        "model": group.model,
        "provider_key": key,
        "state": "filling",
        "requests": 0,
        "size_bytes": 0,
        "executor_id": executor_id,
        "next_look_at_ms": now_ms,
        "troubles": 0,
        "created_at_ms": now_ms,
    }
    connection.execute(insert(provider_batches).values(**values))
    return find(connection, batch_id)


def find(connection: Connection, batch_id: str) -> ProviderBatch:
    """The one of this id."""
    row = connection.execute(select(*COLUMNS).where(_b.id == batch_id)).mappings().one()
    return ProviderBatch(**row)


def change(connection: Connection, batch: ProviderBatch, **values: Any) -> bool:
    """Change it, unless somebody else has changed its state meanwhile. False: he has."""
    own = (_b.id == batch.id, _b.state == batch.state)
    return connection.execute(update(provider_batches).where(*own).values(**values)).rowcount == 1


def due(connection: Connection, now_ms: int, limit: int) -> list[ProviderBatch]:
    """Those that are to be looked at now, the longest overdue first."""
    query = select(*COLUMNS).where(_b.state.in_(LIVE), _b.next_look_at_ms <= now_ms)
    return [
        ProviderBatch(**row) for row in connection.execute(query.order_by(_b.next_look_at_ms).limit(limit)).mappings()
    ]


def is_any_live(connection: Connection) -> bool:
    """Is there one of which more will come?"""
    return connection.execute(select(_b.id).where(_b.state.in_(LIVE)).limit(1)).first() is not None


def of_batch(connection: Connection, batch_id: str) -> list[ProviderBatch]:
    """Those that a batch's items went into, the oldest first."""
    query = select(*COLUMNS).where(_b.batch_id == batch_id).order_by(_b.id)
    return [ProviderBatch(**row) for row in connection.execute(query).mappings()]


def is_wanted(connection: Connection, batch_id: str) -> bool:
    """Does any job still wait for it?"""
    query = select(jobs.c.id).join(batched_calls, batched_calls.c.job_id == jobs.c.id)
    own = (batched_calls.c.provider_batch_id == batch_id, batched_calls.c.state == "sent", jobs.c.state.not_in(ENDED))
    return connection.execute(query.where(*own).limit(1)).first() is not None


def vendor_ids(connection: Connection, provider: str, since_ms: int) -> set[str]:
    """What the provider calls those that were found or made, of those that were begun since then."""
    query = select(_b.vendor_id).where(_b.provider == provider, _b.vendor_id.is_not(None), _b.created_at_ms >= since_ms)
    return {each for each in connection.execute(query).scalars() if each}


def troubled(batch: ProviderBatch, message: str, next_look_at_ms: int) -> Mapping[str, Any]:
    """The columns for something that went wrong."""
    told = message[:LONGEST_TROUBLE]
    return {"troubles": batch.troubles + 1, "trouble": told, "next_look_at_ms": next_look_at_ms}
