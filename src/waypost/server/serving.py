"""What the server serves now: one application, which a reload replaces whole by one assignment.

The invariant: a reload that fails changes nothing. Requests in flight go on with what they began with; what was
replaced is closed when the last of them is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from waypost.errors import ConfigurationError
from waypost.gateway.gateway import Gateway
from waypost.gateway.stores import Stores
from waypost.jobs.kept import KeptJobs
from waypost.ledger.ledger import Ledger
from waypost.manager.service import StreamingAIService
from waypost.server.application import ServedApplication
from waypost.server.callers import Callers
from waypost.server.changes import changed_keys, waits_for_restart, with_start_values
from waypost.server.generations import Close, Generations
from waypost.settings import InvalidSettings, LoadedSettings, Settings
from waypost.settings.server import exposure
from waypost.store.lazy import LazyDatabase
from waypost.telemetry.metrics.metrics import Metrics
from waypost.telemetry.observers import Observers

logger = logging.getLogger("waypost.server")


@dataclass(frozen=True, slots=True)
class Built:
    """A new application. `close_replaced` lets go of what the one before it had and this one has not."""

    application: ServedApplication
    close_replaced: Close


class SettingsSource(Protocol):
    """Where the settings come from, read anew each time, and who builds an application of them."""

    def read(self) -> LoadedSettings:
        """The settings as they are written now. Raises ConfigurationError."""

    def build(self, settings: Settings, before: ServedApplication | None = None) -> Built:
        """An application that keeps what is unchanged of the one before it. Raises ConfigurationError."""


class SettingsRefused(ConfigurationError):
    """A reload that changed nothing. `findings` are the problems, each with the file and line if it has one."""

    http_status = 422

    def __init__(self, error: ConfigurationError) -> None:
        super().__init__(error.message, hint=error.hint)
        problems = error.problems if isinstance(error, InvalidSettings) else ()
        self.findings = [
            {
                "message": problem.text,
                "source": problem.place.source if problem.place else None,
                "line": problem.place.line if problem.place else None,
            }
            for problem in problems
        ] or [{"message": error.message, "source": None, "line": None}]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did, or would do: the keys that are new in force, and those that wait for a restart."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """As JSON data."""
        return {"changed": list(self.changed), "needs_restart": list(self.needs_restart)}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A reload that could be done."""

    file: Path | None
    built: Built
    outcome: Reloaded


class Serving:
    """Implements ServedApplication. Without an application, `source` makes the first one when it is first needed."""

    def __init__(
        self,
        application: ServedApplication | None = None,
        source: SettingsSource | None = None,
        file: Path | None = None,
    ) -> None:
        self._current = application
        self._is_given = application is not None
        self._source = source
        self.generations = Generations()
        """Each request enters it, and leaves; so does work that outlives its request."""
        self._turn = asyncio.Lock()
        self.file = file
        """The settings file that was read, if that is known."""
        self.on_reload: list[Callable[[Settings], None]] = []
        """Told of the settings that are in force after each reload."""

    @property
    def current(self) -> ServedApplication:
        """The application in force. Raises ConfigurationError if it is made now, and cannot be."""
        if self._current is None:
            if self._source is None:
                raise TypeError("there is neither an application nor a source of one")
            loaded = self._source.read()
            self._current, self.file = self._source.build(loaded.settings).application, loaded.file
        return self._current

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return (self._current or self.current).settings

    @property
    def manager(self) -> StreamingAIService:
        """The AI service in force."""
        return self.current.manager

    @property
    def gateway(self) -> Gateway:
        """The gateway in force."""
        return self.current.gateway

    @property
    def callers(self) -> Callers:
        """Who may call now."""
        return (self._current or self.current).callers

    @property
    def database(self) -> LazyDatabase:
        """Where keys, spend and log are kept, over reloads too."""
        return (self._current or self.current).database

    @property
    def stores(self) -> Stores:
        """What is kept from one request to another, over reloads too."""
        return (self._current or self.current).stores

    @property
    def ledger(self) -> Ledger | None:
        """What is written down of requests."""
        return (self._current or self.current).ledger

    @property
    def observers(self) -> Observers:
        """Who is told when a request is over, over reloads too."""
        return (self._current or self.current).observers

    @property
    def metrics(self) -> Metrics | None:
        """What is counted of requests, over reloads too."""
        return (self._current or self.current).metrics

    @property
    def jobs(self) -> KeptJobs | None:
        """What is done in the background, over reloads too."""
        return (self._current or self.current).jobs

    async def reload(self, *, dry_run: bool = False) -> Reloaded:
        """Read the settings anew and serve by them; `dry_run` only looks. Raises SettingsRefused; nothing changed then.

        One at a time. Files are read in a thread.
        """
        async with self._turn:
            prepared = await asyncio.to_thread(self.prepare)
            if not dry_run:
                self._put_in_force(prepared)
            return prepared.outcome

    def prepare(self) -> Prepared:
        """Read the settings and build by them; nothing is changed yet. Raises SettingsRefused."""
        try:
            return self._prepared()
        except ConfigurationError as error:
            raise SettingsRefused(error) from error

    def _put_in_force(self, prepared: Prepared) -> None:
        self._current, self.file = prepared.built.application, prepared.file
        self.generations.retire(prepared.built.close_replaced)
        for tell in self.on_reload:
            tell(self._current.settings)
        logger.info("settings read anew: %s", ", ".join(prepared.outcome.changed) or "nothing has changed")
        if prepared.outcome.needs_restart:
            keys = ", ".join(prepared.outcome.needs_restart)
            logger.warning("changed, but only a restart brings it into force: %s", keys)

    async def close(self) -> None:
        """Let go of everything."""
        await self.generations.close()
        if self._current is not None:
            await self._current.close()
        if not self._is_given:
            self._current = None

    def _prepared(self) -> Prepared:
        if self._source is None:
            raise ConfigurationError("This server's settings were made by a program, not read from a file.")
        loaded, current = self._source.read(), self.current
        changed = changed_keys(current.settings, loaded.settings)
        settings = with_start_values(current.settings, loaded.settings)
        exposed = exposure(settings.server.host, lambda: bool(settings.keys) or current.callers.any_in_database())
        if exposed is not None:
            raise ConfigurationError(f"server.host, as of the start, {exposed}.")
        outcome = Reloaded(
            changed=tuple(key for key in changed if not waits_for_restart(key)),
            needs_restart=tuple(key for key in changed if waits_for_restart(key)),
        )
        return Prepared(loaded.file, self._source.build(settings, current), outcome)
