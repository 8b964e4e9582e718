"""SIGHUP has two meanings: "read the settings anew", and "your terminal is gone". Here they are told apart."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

TERMINAL = "/dev/tty"
"""This process's own terminal, if it has one (see tty(4))."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """How it was at the start. `ends`: the loss of the terminal is to end this process, as it ends any other."""

    ends: bool

    @classmethod
    def at_start(cls) -> Hangup:
        """Call it before SIGHUP is handled: nohup has it ignored, and then the terminal may go."""
        return cls(ends=signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal())

    def is_end(self) -> bool:
        """A SIGHUP has come: was it because of the terminal?"""
        return self.ends and not _has_terminal()


def _has_terminal() -> bool:
    try:
        os.close(os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
