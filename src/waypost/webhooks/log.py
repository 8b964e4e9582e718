"""Messages in the database: a queue, and the log of what became of each. Queries only; the caller has the transaction.

`enqueue` belongs into the transaction of what is told: both are committed or neither. Whoever takes a message has it
for a lease; from one that dies it can be taken again when that is over. The invariant: of two who hold one message at
the same time, which only a lease that ran out can bring about, the earlier one's failure changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select, update

from waypost.errors import Conflict, UnknownDelivery
from waypost.store.webhook_tables import webhook_deliveries as table
from waypost.transport.address import place_of
from waypost.webhooks.address import shown_address
from waypost.webhooks.delivery import DeliveryOutcome
from waypost.webhooks.events import EVENT_TYPES, EventType, Message, WebhookEvent, iso_time
from waypost.webhooks.schedule import Following, State

LEASE_MS: Final = 90_000
"""Longer than a try may take, with a wait for others to the same host before it."""
MOST_RANKED: Final = 1_000
"""Messages that are due, the oldest of them, among which some of each host are picked."""
MOST_ROWS: Final = 200
IN_SETTINGS: Final = ""
"""Stands for the host of the address in the settings."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message and how it stands. `url` None: the address in the settings. Times are Unix ms."""

    id: str
    project_id: str | None
    about: str | None
    url: str | None
    host: str
    event_type: str
    body: str
    state: State
    attempts: int
    next_attempt_at_ms: int | None
    holder: str | None
    status: int | None
    error_code: str | None
    reply: str | None
    duration_ms: int | None
    created_at_ms: int
    updated_at_ms: int

    @property
    def message(self) -> Message:
        """What is sent."""
        return Message(self.id, self.body.encode("ascii"))

    def told(self) -> dict[str, Any]:
        """As JSON data, without the body. Of the address nothing is told that may be secret."""
        return {
            "id": self.id,
            "project_id": self.project_id,
            "about": self.about,
            "url": shown_address(self.url),
            "event_type": self.event_type,
            "state": self.state,
            "attempts": self.attempts,
            "next_attempt_at": None if self.next_attempt_at_ms is None else iso_time(self.next_attempt_at_ms),
            "status": self.status,
            "error_code": self.error_code,
            "reply": self.reply,
            "duration_ms": self.duration_ms,
            "created_at": iso_time(self.created_at_ms),
            "updated_at": iso_time(self.updated_at_ms),
        }


@dataclass(frozen=True, slots=True)
class Share:
    """How much a courier takes at once: `limit` messages, of a host and a project so many, none of those that are busy.

    Projects are ids; "" stands for what is no project's.
    """

    limit: int
    per_host: int
    per_project: int
    busy_hosts: Collection[str] = ()
    busy_projects: Collection[str] = ()
    event_types: Collection[EventType] | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which messages; None: any."""

    project_id: str | None = None
    about: str | None = None
    state: State | None = None
    event_type: EventType | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Its part of a query."""
        for name in ("project_id", "about", "state", "event_type"):
            if getattr(self, name) is not None:
                yield table.c[name] == getattr(self, name)


def new_message_id(now_ms: int) -> str:
    """Ids that sort by time, as all ids here do."""
    return f"msg_{now_ms:012x}{secrets.token_hex(10)}"


