"""Ends of requests go to the journal together, at the end of the loop's turn; ends of calls at once, as they must."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.journal.folders import records_in
from tests.ledger.traffic import a_closed, an_ended, an_opened

from waypost.catalogue import PUBLISHED
from waypost.ledger.ledger import FOLDER, Ledger
from waypost.ledger.records import Record
from waypost.settings import Settings
from waypost.store.lazy import LazyDatabase


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / FOLDER


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """One whose journal is not drained: its database cannot be opened."""
    settings = Settings.model_validate({"data_dir": str(tmp_path), "database_url": "postgresql://127.0.0.1:1/nowhere"})
    database = LazyDatabase(settings)
    yield Ledger(settings, database, PUBLISHED)
    database.close()


async def end_of_turn() -> None:
    reached = asyncio.Event()
    asyncio.get_running_loop().call_soon(reached.set)
    await reached.wait()


async def test_they_are_written_at_the_end_of_the_turn_in_their_order(ledger: Ledger, folder: Path) -> None:
    calls: list[Record] = [an_opened("a"), an_opened("b"), a_closed("a"), a_closed("b")]
    for record in calls:
        ledger.append(record)
    ledger.append(an_ended("b"))
    ledger.append(an_ended("a"))
    assert records_in(folder) == calls
    await end_of_turn()
    assert records_in(folder) == [*calls, an_ended("b"), an_ended("a")]
    ledger.append(an_ended("c"))
    await end_of_turn()
    assert records_in(folder)[-1] == an_ended("c")
    await ledger.close()


async def test_none_is_left_behind_when_the_ledger_closes(ledger: Ledger, folder: Path) -> None:
    ledger.append(an_opened("a"))
    ledger.append(a_closed("a"))
    ledger.append(an_ended("a"))
    await ledger.close()
    assert records_in(folder) == [an_opened("a"), a_closed("a"), an_ended("a")]


def test_without_a_loop_they_are_written_at_once(ledger: Ledger, folder: Path) -> None:
    ledger.append(an_ended("a"))
    assert records_in(folder) == [an_ended("a")]
    asyncio.run(ledger.close())
