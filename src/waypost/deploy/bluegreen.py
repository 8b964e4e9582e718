"""Runs the steps on each host in turn; whatever fails, the version before serves again, and the record says so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from waypost.deploy.errors import DeployFailed, DeployRefused
from waypost.deploy.host import connected
from waypost.deploy.record import Action, Entry, Outcome, deployer, entries_in, new_id, now_text
from waypost.deploy.run import Run, Teller
from waypost.deploy.settings import DeployFile
from waypost.deploy.steps import CHECK, DEPLOY, ROLLBACK, Step
from waypost.deploy.wheel import Wheel
from waypost.errors import WaypostError

STEPS: dict[Action, Sequence[Step]] = {"deploy": DEPLOY, "rollback": ROLLBACK}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done. `version` "" in a rollback: the one before. `wheel` None: it is on the hosts."""

    action: Action
    version: str = ""
    wheel: Wheel | None = None
    by: str = ""
    note: str | None = None
    is_dry: bool = False


def carry_out(order: Order, file: DeployFile, teller: Teller) -> list[Entry]:
    """On every host, one after the other. Raises DeployRefused, DeployFailed."""
    order = replace(order, by=order.by or deployer())
    with ExitStack() as stack:
        runs = [_run(order, file, teller, stack, index) for index in range(len(file.hosts))]
        # On all of them, before anything is changed on the first.
        for run in runs:
            _checked(run, order)
        done: list[tuple[Run, Entry]] = []
        for run in runs:
            try:
                done.append((run, _put(run, order)))
            except DeployFailed:
                _take_back_others(done, order)
                raise
        return [entry for _, entry in done]


def history(file: DeployFile) -> dict[str, list[Entry]]:
    """Each host's deploys, the oldest first."""
    from waypost.deploy.scripts import Scripts

    told: dict[str, list[Entry]] = {}
    for settings in file.hosts:
        with connected(settings) as host:
            told[host.name] = entries_in(host.run(Scripts(file).history()).out)
    return told


def _run(order: Order, file: DeployFile, teller: Teller, stack: ExitStack, index: int) -> Run:
    """The host is reached, locked and looked at."""
    host = stack.enter_context(connected(file.hosts[index]))
    if not order.is_dry:
        stack.enter_context(host.locked(file.root, f"{order.by}, since {now_text()}"))
    run = Run(host, file, order.version, order.wheel, teller, is_dry=order.is_dry)
    run.look()
    if not run.version:
        if run.found.previous is None:
            raise DeployRefused(f"There is no version before on {host.name}.", hint="Name one, or deploy a wheel.")
        run.version = run.found.previous
    return run


def _entry(run: Run, order: Order) -> Entry:
    sha256 = run.wheel.sha256 if run.wheel else run.found.releases.get(run.version)
    return Entry(
        new_id(), now_text(), order.by, order.action, run.version, run.found.version, sha256=sha256, note=order.note
    )


def _checked(run: Run, order: Order) -> None:
    _tell(run, CHECK)
    try:
        CHECK.do(run)
    except DeployRefused as error:
        refused = replace(_entry(run, order), outcome="refused", step=CHECK.name, reason=str(error))
        _write(run, refused)
        raise


def _put(run: Run, order: Order) -> Entry:
    """The steps, and what comes of them."""
    entry, started_s = _entry(run, order), time.monotonic()
    _write(run, entry)
    is_committed = False
    for step in STEPS[order.action]:
        _tell(run, step)
        try:
            step.do(run)
        except (WaypostError, KeyboardInterrupt) as error:
            reason = str(error) or "It was interrupted."
            if is_committed:
                # The new version serves; that is what was wanted.
                run.teller.note(f"{step.name}: {reason}")
                continue
            outcome, more = _take_back(run)
            ended = replace(entry, outcome=outcome, step=step.name, reason=" ".join((reason, *more)))
            _write(run, _timed(ended, run, started_s))
            raise DeployFailed(_sentence(run, step, reason, outcome, more)) from error
        is_committed = is_committed or step.commits
    ended = _timed(replace(entry, outcome="done"), run, started_s)
    _write(run, ended)
    return ended


def _take_back(run: Run) -> tuple[Outcome, list[str]]:
    """The last first, all of it, whatever fails on the way. What failed is told."""
    troubles = []
    while run.undo:
        what, take_back = run.undo.pop()
        run.teller.step(run.host.name, what)
        try:
            take_back()
        except WaypostError as error:
            troubles.append(f"To {what} failed: {error}")
    return ("failed" if troubles else "rolled_back"), troubles


def _take_back_others(done: Sequence[tuple[Run, Entry]], order: Order) -> None:
    """Hosts that have the new version already go back to the one before."""
    for run, entry in reversed(done):
        if entry.previous is None:
            run.teller.note(f"{run.host.name}: {entry.version} stays; nothing served there before")
            continue
        back = Run(run.host, run.file, entry.previous, None, run.teller, is_dry=False)
        back.look()
        try:
            _put(back, replace(order, action="rollback", note="the deploy failed on another host"))
        except WaypostError as error:
            run.teller.note(f"{run.host.name}: {error}")


def _timed(entry: Entry, run: Run, started_s: float) -> Entry:
    return replace(entry, duration_s=round(time.monotonic() - started_s, 1), backup=run.backup)


def _write(run: Run, entry: Entry) -> None:
    """To the history. It must not hide what it was to tell of."""
    if run.is_dry:
        return
    try:
        run.do(run.scripts.record(entry.told()))
    except DeployFailed as error:
        run.teller.note(f"The history of {run.host.name} could not be written: {error}")


def _sentence(run: Run, step: Step, reason: str, outcome: Outcome, troubles: Sequence[str]) -> str:
    before = run.found.version
    now = {
        "rolled_back": f"{before} serves as before." if before else "Nothing served there before.",
        "failed": f"{' '.join(troubles)} See to {run.host.name}.",
    }
    return f"{run.version} is not on {run.host.name}: the step {step.name} failed. {reason} {now[outcome]}"


def _tell(run: Run, step: Step) -> None:
    run.teller.step(run.host.name, step.title.format(version=run.version, idle=run.found.idle))
