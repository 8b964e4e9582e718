"""What holds for every test."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final

import platformdirs
import pytest

pytest_plugins = ["tests.databases", "tests.planted", "tests.transport.raw_server"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs so, and whatever we start would inherit it: Ctrl-C could not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_MODELS: Final = platformdirs.user_data_path("waypost") / "models"
_HOMES: Final = Path(tempfile.mkdtemp(prefix="waypost-tests-"))
_NUMBERS: Final = itertools.count()
atexit.register(shutil.rmtree, _HOMES, ignore_errors=True)


def _new_home() -> str:
    """A folder for the journal and database of servers that name none. It goes with the process.

    Models stay where they are: they are large, and nothing here changes them.
    """
    folder = _HOMES / str(next(_NUMBERS)) / "waypost"
    folder.mkdir(parents=True)
    _MODELS.mkdir(parents=True, exist_ok=True)
    (folder / "models").symlink_to(_MODELS, target_is_directory=True)
    return str(folder.parent)


# For what is made before the first test.
os.environ["XDG_DATA_HOME"] = _new_home()


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another one left: with the same idempotency key, for instance."""
    monkeypatch.setenv("XDG_DATA_HOME", _new_home())
