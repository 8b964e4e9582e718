"""Claims about appending: what is taken is in a file, what cannot be taken is refused, and ends are never refused."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.ledger.journal.folders import names, records_in, segments_of
from tests.ledger.traffic import a_body, a_closed, an_ended, an_opened, exchange

from waypost.errors import ConfigurationError, JournalFull
from waypost.ledger.journal import Journal, journal, writing
from waypost.ledger.journal.backlog import leave_word
from waypost.ledger.journal.frames import HEADER_BYTES
from waypost.ledger.journal.locks import take
from waypost.ledger.journal.names import lock_name, spare_name
from waypost.ledger.records import Record

GIBIBYTE = 1024**3
MEBIBYTE = 1024**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's thread looks a hundred times a second."""
    monkeypatch.setattr(journal, "TICK_S", 0.01)


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.005)


def is_held(folder: Path, holder: str) -> bool:
    held = take(folder / lock_name(holder), create=False)
    if held is not None:
        held.release()
    return held is None


# What is taken is there


@pytest.mark.parametrize("fsync", ["off", "interval", "always"])
@pytest.mark.usefixtures("hurried")
def test_what_was_appended_is_in_the_file_at_once_and_in_order(folder: Path, fsync: writing.Fsync) -> None:
    own = Journal(folder, max_bytes=GIBIBYTE, fsync=fsync)
    records = [record for number in range(20) for record in exchange(number)]
    for count, record in enumerate(records, start=1):
        own.append(record)
        if count % 10 == 0:
            assert records_in(folder) == records[:count]
    time.sleep(0.05)
    own.close()
    assert records_in(folder) == records


def test_a_process_shows_that_it_lives_until_it_closes(folder: Path) -> None:
    own = Journal(folder, max_bytes=GIBIBYTE)
    assert is_held(folder, own.holder)
    own.close()
    assert not is_held(folder, own.holder)


def test_only_its_owner_may_read_the_journal(folder: Path) -> None:
    own = Journal(folder, max_bytes=GIBIBYTE)
    own.append(an_opened("a"))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    own.close()


def test_a_segment_that_is_long_enough_is_followed_by_another(folder: Path) -> None:
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=10_000)
    records = [record for number in range(100) for record in exchange(number)]
    for record in records:
        own.append(record)
    own.close()
    files = segments_of(folder, own.holder)
    assert len(files) > 5
    assert max(file.stat().st_size for file in files) <= 10_000
    assert records_in(folder) == records


def test_ends_that_are_written_together_are_read_one_by_one(folder: Path) -> None:
    """Also where they do not fit into the segment any more: they are in one segment, whichever it is."""
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=10_000)
    ends = [an_ended(str(number)) for number in range(100)]
    for at in range(0, len(ends), 20):
        own.append_ends(ends[at : at + 20])
    own.close()
    assert len(segments_of(folder, own.holder)) > 1
    assert records_in(folder) == ends


def test_what_no_text_can_be_is_written_all_the_same(folder: Path) -> None:
    """Half a surrogate pair, and a count beyond 64 bits, come from callers and providers."""
    own = Journal(folder, max_bytes=GIBIBYTE)
    own.append(an_opened("a", end_user="\ud800ann", tags={"\udfff": "x"}))
    own.append(a_closed("a", cost_micro_usd=10**40))
    own.close()
    first, second = records_in(folder)
    assert first == an_opened("a", end_user="\ufffdann", tags={"\ufffd": "x"})
    assert second == a_closed("a", cost_micro_usd=2**63 - 1)


