"""The queue and log of messages, in both databases."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select

from waypost.errors import Conflict, UnknownDelivery
from waypost.ledger.moments import DAY_MS
from waypost.ledger.retention import run_once
from waypost.settings import LedgerSettings
from waypost.store.database import Database
from waypost.store.webhook_tables import webhook_deliveries
from waypost.webhooks import WebhookEvent
from waypost.webhooks.delivery import DeliveryOutcome
from waypost.webhooks.events import EventType
from waypost.webhooks.log import (
    LEASE_MS,
    Delivery,
    DeliveryFilter,
    Share,
    enqueue,
    find,
    get,
    note,
    pick,
    release,
    retry,
    soonest_ms,
)
from waypost.webhooks.log import (
    take as take_messages,
)
from waypost.webhooks.schedule import Following

NOW = 1_795_694_400_000
ALL = Share(limit=100, per_host=100, per_project=100)


def queue(database: Database, number: int = 1, *, now_ms: int = NOW, **more: Any) -> list[str]:
    """So many messages."""
    kind: EventType = more.pop("event_type", "job.succeeded")
    told = {"url": "https://hooks.example.com/x", "project_id": "project_1", "about": "job_1", **more}
    with database.write() as connection:
        return [
            enqueue(connection, WebhookEvent(kind, {"number": each}, now_ms), now_ms=now_ms + each, **told)
            for each in range(number)
        ]


def take(database: Database, now_ms: int = NOW + 1000, share: Share = ALL, holder: str = "me") -> list[Delivery]:
    with database.write() as connection:
        return take_messages(connection, pick(connection, now_ms, share), now_ms, holder=holder)


def noted(
    database: Database, held: Delivery, state: Any, *, next_ms: int | None = None, now_ms: int = NOW + 2000, **of: Any
) -> bool:
    with database.write() as connection:
        return note(connection, held, DeliveryOutcome(**of), Following(state, next_ms), now_ms=now_ms)


def stored(database: Database, message_id: str) -> Delivery:
    with database.read() as connection:
        return get(connection, message_id)


def test_a_message_is_there_if_and_only_if_what_it_tells_is(database: Database) -> None:
    event = WebhookEvent("job.failed", {}, NOW)
    with pytest.raises(RuntimeError), database.write() as connection:
        enqueue(connection, event, url="https://hooks.example.com/", now_ms=NOW)
        raise RuntimeError
    assert take(database) == []
    (message_id,) = queue(database)
    assert [each.id for each in take(database)] == [message_id]


def test_who_takes_a_message_has_it_for_a_lease(database: Database) -> None:
    (message_id,) = queue(database)
    (held,) = take(database)
    assert (held.attempts, held.holder, held.next_attempt_at_ms) == (1, "me", NOW + 1000 + LEASE_MS)
    assert take(database, NOW + LEASE_MS) == []
    (again,) = take(database, NOW + 1000 + LEASE_MS, holder="other")
    assert (again.id, again.attempts, again.message) == (message_id, 2, held.message)


def test_nothing_is_due_before_its_time(database: Database) -> None:
    queue(database, now_ms=NOW)
    with database.read() as connection:
        assert soonest_ms(connection) == NOW
        assert soonest_ms(connection, ["budget.warning"]) is None
    assert take(database, NOW - 1) == []
    assert len(take(database, NOW)) == 1


def test_the_failure_of_who_has_lost_a_message_changes_nothing_and_his_success_counts(database: Database) -> None:
    (message_id,) = queue(database)
    (late,) = take(database, holder="late")
    (second,) = take(database, NOW + 1000 + LEASE_MS, holder="second")
    assert not noted(database, late, "pending", next_ms=NOW + 5, error_code="timeout")
    assert not noted(database, late, "failed", error_code="timeout")
    assert stored(database, message_id).holder == "second"
    assert noted(database, late, "delivered", status=200)
    assert not noted(database, second, "pending", next_ms=NOW + 5, error_code="timeout")
    assert (stored(database, message_id).state, stored(database, message_id).status) == ("delivered", 200)


def test_what_came_of_the_last_try_is_kept(database: Database) -> None:
    (message_id,) = queue(database)
    (held,) = take(database)
    assert noted(
        database,
        held,
        "pending",
        next_ms=NOW + 5000,
        status=503,
        error_code="status_503",
        reply=b"a \x00 \xff",
        duration_ms=12,
    )
    told = stored(database, message_id).told()
    assert told["reply"] == "a \N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}"
    assert (told["state"], told["status"], told["error_code"], told["duration_ms"]) == (
        "pending",
        503,
        "status_503",
        12,
    )
    assert told["next_attempt_at"] == "2026-11-26T12:00:05.000Z"
    assert [each.id for each in take(database, NOW + 5000)] == [message_id]


def test_a_broken_off_try_does_not_count(database: Database) -> None:
    (message_id,) = queue(database)
    held = take(database)
    with database.write() as connection:
        release(connection, held, NOW + 3000)
    assert stored(database, message_id).attempts == 0
    (again,) = take(database, NOW + 3000, holder="other")
    assert again.attempts == 1
    with database.write() as connection:
        release(connection, held, NOW + 3000)
    assert stored(database, message_id).holder == "other"


def test_one_host_s_messages_leave_room_for_others(database: Database) -> None:
    queue(database, 10, url="https://slow.example.com/x")
    queue(database, 2, url="https://quick.example.com/x", now_ms=NOW + 100)
    share = Share(limit=6, per_host=3, per_project=9)
    hosts = Counter(each.host for each in take(database, share=share))
    assert hosts == {"slow.example.com:443": 3, "quick.example.com:443": 2}
    assert take(database, share=Share(6, 3, 9, ["slow.example.com:443"])) == []
    assert len(take(database, share=Share(2, 3, 9))) == 2


def test_one_project_s_messages_leave_room_for_others(database: Database) -> None:
    """Though they go to many hosts, and are due the longest. What is no project's has a share too."""
    for number in range(9):
        queue(database, 2, url=f"https://many-{number}.example.com/")
    queue(database, 1, project_id="project_2", now_ms=NOW + 100)
    queue(database, 3, project_id=None, url="https://other.example.com/", now_ms=NOW + 200)
    share = Share(limit=9, per_host=1, per_project=4)
    assert Counter(each.project_id for each in take(database, share=share)) == {"project_1": 4, "project_2": 1, None: 1}
    assert [each.project_id for each in take(database, share=Share(9, 1, 4, (), ["project_1"]))] == [None]
    assert Counter(each.project_id for each in take(database, share=Share(9, 1, 4, (), [""]))) == {"project_1": 4}


