"""What `waypost batch run` reads: lines of JSON, a table, or a folder of documents. One item at a time, never all.

The invariant: an item's place is counted in what is read, whatever is wrong with it, so that the same input gives the
same places each time.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final, cast

from waypost.errors import RequestError
from waypost.jobs.batch import Item
from waypost.server.batch_lines import (
    LineForm,
    item_of_document,
    item_of_fields,
    item_of_line,
    item_of_text,
    unusable,
)

STDIN: Final = "-"
DOCUMENTS: Final = (".txt", ".md", ".html", ".htm", ".pdf", ".docx")
BOM: Final = b"\xef\xbb\xbf"


class UnreadableInput(RequestError):
    """The input itself cannot be read."""


def check_input(source: str, form: LineForm) -> None:
    """Raises UnreadableInput for what need not be begun with."""
    if source == STDIN:
        return
    path = Path(source)
    if path.is_dir():
        if form.type != "analyze":
            raise UnreadableInput("A folder of documents can only be analyzed.", hint="Leave --type out.")
        if next(iter(_documents(path)), None) is None:
            raise UnreadableInput(f"There is no document in {source}.", hint=f"Read are {', '.join(DOCUMENTS)}.")
        return
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UnreadableInput(f"{source} cannot be read: {error.strerror}.") from error


def read_items(source: str, form: LineForm) -> Iterator[Item]:
    """All items, in order. Raises UnreadableInput."""
    try:
        if source != STDIN and Path(source).is_dir():
            yield from _folder(Path(source), form)
        elif source.lower().endswith((".csv", ".tsv")):
            yield from _table(Path(source), form)
        else:
            with closing(_opened(source)) as stream:
                yield from _lines(stream, form)
    except OSError as error:
        raise UnreadableInput(f"{source} cannot be read: {error.strerror or error}.") from error


def _opened(source: str) -> BinaryIO:
    return cast("BinaryIO", sys.stdin.buffer) if source == STDIN else Path(source).open("rb")


def _lines(stream: BinaryIO, form: LineForm) -> Iterator[Item]:
    """Lines without anything in them are no items."""
    index, is_first = 0, True
    while line := stream.readline(form.longest_line + 1):
        if is_first:
            line, is_first = line.removeprefix(BOM), False
        if len(line) > form.longest_line and not line.endswith(b"\n"):
            _skip_line(stream)
        elif not line.strip():
            continue
        yield item_of_line(line, index, form)
        index += 1


def _skip_line(stream: BinaryIO) -> None:
    while (more := stream.readline(1 << 20)) and not more.endswith(b"\n"):
        pass


def _table(path: Path, form: LineForm) -> Iterator[Item]:
    """A first row of names, then a row an item. Bytes that are no text are seen by the marks they leave."""
    csv.field_size_limit(form.longest_line)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        rows = csv.reader(stream, delimiter=delimiter)
        names = next(rows, [])
        index = 0
        while (row := _row(rows)) is not None:
            if row or isinstance(row, csv.Error):
                yield _item_of_row(names, row, index, form)
                index += 1


def _row(rows: Iterator[list[str]]) -> list[str] | csv.Error | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        return error


def _item_of_row(names: list[str], row: list[str] | csv.Error, index: int, form: LineForm) -> Item:
    if isinstance(row, csv.Error):
        return unusable(index, f"The row cannot be read: {row}.")
    if any("\udc80" <= character <= "\udcff" for cell in row for character in cell):
        return unusable(index, "The row is not UTF-8.")
    if len(row) > len(names):
        return unusable(index, f"The row has {len(row)} cells, and there are {len(names)} names.")
    if len(names) == 1 and form.content_field is None:
        return item_of_text(row[0], index, None, form)
    return item_of_fields(dict(zip(names, row, strict=False)), index, form)


def _folder(folder: Path, form: LineForm) -> Iterator[Item]:
    for index, path in enumerate(_documents(folder)):
        name = path.relative_to(folder).as_posix()
        try:
            with path.open("rb") as stream:
                data = stream.read(form.most_bytes + 1)
        except OSError as error:
            yield unusable(index, f"The file cannot be read: {error.strerror}.", name)
            continue
        yield item_of_document(data, name, index, form)


def _documents(folder: Path) -> list[Path]:
    """In the order of their names; what is hidden is not looked at."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in DOCUMENTS and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
