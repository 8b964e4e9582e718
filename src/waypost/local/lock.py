"""One pull at a time in a folder of models: a lock that the system takes back when its holder dies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from waypost.errors import ModelError

_POLL_S: Final = 0.2


@contextmanager
def folder_lock(folder: Path, waiting: Callable[[], None], *, limit_s: float = 600.0) -> Iterator[None]:
    """Hold the lock of `folder`, which exists; `waiting` is called again and again until then.

    Raises ModelError when another process still holds it after `limit_s`, and OSError.
    """
    # Only on Unix, and only needed here: the rest of the package imports without it.
    import fcntl

    # The file is never removed: two processes could then each lock a file of that name.
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        end = time.monotonic() + limit_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise ModelError(
                        f"Another process has been fetching a model into {folder} for over {limit_s:.0f} s.",
                        hint="Wait for it or end it, then try again.",
                    ) from None
            waiting()
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)
