"""How far something long is: a bar on a terminal, a line at every tenth elsewhere; both on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import click

Report: TypeAlias = Callable[[int, int], None]
"""Called with how much is done, of how much."""

STEP_PERCENT = 10


def counted(done: int, total: int) -> str:
    """How far it is, in numbers: `1,200 of 3,000`."""
    return f"{done:,} of {total:,}"


@contextmanager
def progress(label: str, told: Callable[[int, int], str] = counted) -> Iterator[Report]:
    """What to report to, for the block. `told` says how far it is in words."""
    if not sys.stderr.isatty():
        yield lines(label, told)
        return
    # The length is known at the first report; until then the bar stands at its start.
    with click.progressbar(length=1, label=label, file=sys.stderr, show_eta=True) as bar:

        def report(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.label = f"{label}, {told(done, total)}"
            bar.update(done - bar.pos)

        yield report


def lines(label: str, told: Callable[[int, int], str] = counted) -> Report:
    """Prints a line at every tenth."""
    before = -1

    def report(done: int, total: int) -> None:
        nonlocal before
        tenth = 100 * done // max(total, 1) // STEP_PERCENT * STEP_PERCENT
        if total and tenth > before:
            before = tenth
            click.echo(f"{label}: {tenth} % ({told(done, total)})", err=True)

    return report
