"""What a journal file is made of: a header, then frames of one record each. Bytes only, no I/O.

A frame is a mark of eight bytes, a length, a checksum and the record. The mark is the file's own and cannot be guessed,
so that after damage the next frame is found, and nothing that a caller wrote is ever taken for one. The invariant: a
frame is read only as it was written; what is between two frames and is none is a gap, and is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from struct import Struct
from typing import Final
from zlib import crc32

VERSION: Final = 1
"""It rises when an older drainer could not read all that a newer writer writes; it leaves such files to newer ones."""
LONGEST_BYTES: Final = 256 * 1024 * 1024
"""No record is longer: a length beyond it is damage."""
_MAGIC: Final = b"WAYPOSTJ"
_HEADER: Final = Struct("<8sHQI")
_FRAME: Final = Struct("<8sII")
_CHECKED: Final = _FRAME.size - 4
HEADER_BYTES: Final = _HEADER.size
FRAME_BYTES: Final = _FRAME.size
"""What a frame has beside its record."""


def mark_of(name: str) -> bytes:
    """What each frame of the file of this name begins with: names hold sixty-four random bits."""
    return blake2b(name.encode(), digest_size=8).digest()


def header(name: str, created_at_ms: int) -> bytes:
    """The beginning of a file."""
    start = _HEADER.pack(_MAGIC, VERSION, created_at_ms, 0)[:-4]
    return start + crc32(name.encode(), crc32(start)).to_bytes(4, "little")


def version_in(data: bytes, name: str) -> int | None:
    """The version of a file that begins so; None if its header is damaged, which loses nothing else."""
    if len(data) < HEADER_BYTES:
        return None
    magic, version, _, check = _HEADER.unpack_from(data)
    sound = magic == _MAGIC and check == crc32(name.encode(), crc32(data[: HEADER_BYTES - 4]))
    return int(version) if sound else None


def frame(mark: bytes, payload: bytes) -> bytes:
    """A record as it is written."""
    start = mark + len(payload).to_bytes(4, "little")
    return start + crc32(payload, crc32(start)).to_bytes(4, "little") + payload


@dataclass(slots=True)
class Scan:
    """What was found: the bounds of payloads, the gaps between frames, and how far all is accounted for."""

    frames: list[tuple[int, int]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    consumed: int = 0


def scan(data: bytes, mark: bytes, found: Scan, *, limit: int) -> None:
    """Go on until there are `limit` frames. What follows the last sound one is left: it may be still in writing."""
    view, at = memoryview(data), found.consumed
    while len(found.frames) < limit:
        end = _end_of_frame(data, view, mark, at)
        if end is None:
            following = _next_frame(data, view, mark, at + 1)
            if following is None:
                break
            found.gaps.append((at, following))
            at = following
            continue
        found.frames.append((at + FRAME_BYTES, end))
        found.consumed = at = end


def is_cut_short(data: bytes, mark: bytes) -> bool:
    """Is this the beginning of a frame that was not written to its end?"""
    if len(data) < FRAME_BYTES:
        return mark.startswith(data[: len(mark)])
    begun, length, _ = _FRAME.unpack_from(data)
    return bool(begun == mark and len(data) < FRAME_BYTES + length <= FRAME_BYTES + LONGEST_BYTES)


def _end_of_frame(data: bytes, view: memoryview, mark: bytes, at: int) -> int | None:
    """Where the frame that begins here ends; None if none does."""
    start = at + FRAME_BYTES
    if start > len(data):
        return None
    begun, length, check = _FRAME.unpack_from(data, at)
    end: int = start + length
    if begun != mark or length > LONGEST_BYTES or end > len(data):
        return None
    sound = crc32(view[start:end], crc32(view[at : at + _CHECKED])) == check
    return end if sound else None


def _next_frame(data: bytes, view: memoryview, mark: bytes, at: int) -> int | None:
    while (at := data.find(mark, at)) >= 0:
        if _end_of_frame(data, view, mark, at) is not None:
            return at
        at += 1
    return None
