"""Claims about journal files as bytes: whatever happens to some, the records around them are read, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.ledger.journal.frames import (
    FRAME_BYTES,
    HEADER_BYTES,
    LONGEST_BYTES,
    Scan,
    frame,
    header,
    is_cut_short,
    mark_of,
    scan,
    version_in,
)

NAME = "01a215824f02-13b7a6053e586b68.00000001.journal"
MARK = mark_of(NAME)
PAYLOADS = st.lists(st.binary(max_size=60), max_size=12)


def scanned(data: bytes) -> tuple[list[bytes], list[tuple[int, int]], int]:
    found = Scan()
    scan(data, MARK, found, limit=1000)
    return [data[start:end] for start, end in found.frames], found.gaps, found.consumed


def file_of(payloads: list[bytes]) -> bytes:
    return b"".join(frame(MARK, payload) for payload in payloads)


@given(PAYLOADS)
def test_what_is_written_is_read(payloads: list[bytes]) -> None:
    data = file_of(payloads)
    assert scanned(data) == (payloads, [], len(data))


@given(PAYLOADS, st.data())
def test_of_a_file_that_is_cut_anywhere_every_whole_record_is_read(payloads: list[bytes], data: st.DataObject) -> None:
    """And what is left over is told to be the beginning of a record."""
    whole = file_of(payloads)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    found, gaps, consumed = scanned(cut)
    assert found == payloads[: len(found)]
    assert gaps == []
    assert consumed == len(file_of(found))
    assert len(cut) - consumed < FRAME_BYTES + 60
    assert is_cut_short(cut[consumed:], MARK)


@given(PAYLOADS.filter(bool), st.data())
@settings(max_examples=300)
def test_a_changed_byte_costs_the_record_it_is_in_and_no_other(payloads: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(file_of(payloads))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    ends = [len(file_of(payloads[: number + 1])) for number in range(len(payloads))]
    hit = next(number for number, end in enumerate(ends) if place < end)
    found, gaps, consumed = scanned(bytes(whole))
    assert found == payloads[:hit] + payloads[hit + 1 :]
    damaged = (ends[hit - 1] if hit else 0, ends[hit])
    if hit == len(payloads) - 1:
        assert (gaps, consumed) == ([], damaged[0])
    else:
        assert (gaps, consumed) == ([damaged], len(whole))


@given(PAYLOADS, st.binary(min_size=1, max_size=200), PAYLOADS.filter(bool))
def test_bytes_in_between_that_are_no_record_are_a_gap(before: list[bytes], junk: bytes, after: list[bytes]) -> None:
    head = file_of(before)
    found, gaps, _ = scanned(head + junk + file_of(after))
    assert found == before + after
    assert gaps == [(len(head), len(head) + len(junk))]


def test_a_record_inside_a_damaged_record_is_not_taken_for_one() -> None:
    """A caller who sends what looks like a record cannot know the file's mark."""
    other = frame(mark_of(NAME.replace("1.journal", "2.journal")), b"a forged record")
    bad = bytearray(frame(MARK, b"before " + other + b" after"))
    bad[-1] ^= 1
    assert scanned(bytes(bad) + frame(MARK, b"next"))[0] == [b"next"]


def test_a_length_beyond_any_record_is_damage_and_is_not_waited_for() -> None:
    bad = MARK + (LONGEST_BYTES + 1).to_bytes(4, "little") + b"\0" * 4
    assert not is_cut_short(bad, MARK)
    assert scanned(bad + frame(MARK, b"next"))[0] == [b"next"]


def test_a_scan_stops_at_its_limit_and_goes_on_from_there() -> None:
    data, found = file_of([b"a", b"b", b"c"]), Scan()
    scan(data, MARK, found, limit=2)
    assert (len(found.frames), found.consumed) == (2, 2 * (FRAME_BYTES + 1))
    scan(data, MARK, found, limit=5)
    assert (len(found.frames), found.consumed) == (3, len(data))


@pytest.mark.parametrize("place", range(HEADER_BYTES))
def test_a_header_tells_its_version_and_any_changed_byte_in_it_is_noticed(place: int) -> None:
    whole = header(NAME, 1_795_651_200_000)
    assert version_in(whole, NAME) == 1
    assert version_in(whole, NAME.replace("1.journal", "2.journal")) is None
    assert version_in(whole[:-1], NAME) is None
    changed = bytearray(whole)
    changed[place] ^= 1
    assert version_in(bytes(changed), NAME) is None
