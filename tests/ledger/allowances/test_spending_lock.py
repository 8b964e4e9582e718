"""Who spends a SQLite database's budgets: one process alone, or several in slices, and never both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from waypost.ledger.allowances.spending_lock import SpendingLock

HOLD = """
import sys
from pathlib import Path
from waypost.ledger.allowances.spending_lock import SpendingLock

print(SpendingLock(Path(sys.argv[1]), alone=sys.argv[2] == "alone").take(), flush=True)
sys.stdin.read()
"""


class Other:
    """Another process, which wants the lock and keeps what it gets."""

    def __init__(self, file: Path, how: str) -> None:
        command = [sys.executable, "-c", HOLD, str(file), how]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.has_it = self.process.stdout.readline().strip() == "True"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_who_spends_alone_is_alone_until_it_dies(tmp_path: Path) -> None:
    file = tmp_path / "data" / "waypost.db"
    first = Other(file, "alone")
    assert first.has_it
    for how in ("alone", "shared"):
        other = Other(file, how)
        assert not other.has_it
        other.kill()
    first.kill()
    lock = SpendingLock(file, alone=True)
    assert lock.take()
    assert lock.take()
    lock.release()


def test_those_that_share_keep_out_one_that_would_be_alone(tmp_path: Path) -> None:
    file = tmp_path / "waypost.db"
    others = [Other(file, "shared"), Other(file, "shared")]
    assert all(other.has_it for other in others)
    lock = SpendingLock(file, alone=True)
    assert not lock.take()
    others[0].kill()
    assert not lock.take()
    others[1].kill()
    assert lock.take()
    lock.release()
