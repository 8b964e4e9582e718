"""`python -m benchmarks.switched SETTINGS PORT`: a server whose observers come and go with each SIGUSR1.

Two processes of one program differ by some 10 % in CPU time, by how their memory happens to lie. What costs less has to
be measured within one.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from waypost.app import build
from waypost.server.run import run
from waypost.settings import read_settings
from waypost.telemetry.observers import NOBODY


def main() -> None:
    """Serve, observed at first, until told to end."""
    application = build(read_settings(Path(sys.argv[1])).settings)
    observers = application.observers
    observed = observers.each

    def switch(*_: object) -> None:
        observers.each = NOBODY.each if observers.each else observed

    signal.signal(signal.SIGUSR1, switch)
    run(application, port=int(sys.argv[2]))


if __name__ == "__main__":
    main()
