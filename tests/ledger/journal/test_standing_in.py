"""Claims about a drainer that only stands in for another: it waits, helps where nobody else does, and gives way."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.ledger.journal.folders import written
from tests.ledger.traffic import exchange, expected, stored

from waypost.catalogue import PriceBook
from waypost.ledger.journal import Drainer
from waypost.store.database import Database

PRICES = PriceBook()
SILENCE_S = 0.5


def drainer(folder: Path, database: Database, *, stands_in: bool) -> Drainer:
    return Drainer(folder, lambda: database, PRICES, interval_s=0.02, stands_in=stands_in, silence_s=SILENCE_S)


def until(is_so: Callable[[], object], within_s: float = 20.0) -> float:
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < within_s
        time.sleep(0.01)
    return time.monotonic() - began


def test_it_begins_when_nobody_has_drained_for_a_while(database: Database, tmp_path: Path) -> None:
    records = exchange(1)
    written(tmp_path, *records)
    one = drainer(tmp_path, database, stands_in=True)
    one.start()
    waited_s = until(lambda: one.status().records == len(records))
    one.stop()
    assert waited_s >= SILENCE_S
    assert stored(database) == expected(records)


def test_who_cannot_wait_has_it_drain_at_once(database: Database, tmp_path: Path) -> None:
    """As budgets need it that are asked for before any worker is there."""
    records = exchange(1)
    written(tmp_path, *records)
    one = Drainer(tmp_path, lambda: database, PRICES, interval_s=0.02, stands_in=True, silence_s=600)
    assert one.drain_now(20)
    one.stop()
    assert stored(database) == expected(records)


def test_it_gives_way_to_one_that_is_there_to_drain(database: Database, tmp_path: Path) -> None:
    stand_in, own = drainer(tmp_path, database, stands_in=True), drainer(tmp_path, database, stands_in=False)
    stand_in.start()
    until(lambda: stand_in.status().is_elected)
    own.start()
    until(lambda: own.status().is_elected and not stand_in.status().is_elected)
    records = exchange(2)
    written(tmp_path, *records)
    until(lambda: own.status().records == len(records))
    own.stop()
    stand_in.stop()
    assert stand_in.status().records == 0
    assert stored(database) == expected(records)


def test_it_leaves_nothing_behind_at_its_end(database: Database, tmp_path: Path) -> None:
    """There may be nobody any more who would drain it."""
    one = Drainer(tmp_path, lambda: database, PRICES, interval_s=0.02, stands_in=True, silence_s=600)
    one.start()
    records = exchange(3)
    written(tmp_path, *records)
    one.stop()
    assert stored(database) == expected(records)
