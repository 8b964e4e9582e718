"""Processes that write to a journal folder or drain it, for tests that kill them: python -m … write | drain.

A writer tells each record on its standard output right after it was appended, so that what it wrote before a kill is
known: `<request> <place in it>`. What the record holds follows from the request's name.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url
from tests.ledger.traffic import exchange

from waypost.catalogue import PriceBook
from waypost.ledger.journal import Drainer, Journal
from waypost.ledger.records import Record
from waypost.store.database import Database

AT_ONCE = 8


def numbered(prefix: str, number: int) -> Iterator[tuple[str, Record]]:
    """A request's records, each with what is told of it."""
    for place, record in enumerate(exchange(number, prefix)):
        yield f"{prefix}:{number} {place}", record


def write(folder: Path, prefix: str, pause_s: float) -> None:
    """Requests without end, some at the same time."""
    own = Journal(folder, max_bytes=1 << 30, segment_bytes=30_000)
    source = random.Random(prefix)  # noqa: S311 - no secret
    running: list[Iterator[tuple[str, Record]]] = []
    number = 0
    os.write(1, b"ready\n")
    while True:
        if len(running) < AT_ONCE:
            running.append(numbered(prefix, number))
            number += 1
        one = source.choice(running)
        told, record = next(one, (None, None))
        if told is None or record is None:
            running.remove(one)
            continue
        own.append(record)
        os.write(1, f"{told}\n".encode())
        time.sleep(pause_s)


def drain(folder: Path, url: str) -> None:
    """Until it is killed."""
    drainer = Drainer(folder, lambda: Database(make_url(url)), PriceBook(), interval_s=0.02)
    drainer.start()
    os.write(1, b"ready\n")
    while True:
        time.sleep(1)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
    drain(Path(sys.argv[2]), sys.argv[3])
