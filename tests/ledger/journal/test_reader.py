"""Claims about reading: what is not whole is waited for, what is damaged is set aside, and the rest is read."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from tests.ledger.journal.folders import flip, written
from tests.ledger.traffic import a_body, a_closed, an_ended, an_opened

from waypost.ledger.journal import reader
from waypost.ledger.journal.encoding import encode
from waypost.ledger.journal.frames import FRAME_BYTES, HEADER_BYTES, VERSION, frame, header, mark_of
from waypost.ledger.journal.reader import read
from waypost.ledger.records import Record

RECORDS: list[Record] = [an_opened("a"), a_closed("a"), an_ended("a")]
SIZES = [FRAME_BYTES + len(encode(record)) for record in RECORDS]


def quarantined(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "quarantine").glob("*")}


def test_a_reading_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    path = written(tmp_path, *RECORDS)
    first = read(path, 0, limit=2, is_final=True)
    assert (first.records, first.is_last, first.is_behind) == (RECORDS[:2], False, True)
    second = read(path, first.end, limit=2, is_final=True)
    assert (second.records, second.is_last, second.is_behind) == (RECORDS[2:], True, False)
    assert second.end == path.stat().st_size
    third = read(path, second.end, limit=2, is_final=True)
    assert (third.records, third.is_last, third.end) == ([], True, second.end)


@pytest.mark.parametrize("cut", [1, SIZES[2] - 1, SIZES[2] - FRAME_BYTES, SIZES[2] - 9])
def test_a_record_that_is_not_whole_is_waited_for_while_its_process_may_still_write(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path, *RECORDS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    waiting = read(path, 0, limit=100, is_final=False)
    assert (waiting.records, waiting.is_last, waiting.is_behind, waiting.gaps) == (RECORDS[:2], False, True, [])
    path.write_bytes(whole)
    assert read(path, waiting.end, limit=100, is_final=False).records == RECORDS[2:]


def test_a_record_that_never_became_whole_ends_the_file(tmp_path: Path) -> None:
    """Its bytes are kept all the same: a changed length looks alike."""
    path = written(tmp_path, *RECORDS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    found = read(path, 0, limit=100, is_final=True)
    assert (found.records, found.is_last, found.is_behind) == (RECORDS[:2], True, False)
    assert [gap.kind for gap in found.gaps] == ["cut short"]
    begin = HEADER_BYTES + SIZES[0] + SIZES[1]
    assert quarantined(tmp_path) == {f"{path.name}.{begin}-{len(whole) - 5}": whole[begin:-5]}


@pytest.mark.parametrize("is_final", [True, False])
def test_damage_in_the_middle_is_set_aside_and_the_reading_goes_on(tmp_path: Path, is_final: bool) -> None:
    path = written(tmp_path, *RECORDS)
    flip(path, SIZES[0] + 30)
    found = read(path, 0, limit=100, is_final=is_final)
    assert found.records == [RECORDS[0], RECORDS[2]]
    (gap,) = found.gaps
    assert (gap.kind, gap.start, gap.end) == ("damaged", HEADER_BYTES + SIZES[0], HEADER_BYTES + SIZES[0] + SIZES[1])
    assert quarantined(tmp_path) == {f"{path.name}.{gap.start}-{gap.end}": path.read_bytes()[gap.start : gap.end]}
    assert [(end - start) for start, end in found.spans] == [SIZES[0], SIZES[2]]


def test_a_damaged_last_record_is_waited_for_and_set_aside_when_nothing_can_follow(tmp_path: Path) -> None:
    path = written(tmp_path, *RECORDS)
    flip(path, sum(SIZES) - 1)
    assert read(path, 0, limit=100, is_final=False).gaps == []
    found = read(path, 0, limit=100, is_final=True)
    assert (found.records, [gap.kind for gap in found.gaps]) == (RECORDS[:2], ["damaged"])


def test_a_damaged_header_costs_no_record(tmp_path: Path) -> None:
    path = written(tmp_path, *RECORDS)
    flip(path, -HEADER_BYTES)
    found = read(path, 0, limit=100, is_final=True)
    assert found.records == RECORDS
    assert [(gap.start, gap.end) for gap in found.gaps] == [(0, HEADER_BYTES)]


def test_a_record_that_no_version_of_ours_wrote_is_set_aside(tmp_path: Path) -> None:
    path = written(tmp_path, RECORDS[0])
    with path.open("ab") as file:
        file.write(frame(mark_of(path.name), msgspec.msgpack.encode(["z", 1])))
        file.write(frame(mark_of(path.name), encode(RECORDS[1])))
    found = read(path, 0, limit=100, is_final=True)
    assert (found.records, [gap.kind for gap in found.gaps]) == (RECORDS[:2], ["unreadable"])


def test_a_newer_version_s_file_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path, *RECORDS)
    newer = header(path.name, 0).replace(VERSION.to_bytes(2, "little"), (VERSION + 1).to_bytes(2, "little"), 1)
    from zlib import crc32

    newer = newer[:-4] + crc32(path.name.encode(), crc32(newer[:-4])).to_bytes(4, "little")
    path.write_bytes(newer + path.read_bytes()[HEADER_BYTES:])
    found = read(path, 0, limit=100, is_final=True)
    assert (found.is_foreign, found.records, found.end, found.is_last) == (True, [], 0, False)


def test_records_larger_than_what_is_read_at_once_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CHUNK_BYTES", 1000)
    large: list[Record] = [a_body("a", response="x" * 50_000), *RECORDS, a_body("b", response="y" * 70_000)]
    path = written(tmp_path, *large)
    found, offset = [], 0
    while not (one := read(path, offset, limit=100, is_final=True)).is_last or one.records:
        found += one.records
        offset = one.end
    assert found == large


def test_a_gap_larger_than_what_is_read_at_once_is_one_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CHUNK_BYTES", 1000)
    path = written(tmp_path, *RECORDS)
    whole = path.read_bytes()
    path.write_bytes(whole[: -SIZES[2]] + os.urandom(20_000) + whole[-SIZES[2] :])
    found, gaps, offset = [], [], 0
    while not (one := read(path, offset, limit=100, is_final=True)).is_last or one.records:
        found += one.records
        gaps += one.gaps
        offset = one.end
    assert found == RECORDS
    assert [(gap.end - gap.start, gap.kind) for gap in gaps] == [(20_000, "damaged")]


def test_without_room_for_the_copy_nothing_is_read(tmp_path: Path) -> None:
    """A gap that could not be set aside is not passed over."""
    path = written(tmp_path, *RECORDS)
    flip(path, SIZES[0] + 30)
    (tmp_path / "quarantine").write_text("in the way")
    with pytest.raises(OSError, match="quarantine"):
        read(path, 0, limit=100, is_final=True)
