"""Journal folders for tests: written by this process or by others, and read back as a drainer would."""

from __future__ import annotations

from pathlib import Path

from waypost.ledger.journal.encoding import encode
from waypost.ledger.journal.frames import HEADER_BYTES, frame, header, mark_of
from waypost.ledger.journal.names import listing, new_holder, segment_name
from waypost.ledger.journal.reader import read
from waypost.ledger.records import Record


def written(folder: Path, *records: Record, holder: str | None = None, number: int = 1) -> Path:
    """A segment of a process that is not there any more."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / segment_name(holder or new_holder(), number)
    frames = b"".join(frame(mark_of(path.name), encode(record)) for record in records)
    path.write_bytes(header(path.name, 0) + frames)
    return path


def records_in(folder: Path) -> list[Record]:
    """All records of a folder, process by process."""
    found: list[Record] = []
    for segments in listing(folder).holders.values():
        for name in segments.sizes:
            offset = 0
            while True:
                one = read(folder / name, offset, limit=1000, is_final=False)
                found += one.records
                if not one.records:
                    break
                offset = one.end
    return found


def segments_of(folder: Path, holder: str) -> list[Path]:
    """The files of one process, the oldest first."""
    segments = listing(folder).holders[holder]
    return [folder / name for name in segments.sizes]


def flip(path: Path, place: int) -> None:
    """Change a byte, counted from the end of the header."""
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + place)
        byte = file.read(1)[0]
        file.seek(HEADER_BYTES + place)
        file.write(bytes([byte ^ 0xFF]))


def names(folder: Path) -> set[str]:
    """What is in the folder."""
    return {file.name for file in folder.iterdir()}
