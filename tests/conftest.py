"""What holds for every test."""

from __future__ import annotations

import signal

pytest_plugins = ["tests.databases"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs so, and whatever we start would inherit it: Ctrl-C could not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)
