"""Who keeps a colour's server running on the host: a table of shell commands for each way.

`{colour}`, `{root}` and `{systemctl}` are filled in. `alive` succeeds while the server runs; `terminate` begins its
drain, and ends the drain's time when it is done again; `kill` waits for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Supervisor:
    """One way."""

    start: str
    alive: str
    terminate: str
    kill: str
    log: str
    adopt: str = "true"
    """From now on this colour is started with the machine."""
    forget: str = "true"
    """It no longer is."""

    def filled(self, **values: str) -> Supervisor:
        """With the names in their places."""
        return Supervisor(*(getattr(self, name).format(**values) for name in self.__dataclass_fields__))


# A process id that another program has got meanwhile is not ours: the command line tells.
_OURS: Final = (
    '[ -s run/{colour}.pid ] && tr "\\0" " " </proc/"$(cat run/{colour}.pid)"/cmdline 2>/dev/null'
    ' | grep -qF " {root}/{colour}/bin/waypost serve "'
)

SUPERVISORS: Final[Mapping[str, Supervisor]] = {
    "systemd": Supervisor(
        start="{systemctl} start waypost@{colour}",
        alive="{systemctl} --quiet is-active waypost@{colour}",
        # Not `stop`: a unit that is being stopped counts as no longer active while it drains.
        terminate="{systemctl} kill --kill-who=main --signal=TERM waypost@{colour}",
        kill="{systemctl} kill --signal=KILL waypost@{colour}; {systemctl} stop waypost@{colour}",
        log="journalctl --unit waypost@{colour} --lines 20 --output cat",
        adopt="{systemctl} --quiet enable waypost@{colour}",
        forget="{systemctl} --quiet disable waypost@{colour}",
    ),
    "process": Supervisor(
        # In a shell of its own: the variables are the server's alone.
        start="(set -a; . run/{colour}.env; exec setsid {root}/{colour}/bin/waypost serve >>run/{colour}.log 2>&1) & "
        "echo $! >run/{colour}.pid",
        alive=_OURS,
        terminate='kill -TERM "$(cat run/{colour}.pid)"',
        kill='kill -KILL "$(cat run/{colour}.pid)"',
        log="tail -n 20 run/{colour}.log",
    ),
}
