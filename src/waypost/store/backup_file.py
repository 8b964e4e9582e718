"""A backup as a file: an SQLite database with a checksum over all of it. It knows nothing of what the rows mean.

Two fields of SQLite's header, which it leaves to applications, say what the file is and that it is whole: the
application's id, and in the place of the user's version the CRC-32 of all other bytes. Any SQLite program can read it.
Source: sqlite.org/fileformat.html, 1.3 (The Database Header).
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from waypost.errors import WaypostError

APPLICATION_ID: Final = b"Wayp"
_MAGIC: Final = b"SQLite format 3\0"
_CHECKSUM: Final = slice(60, 64)
_APPLICATION: Final = slice(68, 72)
_HEADER_BYTES: Final = 100
_BLOCK_BYTES: Final = 1024 * 1024


class BackupError(WaypostError):
    """A backup cannot be made, or a file that should be one cannot be used."""


def seal(file: Path) -> None:
    """Make an SQLite file, which nobody has open, a backup. Raises BackupError, sqlite3.Error and OSError."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        # One file, without companions.
        connection.execute("PRAGMA journal_mode=DELETE")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise BackupError(f"The database is damaged: {found}.", hint="Go back to an earlier backup.")
    with file.open("r+b") as opened:
        opened.seek(_APPLICATION.start)
        opened.write(APPLICATION_ID)
        checksum = _checksum(opened)
        opened.seek(_CHECKSUM.start)
        opened.write(checksum)
        opened.flush()
        os.fsync(opened.fileno())


def verify(file: Path) -> None:
    """Raise BackupError unless the file is a backup, and as it was made to the last byte."""
    try:
        with file.open("rb") as opened:
            header = opened.read(_HEADER_BYTES)
            if not header.startswith(_MAGIC) or header[_APPLICATION] != APPLICATION_ID:
                raise BackupError(
                    f"{file} is no backup of Waypost's.", hint="Name a file that was made by: waypost db backup FILE"
                )
            if header[_CHECKSUM] != _checksum(opened):
                raise BackupError(
                    f"{file} is not as it was made: its checksum differs.",
                    hint="It was cut short, damaged or written to. Take another backup.",
                )
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror}.") from error


@contextmanager
def reading(file: Path) -> Iterator[Connection]:
    """The backup's rows. Nothing is written, not even beside it."""
    address = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(address, uri=True),
        poolclass=NullPool,
        json_deserializer=msgspec.json.decode,
    )
    with engine.connect() as connection:
        yield connection


def _checksum(opened: BinaryIO) -> bytes:
    opened.seek(0)
    header = bytearray(opened.read(_HEADER_BYTES))
    header[_CHECKSUM] = bytes(4)
    value = zlib.crc32(header)
    while block := opened.read(_BLOCK_BYTES):
        value = zlib.crc32(block, value)
    return value.to_bytes(4, "big")
