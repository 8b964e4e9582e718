"""New ids, with the mark of the worker process that made them where there are several: `req_<32 hex digits>w2`.

The mark leads a later request about the id to the process that knows of it. It is no secret and no proof: an id that a
caller made up may carry one too, so it only says whom to ask first.
"""

from __future__ import annotations

import os
import re
from typing import Final

# An id becomes part of event ids, which are one line each, and of log lines.
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,200}")
_MARKED: Final = re.compile(r"[a-z]+_[0-9a-f]{32}w([0-9]{1,3})")
_DRAWN: Final = 256
_mark = ""
_draws: list[str] = []
"""Random bytes, asked of the system for many ids at once: 32 hexadecimal digits each."""


def mark_ids(worker: int | None) -> None:
    """From now on this process's ids carry the worker's number, which begins at 1; None: no mark."""
    global _mark  # noqa: PLW0603 - a process is one worker
    _mark = "" if worker is None else f"w{worker}"


def new_request_id() -> str:
    """An id for a request."""
    return new_id("req")


def new_response_id() -> str:
    """An id for an answer."""
    return new_id("resp")


def new_id(kind: str) -> str:
    """`<kind>_<32 hexadecimal digits>`, and the worker's mark. `kind` is of small letters."""
    try:
        # One step, also where two threads want one.
        digits = _draws.pop()
    except IndexError:
        drawn = os.urandom(16 * _DRAWN).hex()
        digits, *more = [drawn[at : at + 32] for at in range(0, len(drawn), 32)]
        _draws.extend(more)
    return f"{kind}_{digits}{_mark}"


def safe_id(given: object) -> str:
    """The provider's id for its answer if it is a plain token, else a new one."""
    return given if isinstance(given, str) and _SAFE_ID.fullmatch(given) else new_response_id()


def worker_of(marked_id: str) -> int | None:
    """The number of the worker that made the id; None if the id does not say."""
    found = _MARKED.fullmatch(marked_id)
    return int(found[1]) if found else None


if hasattr(os, "register_at_fork"):
    # Two processes must never draw the same.
    os.register_at_fork(after_in_child=_draws.clear)
