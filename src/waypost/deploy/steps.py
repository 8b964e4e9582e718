"""The steps of a deploy by blue and green, as a table. Each leaves a state in which callers are served."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from waypost.deploy.compatible import Schemas, objection
from waypost.deploy.errors import DeployFailed, DeployRefused
from waypost.deploy.record import now_text
from waypost.deploy.run import MARGIN_S, Run
from waypost.store.steps import Steps

ALIVE: Final = ("health", "version", "ready")
"""What is tried of a version that served before the deploy began."""


@dataclass(frozen=True, slots=True)
class Step:
    """`commits`: after it nothing is taken back any more, and what fails is a note. `title` is a format."""

    name: str
    title: str
    do: Callable[[Run], None]
    commits: bool = False


def check(run: Run) -> None:
    """Everything that can be known to go wrong, before anything is changed. Raises DeployRefused."""
    installed = run.found.releases.get(run.version)
    if run.wheel is None and installed is None:
        known = ", ".join(run.found.releases) or "none"
        raise DeployRefused(
            f"Version {run.version} is not on {run.host.name}.", hint=f"Give its wheel. On the host: {known}."
        )
    if run.wheel is not None and installed not in (None, run.wheel.sha256):
        raise DeployRefused(
            f"Version {run.version} is on {run.host.name} already, from another wheel.",
            hint="A version is built once: give the change a version of its own.",
        )
    if run.wheel is not None and installed is None and not run.file.requirements.is_file():
        raise DeployRefused(f"There is no file {run.file.requirements}.", hint="Name it in requirements.")
    now = _schemas(run)
    steps = run.wheel.steps if run.wheel is not None else _steps_of_installed(run)
    reason = objection(run.version, steps, now)
    if reason is not None:
        raise DeployRefused(
            reason, hint="Put a version between them that makes do with both, or go back to a backup (database.md)."
        )


def _schemas(run: Run) -> Schemas:
    """The database, as the running version sees it."""
    if run.found.version is None or run.found.version not in run.found.releases:
        return Schemas()
    done = run.ask(run.scripts.waypost(run.found.version, "db", "check", "--json"))
    try:
        return Schemas.told(json.loads(done.out))
    except (ValueError, KeyError, TypeError) as error:
        raise DeployRefused(f"The database of {run.host.name} cannot be checked: {done.said}") from error


def _steps_of_installed(run: Run) -> Steps:
    """What a version says of itself that is on the host: as if its newest step were its only one."""
    done = run.ask(run.scripts.waypost(run.version, "db", "check", "--json"))
    try:
        told = json.loads(done.out)
        return {told["this_version"]: told["oldest_code_when_upgraded"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DeployRefused(f"Version {run.version} on {run.host.name} cannot be asked: {done.said}") from error


def install(run: Run) -> None:
    """The release's own virtual environment; one that is there already is left as it is."""
    if run.wheel is None or run.version in run.found.releases:
        run.teller.note(f"version {run.version} is there already")
        return
    folder = run.scripts.release(run.version) + ".new"
    run.do(run.scripts.begin_release(run.version))
    for file, name in ((run.wheel.file, run.wheel.file.name), (run.file.requirements, "requirements.txt")):
        if run.is_dry:
            run.teller.script(f"# {file} is copied to {folder}/{name}")
        else:
            run.host.put(file, f"{folder}/{name}")
    run.do(run.scripts.install(run.version, run.wheel.sha256))


def back_up(run: Run) -> None:
    """By the version that runs, which knows what it wrote."""
    if run.found.version is None:
        run.teller.note("nothing served here before, so there is nothing to back up")
        return
    stamp = now_text().replace(":", "").replace("-", "")
    name = f"{stamp}-before-{run.version}.db"
    run.do(run.scripts.backup(run.found.version, name))
    run.backup = f"{run.file.root}/backups/{name}"


def migrate(run: Run) -> None:
    """The steps that are missing; the running version does not notice them."""
    run.do(run.scripts.waypost(run.version, "db", "upgrade"))


def start(run: Run) -> None:
    """The colour that serves nobody gets the version, and answers on its own port."""
    colour = run.found.idle
    before = run.found.served.get(colour)

    def take_back() -> None:
        run.do(run.scripts.end(colour, 0))
        run.do(run.scripts.relink(colour, before))

    with run.taken_back_by(f"stop {colour}", take_back):
        run.do(run.scripts.start(colour, run.version))
        run.do(run.scripts.wait_until_up(colour, run.version), timeout_s=run.file.start_s + 2 * MARGIN_S)


def try_directly(run: Run) -> None:
    """The whole smoke test at the colour's own port, before any caller comes there."""
    port = getattr(run.file.ports, run.found.idle)
    run.smoke(f"http://127.0.0.1:{port}", run.version)


def switch(run: Run) -> None:
    """Nginx gives new requests to the new colour; those under way end where they began."""
    before = run.found.live

    def take_back() -> None:
        if before is None or run.found.version is None:
            raise DeployFailed("nothing served before, so there is nothing to go back to")
        run.do(run.scripts.switch(before))
        run.smoke(run.file.smoke.url, run.found.version, only=ALIVE, wait_s=MARGIN_S)

    with run.taken_back_by("switch back", take_back):
        run.do(run.scripts.switch(run.found.idle))


def try_through(run: Run) -> None:
    """The whole smoke test the way callers come."""
    run.smoke(run.file.smoke.url, run.version, wait_s=MARGIN_S)


def drain(run: Run) -> None:
    """The old colour ends what it still answers, and then itself."""
    old = run.found.live
    run.do(run.scripts.adopt(run.found.idle))
    if old is not None:
        run.do(run.scripts.end(old, run.file.drain_s), timeout_s=run.file.drain_s + 4 * MARGIN_S)


def tidy(run: Run) -> None:
    """Releases that nobody can go back to any more make room."""
    run.do(run.scripts.tidy())


CHECK: Final = Step("check", "see that {version} can serve beside what runs", check)
_PUT: Final = (
    Step("start", "start {idle} with {version}", start),
    Step("try_directly", "try it at its own port", try_directly),
    Step("switch", "give callers {idle}", switch),
    Step("try_through", "try it the way callers come", try_through, commits=True),
    Step("drain", "let the old server end what it answers", drain),
)
DEPLOY: Final[Sequence[Step]] = (
    Step("install", "install {version}", install),
    Step("backup", "back up the database", back_up),
    Step("migrate", "bring the database to the schema of {version}", migrate),
    *_PUT,
    Step("tidy", "remove old releases", tidy),
)
ROLLBACK: Final[Sequence[Step]] = _PUT
"""The database stays as it is: what the version before could live with, it can live with now."""