def test_a_courier_may_take_one_kind_only(database: Database) -> None:
    queue(database, event_type="job.failed")
    (warning,) = queue(database, event_type="budget.warning", url=None)
    (held,) = take(database, share=Share(9, 9, 9, event_types=["budget.warning"]))
    assert (held.id, held.url, held.told()["url"]) == (warning, None, "ledger.warning_webhook")


def test_of_many_who_take_at_once_each_message_goes_to_one(database: Database) -> None:
    """In threads with connections of their own, over and over until nothing is left."""
    ids = queue(database, 60)
    taken: list[str] = []
    gate = threading.Barrier(4)

    def courier(name: str) -> None:
        gate.wait()
        while held := take(database, share=Share(5, 5, 5), holder=name):
            taken.extend(each.id for each in held)
        # Others may have had what was left locked.
        taken.extend(each.id for each in take(database, share=Share(60, 60, 60), holder=name))

    threads = [threading.Thread(target=courier, args=(f"courier {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(ids)


def test_pages_one_after_another_give_each_message_once(database: Database) -> None:
    ids = [*queue(database, 7), *queue(database, 5, about="job_2", now_ms=NOW + 1000)]
    queue(database, 3, project_id="project_2", now_ms=NOW + 2000)
    wanted, found = DeliveryFilter(project_id="project_1"), list[str]()
    with database.read() as connection:
        while page := find(connection, wanted, limit=5, after=found[-1] if found else None):
            found += [each.id for each in page]
        assert found == sorted(ids, reverse=True)
        assert len(find(connection, DeliveryFilter(about="job_2"))) == 5
        assert len(find(connection, DeliveryFilter(state="pending"))) == 15
        assert find(connection, DeliveryFilter(state="gone")) == []
        assert find(connection, DeliveryFilter(event_type="job.failed")) == []
        assert len(find(connection, limit=10**6)) == 15


@pytest.mark.parametrize("state", ["failed", "gone", "delivered"])
def test_a_message_that_has_ended_can_be_sent_again_with_the_same_id(database: Database, state: Any) -> None:
    (message_id,) = queue(database)
    (held,) = take(database)
    noted(database, held, state, status=500)
    assert take(database, NOW + 10**9) == []
    with database.write() as connection:
        assert retry(connection, message_id, NOW + 10**9).state == "pending"
    (again,) = take(database, NOW + 10**9)
    assert (again.message, again.attempts) == (held.message, 1)


def test_one_that_is_being_sent_is_not_sent_beside_that(database: Database) -> None:
    (message_id,) = queue(database)
    take(database)
    with pytest.raises(Conflict), database.write() as connection:
        retry(connection, message_id, NOW + 2000)
    with database.write() as connection:
        retry(connection, message_id, NOW + 1000 + LEASE_MS)


def test_one_that_waits_for_its_next_try_can_be_sent_now(database: Database) -> None:
    (message_id,) = queue(database)
    (held,) = take(database)
    noted(database, held, "pending", next_ms=NOW + DAY_MS, error_code="timeout")
    with database.write() as connection:
        retry(connection, message_id, NOW + 3000)
    assert [each.id for each in take(database, NOW + 3000)] == [message_id]


@pytest.mark.parametrize("message_id", ["", "msg_1", "x' OR '1'='1", "\x00", "\ud800"])
def test_an_unknown_id_is_told(database: Database, message_id: str) -> None:
    with pytest.raises(UnknownDelivery), database.read() as connection:
        get(connection, message_id)


def test_what_has_ended_is_forgotten_in_time_and_what_waits_is_not(database: Database) -> None:
    old, kept = NOW - 31 * DAY_MS, NOW - 29 * DAY_MS
    (waits,) = queue(database, now_ms=old, url="https://waits.example.com/")
    ended, recent = queue(database, now_ms=old + 1)[0], queue(database, now_ms=kept)[0]
    for held in take(database, NOW, share=Share(9, 9, 9, ["waits.example.com:443"])):
        noted(database, held, "delivered", status=200)
    assert stored(database, ended).state == "delivered"
    report = run_once(database, LedgerSettings(deliveries_days=30), NOW)
    assert report is not None
    assert report.deleted == {"webhook_deliveries": 1}
    with database.read() as connection:
        assert set(connection.scalars(select(webhook_deliveries.c.id))) == {waits, recent}
