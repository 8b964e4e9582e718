"""End this process when the one that started it ends, however that happens, SIGKILL included.

As a module (`python -m waypost.local.lifeline MODULE ARGUMENTS...`) it runs MODULE under that rule. The starter
holds the write end of this process's stdin and writes nothing more to it: end of file means that it is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import select
import signal
import sys
import threading
from typing import Final, NoReturn

PARENT_GONE_EXIT_CODE: Final = 75
_PARENT_CHECK_S: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent_pid: int, *, kernel_watch: bool = False) -> None:
    """Watch from a thread of its own, from now on. stdin must not be read by anything else afterwards.

    `kernel_watch` asks Linux to send SIGKILL too, which works while a C extension holds the interpreter. It fires
    when the parent's thread that forked ends, so that thread must live as long as this process is wanted.
    """
    if kernel_watch:
        be_killed_with_parent()
    threading.Thread(target=_watch, args=(parent_pid,), name="lifeline", daemon=True).start()


def be_killed_with_parent() -> None:
    """Ask Linux to send SIGKILL when the parent's thread that forked ends; elsewhere nothing happens."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch(parent_pid: int) -> NoReturn:
    # A process that the parent forked without exec may hold the pipe open, hence the look at the parent's id as well.
    while os.getppid() == parent_pid:
        readable, _, _ = select.select([0], [], [], _PARENT_CHECK_S)
        # Not sys.stdin: a thread blocked there holds a lock that the interpreter wants when it shuts down.
        if readable and not os.read(0, 4096):
            break
    os._exit(PARENT_GONE_EXIT_CODE)


def main() -> None:
    """Run the module named first on the command line, with the rest as its arguments."""
    end_with_parent(os.getppid())
    module, *_ = sys.argv[1:]
    del sys.argv[0]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
