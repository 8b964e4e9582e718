"""What holds for every test."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import platformdirs

pytest_plugins = ["tests.databases", "tests.planted"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs so, and whatever we start would inherit it: Ctrl-C could not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _data_of_our_own() -> None:
    """Servers of tests that name no data folder keep their journal and database in one that goes with the process.

    Models stay where they are: they are large, and nothing here changes them.
    """
    models = platformdirs.user_data_path("waypost") / "models"
    home = Path(tempfile.mkdtemp(prefix="waypost-tests-"))
    (home / "waypost").mkdir()
    models.mkdir(parents=True, exist_ok=True)
    (home / "waypost" / "models").symlink_to(models, target_is_directory=True)
    os.environ["XDG_DATA_HOME"] = str(home)
    atexit.register(shutil.rmtree, home, ignore_errors=True)


_data_of_our_own()
