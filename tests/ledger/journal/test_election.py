"""Claims about who drains a folder: one process at a time, and not one that is dead or stands still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from waypost.ledger.journal.election import Election
from waypost.ledger.journal.names import DRAINER_LOCK

ELECTED = """
import sys, time
from pathlib import Path
from waypost.ledger.journal.election import Election
own = Election(Path(sys.argv[1]))
print(own.stand(), flush=True)
time.sleep(60)
"""


def another(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", ELECTED, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    process.stdout.close()
    return process


def test_one_of_several_is_elected_and_the_next_one_when_it_resigns(tmp_path: Path) -> None:
    first, second = Election(tmp_path), Election(tmp_path)
    assert (first.stand(), second.stand()) == (True, False)
    assert (first.stand(), second.stand()) == (True, False)
    first.resign()
    assert not first.is_won
    assert (second.stand(), first.stand()) == (True, False)
    second.resign()


def test_the_death_of_the_one_makes_room_for_another(tmp_path: Path) -> None:
    elected, own = another(tmp_path), Election(tmp_path)
    assert not own.stand()
    elected.kill()
    elected.wait()
    assert own.stand()
    own.resign()


def test_one_that_stands_still_loses_its_office_and_notices_when_it_wakes(tmp_path: Path) -> None:
    elected, own = another(tmp_path), Election(tmp_path, stale_s=5.0)
    elected.send_signal(signal.SIGSTOP)
    # Until it stands still it may give a sign of life.
    os.waitpid(elected.pid, os.WUNTRACED)
    assert not own.stand()
    long_ago_s = time.time() - 10
    os.utime(tmp_path / DRAINER_LOCK, (long_ago_s, long_ago_s))
    assert own.stand()
    elected.kill()
    elected.wait()
    own.resign()


def test_whoever_was_deposed_stands_again(tmp_path: Path) -> None:
    first, second = Election(tmp_path), Election(tmp_path, stale_s=5.0)
    assert first.stand()
    os.utime(tmp_path / DRAINER_LOCK, (1, 1))
    assert second.stand()
    assert not first.is_won
    assert not first.stand()
    second.resign()
    assert first.stand()
    first.resign()


def test_a_sign_of_life_keeps_the_office(tmp_path: Path) -> None:
    first, second = Election(tmp_path), Election(tmp_path, stale_s=5.0)
    assert first.stand()
    os.utime(tmp_path / DRAINER_LOCK, (1, 1))
    first._last_beat_s = 0.0
    assert first.stand()
    assert not second.stand()
    assert first.is_won
    first.resign()
