"""The log as a file: JSON lines, CSV or Parquet, the oldest request first, in memory that does not grow with it.

The requests are read page by page, each page a short transaction: an export holds nobody up, however long it takes.
The invariant: a file that is there is whole; it is written under another name and renamed at its end.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

import msgspec

from waypost.errors import ConfigurationError
from waypost.ledger.books import now_ms
from waypost.ledger.log_filters import Filters
from waypost.ledger.log_told import REQUEST_FIELDS, told_request
from waypost.ledger.request_log import count, every
from waypost.store.database import Database

if TYPE_CHECKING:
    import pyarrow as pa

Format: TypeAlias = Literal["jsonl", "csv", "parquet"]
FORMATS: Final[Sequence[Format]] = ("jsonl", "csv", "parquet")
Progress: TypeAlias = Callable[[int, int], None]
"""Told how many requests are written, and of how many."""
Told: TypeAlias = Sequence[Mapping[str, Any]]

ROW_GROUP: Final = 20_000
"""Requests in one group of a Parquet file, which are held until they are written."""
_FORMULA: Final = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - spreadsheets take the wide ones too
"""What begins a formula, or what a spreadsheet would skip before one."""


class Writer(Protocol):
    """Turns requests, as they are told, into bytes."""

    def write(self, rows: Told) -> None:
        """Some more."""

    def close(self) -> None:
        """There are no more."""


def json_lines(rows: Told) -> bytes:
    """Each as one line of JSON."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def csv_head() -> bytes:
    """The line with the names of the columns."""
    return _csv([REQUEST_FIELDS])


def csv_lines(rows: Told) -> bytes:
    """Each as one line, tags as JSON. No cell is a formula to a spreadsheet: one that would be begins with a '."""
    return _csv([[_cell(row[name]) for name in REQUEST_FIELDS] for row in rows])


def _csv(lines: Sequence[Sequence[Any]]) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(lines)
    return written.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        value = msgspec.json.encode(value).decode()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


class _Lines:
    def __init__(self, file: IO[bytes], lines: Callable[[Told], bytes], head: bytes = b"") -> None:
        self._file = file
        self._lines = lines
        file.write(head)

    def write(self, rows: Told) -> None:
        self._file.write(self._lines(rows))

    def close(self) -> None:
        self._file.flush()


class _Parquet:
    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow.parquet as pq

        self._schema = parquet_schema()
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._held: list[Mapping[str, Any]] = []

    def write(self, rows: Told) -> None:
        self._held += [_typed(row) for row in rows]
        if len(self._held) >= ROW_GROUP:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        import pyarrow as pa

        if self._held:
            self._writer.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
            self._held = []


def parquet_schema() -> pa.Schema:
    """The columns of a Parquet file: REQUEST_FIELDS with their types; money is exact to the micro-dollar."""
    import pyarrow as pa

    types = {
        "started_at": pa.timestamp("ms", tz="UTC"),
        "cost_usd": pa.decimal128(18, 6),
        "stream": pa.bool_(),
        "cost_is_estimate": pa.bool_(),
        "status": pa.int32(),
        "attempts": pa.int32(),
        "tags": pa.map_(pa.string(), pa.string()),
    }
    numbers = {name: pa.int64() for name in REQUEST_FIELDS if name.endswith(("_tokens", "_ms"))}
    return pa.schema([(name, types.get(name) or numbers.get(name) or pa.string()) for name in REQUEST_FIELDS])


def _typed(row: Mapping[str, Any]) -> Mapping[str, Any]:
    from datetime import datetime
    from decimal import Decimal

    cost, tags = row["cost_usd"], row["tags"]
    return {
        **row,
        "started_at": datetime.fromisoformat(row["started_at"]),
        "cost_usd": None if cost is None else Decimal(repr(cost)),
        "tags": None if tags is None else list(tags.items()),
    }


def check_format(format_name: Format) -> None:
    """Raises ConfigurationError if it cannot be written here."""
    if format_name == "parquet" and find_spec("pyarrow") is None:
        raise ConfigurationError(
            "Parquet files need the package pyarrow, which is not installed.",
            hint='Install it with: pip install "waypost[parquet]", or take another format: jsonl, csv.',
        )


def write_export(
    database: Database, filters: Filters, file: Path, format_name: Format, progress: Progress = lambda _done, _all: None
) -> int:
    """Write the requests that there are now to a new or replaced file; how many.

    What fails or is interrupted leaves the file as it was. Raises ConfigurationError, DatabaseError.
    """
    check_format(format_name)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as opened:
            written = write_rows(database, filters, opened, format_name, progress)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return written


def write_rows(
    database: Database,
    filters: Filters,
    file: IO[bytes],
    format_name: Format,
    progress: Progress = lambda _done, _all: None,
) -> int:
    """The same to a file that is open already."""
    filters = _until_now(filters)
    total, written = count(database, filters), 0
    progress(0, total)
    writer = _writer(file, format_name)
    for rows in told_pages(database, filters):
        writer.write(rows)
        written += len(rows)
        progress(written, max(total, written))
    writer.close()
    return written


def told_pages(database: Database, filters: Filters) -> Iterator[list[dict[str, Any]]]:
    """The requests that there are now, as they are told, some at a time."""
    for each in every(database, _until_now(filters)):
        yield [told_request(row) for row in each.rows]


def _until_now(filters: Filters) -> Filters:
    """Without those that come in while this goes on: it would never end."""
    end_ms = now_ms()
    return replace(filters, until_ms=min(filters.until_ms or end_ms, end_ms))


def _writer(file: IO[bytes], format_name: Format) -> Writer:
    match format_name:
        case "jsonl":
            return _Lines(file, json_lines)
        case "csv":
            return _Lines(file, csv_lines, csv_head())
        case "parquet":
            return _Parquet(file)