def enqueue(
    connection: Connection,
    event: WebhookEvent,
    *,
    url: str | None,
    now_ms: int,
    project_id: str | None = None,
    about: str | None = None,
) -> str:
    """Have the event sent, once this transaction is committed, and give the message's id: its `webhook-id`.

    `url` was checked by `AddressRules` when it was accepted; None is the address in the settings. `about` is the id of
    a job or batch, to find the message by. Raises ValueError if the event is too large.
    """
    message_id = new_message_id(now_ms)
    connection.execute(
        insert(table).values(
            id=message_id,
            project_id=project_id,
            about=about,
            url=url,
            host=IN_SETTINGS if url is None else place_of(url),
            event_type=event.type,
            body=event.body().decode("ascii"),
            state="pending",
            attempts=0,
            next_attempt_at_ms=now_ms,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
    )
    return message_id


def soonest_ms(connection: Connection, event_types: Collection[EventType] | None = None) -> int | None:
    """When the next message is due; None: none waits."""
    first = select(table.c.next_attempt_at_ms).where(table.c.state == "pending", *_of_types(event_types))
    return connection.scalar(first.order_by(table.c.next_attempt_at_ms).limit(1))


def pick(connection: Connection, now_ms: int, share: Share) -> list[str]:
    """The ids of messages that are due the longest, within the share. Reads only: `take` asks again."""
    order = table.c.next_attempt_at_ms
    project = func.coalesce(table.c.project_id, "").label("project")
    conditions = [table.c.state == "pending", order <= now_ms, *_of_types(share.event_types)]
    if share.busy_hosts:
        conditions.append(table.c.host.not_in(list(share.busy_hosts)))
    if share.busy_projects:
        conditions.append(func.coalesce(table.c.project_id, "").not_in(list(share.busy_projects)))
    found: Any = select(table.c.id, table.c.host, project, order).where(*conditions).order_by(order).limit(MOST_RANKED)
    for column, most in (("host", share.per_host), ("project", share.per_project)):
        rows = found.subquery()
        rank = func.row_number().over(partition_by=rows.c[column], order_by=(rows.c.next_attempt_at_ms, rows.c.id))
        ranked = select(rows, rank.label("rank")).subquery()
        kept = [ranked.c[name] for name in ("id", "host", "project", "next_attempt_at_ms")]
        found = select(*kept).where(ranked.c.rank <= most)
    rows = found.subquery()
    return list(connection.scalars(select(rows.c.id).order_by(rows.c.next_attempt_at_ms, rows.c.id).limit(share.limit)))


def take(
    connection: Connection, ids: Collection[str], now_ms: int, *, holder: str, lease_ms: int = LEASE_MS
) -> list[Delivery]:
    """Take those of these messages that are still due: they are the holder's for the lease, and a try is counted.

    `holder` is another one for each call. Of several who ask at the same time each gets others.
    """
    is_due = and_(table.c.id.in_(list(ids)), table.c.state == "pending", table.c.next_attempt_at_ms <= now_ms)
    # On SQLite nobody else writes now, and nothing is locked.
    free = list(connection.scalars(select(table.c.id).where(is_due).with_for_update(skip_locked=True)))
    if not free:
        return []
    values = {"holder": holder, "next_attempt_at_ms": now_ms + lease_ms, "attempts": table.c.attempts + 1}
    connection.execute(update(table).where(table.c.id.in_(free)).values(**values, updated_at_ms=now_ms))
    rows = connection.execute(select(table).where(table.c.id.in_(free)).order_by(table.c.id))
    return [_delivery(row) for row in rows]


def note(connection: Connection, held: Delivery, outcome: DeliveryOutcome, then: Following, *, now_ms: int) -> bool:
    """Write down what came of the try. False: somebody else has the message by now, and this was not written.

    That it has arrived counts, whoever has it.
    """
    own = update(table).where(table.c.id == held.id, table.c.state == "pending")
    if then.state != "delivered":
        own = own.where(table.c.holder == held.holder)
    values = {
        "state": then.state,
        "next_attempt_at_ms": then.next_attempt_at_ms,
        "holder": None,
        "status": outcome.status,
        "error_code": outcome.error_code,
        "reply": outcome.reply.decode("utf-8", "replace"),
        "duration_ms": outcome.duration_ms,
        "updated_at_ms": now_ms,
    }
    return connection.execute(own.values(values)).rowcount == 1


def release(connection: Connection, held: Collection[Delivery], now_ms: int) -> None:
    """Let others have messages whose try was broken off: it does not count."""
    for each in held:
        own = update(table).where(table.c.id == each.id, table.c.holder == each.holder, table.c.state == "pending")
        connection.execute(
            own.values(holder=None, next_attempt_at_ms=now_ms, attempts=table.c.attempts - 1, updated_at_ms=now_ms)
        )


def retry(connection: Connection, message_id: str, now_ms: int) -> Delivery:
    """Have a message sent again, now and with all its tries. Raises UnknownDelivery; Conflict if it is on its way."""
    found = get(connection, message_id, to_change=True)
    if found.state == "pending" and found.holder is not None and (found.next_attempt_at_ms or 0) > now_ms:
        raise Conflict("The message is being sent at this moment.", hint="Look at it again in a minute.")
    connection.execute(
        update(table)
        .where(table.c.id == message_id)
        .values(state="pending", attempts=0, next_attempt_at_ms=now_ms, holder=None, updated_at_ms=now_ms)
    )
    return get(connection, message_id)


def get(connection: Connection, message_id: str, *, to_change: bool = False) -> Delivery:
    """One message; `to_change` keeps others from it until the transaction ends. Raises UnknownDelivery."""
    query = select(table).where(table.c.id == message_id)
    row = connection.execute(query.with_for_update() if to_change else query).first()
    if row is None:
        raise UnknownDelivery(
            "There is no message of that id.", hint="See them with: waypost webhooks list", param="message_id"
        )
    return _delivery(row)


def find(
    connection: Connection, wanted: DeliveryFilter = DeliveryFilter(), *, limit: int = 50, after: str | None = None
) -> list[Delivery]:
    """The newest first; `after` is the id of the last one of the page before."""
    query = select(table).where(*wanted.conditions()).order_by(table.c.id.desc()).limit(min(limit, MOST_ROWS))
    rows = connection.execute(query if after is None else query.where(table.c.id < after))
    return [_delivery(row) for row in rows]


def _of_types(event_types: Collection[EventType] | None) -> list[ColumnElement[bool]]:
    if event_types is None or set(event_types) == set(EVENT_TYPES):
        return []
    return [table.c.event_type.in_(sorted(event_types))]


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**row._asdict())
