"""One deploy on one host, as its steps see it: what is to be done, what was found, and how to take it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from waypost.deploy.errors import DeployFailed
from waypost.deploy.found import Found, found_in
from waypost.deploy.host import Done, Host
from waypost.deploy.scripts import Scripts
from waypost.deploy.settings import DeployFile
from waypost.deploy.smoke import demand_passed, longest_s, smoke_keys, smoke_words
from waypost.deploy.wheel import Wheel

MASKED = "(set)"
MARGIN_S = 30.0
"""What a script may take beyond the times that it waits for itself."""
LONG_S = 3600.0
"""For what takes as long as the database is large, or the network slow."""


class Teller(Protocol):
    """Where it is said what is done."""

    def step(self, host: str, title: str) -> None:
        """A step begins."""

    def script(self, text: str) -> None:
        """In a dry run: what would be run."""

    def note(self, text: str) -> None:
        """Something to know beside it."""


class Run:
    """`wheel` None: the version is on the host already. `is_dry`: scripts are told and not run, but for looks."""

    def __init__(
        self, host: Host, file: DeployFile, version: str, wheel: Wheel | None, teller: Teller, *, is_dry: bool
    ) -> None:
        self.host = host
        self.file = file
        self.scripts = Scripts(file)
        self.version = version
        self.wheel = wheel
        self.teller = teller
        self.is_dry = is_dry
        self.found = Found()
        self.backup: str | None = None
        self.undo: list[tuple[str, Callable[[], None]]] = []
        """What takes back what was done, the last first, each with what it is called."""

    def look(self) -> None:
        """See what is there."""
        self.found = found_in(self._demand(self.host.run(self.scripts.look())).out)

    def ask(self, script: str) -> Done:
        """Run a script that changes nothing, in a dry run too. It may fail."""
        return self.host.run(script)

    def do(self, script: str, *, timeout_s: float = LONG_S, exports: Mapping[str, str] | None = None) -> Done:
        """Run it. Raises DeployFailed with its last words."""
        if not self.is_dry:
            return self._demand(self.host.run(script, timeout_s=timeout_s, exports=exports))
        shown = [f"export {name}={MASKED}" for name in exports or {}]
        self.teller.script("\n".join((*shown, self.scripts.without_surroundings(script))))
        return Done(0, "", "")

    def smoke(self, url: str, version: str, *, only: Sequence[str] = (), wait_s: float = 0) -> None:
        """Have that version's smoke test try an address, on the host. Raises DeployFailed that names what failed."""
        told = self.file.smoke
        words = smoke_words(told, url, version, only=only, wait_s=wait_s)
        # Its end is told in its report.
        script = self.scripts.waypost(version, *words, settings=False) + " || [ $? -eq 1 ]"
        done = self.do(script, timeout_s=longest_s(told) + wait_s + MARGIN_S, exports=smoke_keys(told))
        if not self.is_dry:
            demand_passed(done.out, done.err)

    def _demand(self, done: Done) -> Done:
        if done.code:
            raise DeployFailed(done.said or f"A command on {self.host.name} ended with {done.code}.")
        return done

    @contextmanager
    def taken_back_by(self, what: str, take_back: Callable[[], None]) -> Iterator[None]:
        """What is done in the block, or only half done, is taken back so if a later step fails."""
        if not self.is_dry:
            self.undo.append((what, take_back))
        yield