def test_threads_may_append_at_the_same_time(folder: Path) -> None:
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=20_000)

    def append(name: str) -> None:
        for number in range(200):
            own.append(an_opened(f"{name}{number}"))

    threads = [threading.Thread(target=append, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    own.close()
    wanted = [an_opened(f"{name}{number}") for name in "abcd" for number in range(200)]
    assert sorted(records_in(folder), key=repr) == sorted(wanted, key=repr)


def test_after_the_end_no_call_may_begin(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = Journal(folder, max_bytes=GIBIBYTE)
    own.close()
    own.close()
    with pytest.raises(JournalFull, match="shutting down"):
        own.append(an_opened("a"))
    own.append(a_closed("a"))
    assert "after the journal was closed" in caplog.text


def test_a_folder_that_cannot_be_made_is_an_error_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written to: Not a directory"):
        Journal(tmp_path / "file" / "journal", max_bytes=GIBIBYTE)


@pytest.mark.usefixtures("hurried")
def test_the_next_segment_is_made_before_it_is_needed(folder: Path) -> None:
    """An append then only gives it its name."""
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=20_000)
    records: list[Record] = [an_opened("a")]
    own.append(records[0])
    assert not (folder / spare_name(own.holder)).exists()
    while sum(file.stat().st_size for file in segments_of(folder, own.holder)) < 12_000:
        records.append(a_closed("a", len(records)))
        own.append(records[-1])
    until(lambda: (folder / spare_name(own.holder)).exists())
    inode = (folder / spare_name(own.holder)).stat().st_ino
    while len(segments_of(folder, own.holder)) == 1:
        records.append(a_closed("a", len(records)))
        own.append(records[-1])
    assert segments_of(folder, own.holder)[1].stat().st_ino == inode
    own.close()
    assert not (folder / spare_name(own.holder)).exists()
    assert records_in(folder) == records


# The limit


@pytest.mark.usefixtures("hurried")
def test_beyond_its_limit_calls_are_refused_and_ends_are_taken(folder: Path) -> None:
    """It is the backlog that is limited: what the database has got does not count."""
    own = Journal(folder, max_bytes=MEBIBYTE)
    begun = 0
    with pytest.raises(JournalFull) as refused:
        while True:
            own.append(an_opened(f"a{begun}"))
            begun += 1
    assert (refused.value.http_status, refused.value.retry_after_s) == (503, 5.0)
    assert "limit of 1048576 bytes" in str(refused.value)
    assert begun > 3000
    for number in range(begun):
        own.append(a_closed(f"a{number}"))
        own.append(a_body(f"a{number}"))
    state = own.state()
    assert state.backlog_bytes > MEBIBYTE
    assert (state.limit_bytes, state.waiting_records, state.dropped_bodies) == (MEBIBYTE, 0, 0)
    assert state.refusal is not None
    assert state.undrained_since_ms is not None
    assert len(records_in(folder)) == 3 * begun
    sizes = {file.name: file.stat().st_size for file in segments_of(folder, own.holder)}
    leave_word(folder, sizes, time.time())
    until(lambda: own.state().refusal is None)
    assert own.state().backlog_bytes == 0
    assert own.state().undrained_since_ms is None
    own.append(an_opened("b"))
    own.close()


@pytest.mark.usefixtures("hurried")
def test_the_backlog_is_that_of_all_processes_of_the_folder(folder: Path) -> None:
    first = Journal(folder, max_bytes=MEBIBYTE)
    second = Journal(folder, max_bytes=MEBIBYTE)
    first.append(a_body("a", response="x" * 2 * MEBIBYTE))
    until(lambda: second.state().refusal is not None)
    with pytest.raises(JournalFull):
        second.append(an_opened("b"))
    first.close()
    second.close()


@pytest.mark.usefixtures("hurried")
def test_a_drained_segment_that_stands_still_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds what callers said, and can be removed only then."""
    monkeypatch.setattr(writing, "IDLE_S", 0.05)
    own = Journal(folder, max_bytes=GIBIBYTE)
    own.append(an_opened("a"))
    (file,) = segments_of(folder, own.holder)
    time.sleep(0.2)
    assert segments_of(folder, own.holder) == [file]
    leave_word(folder, {file.name: file.stat().st_size}, time.time())
    until(lambda: len(segments_of(folder, own.holder)) == 2)
    time.sleep(0.1)
    assert len(segments_of(folder, own.holder)) == 2
    own.append(a_closed("a"))
    assert [file.stat().st_size > HEADER_BYTES for file in segments_of(folder, own.holder)] == [True, True]
    own.close()


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of twelve megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    """Write until there is no room, and a little less."""
    file = disk / "other"
    with file.open("wb", buffering=0) as written:
        for size in (MEBIBYTE, 4096, 512):
            try:
                while True:
                    written.write(b"x" * size)
            except OSError:
                continue
    return file


@pytest.mark.usefixtures("hurried")
def test_on_a_full_disk_the_ends_of_calls_under_way_still_go_to_the_disk(small_disk: Path) -> None:
    """Into what was set aside for them; new calls are refused until there is room."""
    folder = small_disk / "journal"
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=3 * MEBIBYTE)
    calls = 0
    own.append(an_opened("first"))
    other = fill(small_disk)
    with pytest.raises(JournalFull, match="No space left on device"):
        while True:
            own.append(an_opened(f"a{calls}"))
            calls += 1
    assert calls > 5000
    ends: list[Record] = [a_closed("first"), an_ended("first")]
    ends += [record for number in range(1000) for record in (a_closed(f"a{number}"), an_ended(f"a{number}"))]
    for record in ends:
        own.append(record)
    own.append(a_body("first"))
    state = own.state()
    assert (state.waiting_records, state.dropped_bodies) == (0, 1)
    assert "No space left" in (state.refusal or "")
    assert records_in(folder)[calls + 1 :] == ends
    with pytest.raises(JournalFull):
        own.append(an_opened("b"))
    other.unlink()
    until(lambda: own.state().refusal is None)
    own.append(an_opened("b"))
    own.close()
    assert records_in(folder)[calls + 1 :] == [*ends, an_opened("b")]


@pytest.mark.usefixtures("hurried")
def test_ends_that_no_disk_takes_wait_in_memory_and_keep_their_order(small_disk: Path) -> None:
    folder = small_disk / "journal"
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=64 * 1024)
    own.append(an_opened("a"))
    other = fill(small_disk)
    ends: list[Record] = [a_closed("a", number) for number in range(1, 15_000)]
    for record in ends:
        own.append(record)
    waiting = own.state().waiting_records
    assert 0 < waiting < len(ends) - 5000
    written = records_in(folder)
    assert written == [an_opened("a"), *ends[: len(ends) - waiting]]
    other.unlink()
    until(lambda: own.state().waiting_records == 0)
    assert records_in(folder) == [an_opened("a"), *ends]
    own.close()


def test_what_waits_is_written_at_the_close_if_there_is_room_then(small_disk: Path) -> None:
    folder = small_disk / "journal"
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=64 * 1024)
    own.append(an_opened("a"))
    other = fill(small_disk)
    ends: list[Record] = [a_closed("a", number) for number in range(1, 15_000)]
    for record in ends:
        own.append(record)
    assert own.state().waiting_records
    other.unlink()
    own.close()
    assert records_in(folder) == [an_opened("a"), *ends]


@pytest.mark.usefixtures("hurried")
def test_a_journal_that_begins_on_a_full_disk_refuses_until_there_is_room(small_disk: Path) -> None:
    folder = small_disk / "journal"
    folder.mkdir()
    other = fill(small_disk)
    own = Journal(folder, max_bytes=GIBIBYTE, segment_bytes=MEBIBYTE)
    with pytest.raises(JournalFull):
        own.append(an_opened("a"))
    other.unlink()
    until(lambda: own.state().refusal is None)
    own.append(an_opened("a"))
    own.close()
    assert records_in(folder) == [an_opened("a")]


LIMITED = """
import sys
from pathlib import Path
from waypost.errors import JournalFull
from waypost.ledger.journal import Journal
from tests.ledger.traffic import exchange, a_closed, a_body, an_opened
own = Journal(Path(sys.argv[1]), max_bytes=1 << 30)
for number in range(int(sys.argv[2])):
    for record in exchange(number):
        own.append(record)
try:
    own.append(an_opened("x", end_user="u" * 300_000))
except JournalFull as error:
    print(error)
own.append(a_body("x", response="u" * 300_000))
print(own.state().dropped_bodies, own.state().waiting_records)
own.close()
"""


def test_where_files_may_not_grow_large_there_are_more_of_them(folder: Path) -> None:
    """RLIMIT_FSIZE: what does not fit in any file is refused, and every file stays well formed."""
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, folder, "1000"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        capture_output=True,
        text=True,
        check=True,
    )
    refusal, counts = result.stdout.splitlines()
    assert refusal.startswith("The journal cannot be written: File too large.")
    assert counts == "1 0"
    files = [file for file in folder.iterdir() if file.suffix == ".journal"]
    assert len(files) > 3
    assert records_in(folder) == [record for number in range(1000) for record in exchange(number)]


# Forks


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_that_is_forked_off_writes_to_files_of_its_own_and_leaves_its_parent_s_alone(folder: Path) -> None:
    own = Journal(folder, max_bytes=GIBIBYTE)
    own.append(an_opened("a"))
    holder = own.holder
    reading, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            own.append(an_opened("b"))
            os.write(writing_end, own.holder.encode())
            own.append(a_closed("b"))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    others = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing_end)
    own.append(a_closed("a"))
    assert others != holder == own.holder
    assert (is_held(folder, holder), is_held(folder, others)) == (True, False)
    assert {len(segments_of(folder, each)) for each in (holder, others)} == {1}
    assert sorted(records_in(folder), key=repr) == sorted(
        [an_opened("a"), a_closed("a"), an_opened("b"), a_closed("b")], key=repr
    )
    own.close()


def test_a_child_that_does_nothing_does_not_keep_its_dead_parent_alive(folder: Path) -> None:
    """A lock that a child inherits would never be free while the child runs."""
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom waypost.ledger.journal import Journal\n"
        "own = Journal(Path(sys.argv[1]), max_bytes=1 << 30)\n"
        "if os.fork() == 0:\n    os.write(1, b'child %d\\n' % os.getpid())\n    time.sleep(60)\n"
        "os.write(1, own.holder.encode() + b'\\n')\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    lines = dict.fromkeys((parent.stdout.readline().strip(), parent.stdout.readline().strip()))
    child = next(int(line.split()[1]) for line in lines if line.startswith("child"))
    holder = next(line for line in lines if not line.startswith("child"))
    assert is_held(folder, holder)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    try:
        assert not is_held(folder, holder)
    finally:
        os.kill(child, 9)
    assert names(folder) >= {lock_name(holder)}
