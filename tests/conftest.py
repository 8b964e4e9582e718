"""What holds for every test."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import tempfile

import pytest

pytest_plugins = ["tests.databases"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs so, and whatever we start would inherit it: Ctrl-C could not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Servers that tests start keep what they keep here, not where the user's own server does.
_DATA = tempfile.mkdtemp(prefix="waypost-tests-")
os.environ["XDG_DATA_HOME"] = _DATA
atexit.register(shutil.rmtree, _DATA, ignore_errors=True)
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another one left."""
    monkeypatch.setenv("XDG_DATA_HOME", f"{_DATA}/{next(_numbers)}")
