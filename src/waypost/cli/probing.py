"""What `waypost probe` does: every target that the settings lead to is asked, whole and as a stream."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from waypost.cli.stand_ins import Readable, default_model, read, reasons, with_stand_ins
from waypost.errors import ConfigurationError, WaypostError

if TYPE_CHECKING:
    from waypost.manager.service import StreamingAIService
    from waypost.settings import Settings
    from waypost.settings.references import Target

_QUESTION: Final = "Reply with one short sentence that says that you are ready."
_MAX_TOKENS: Final = 500
"""Enough for a model that thinks before it speaks."""
_TOTAL_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What became of one target. `simulated`: why the simulator answered in its place, None: it was asked itself."""

    target: str
    routes: tuple[str, ...]
    simulated: str | None
    error: str | None
    duration_ms: int

    @property
    def outcome(self) -> str:
        """The row's first word."""
        return "FAIL" if self.error else "sim" if self.simulated else "ok"


async def probe(config_file: Path | None, chosen: Collection[str], *, simulate_missing: bool) -> list[Probe]:
    """Ask every target of every route once whole and once as a stream, one after the other.

    `chosen` are providers that the simulator plays, whatever is here; with `simulate_missing` it also plays those that
    cannot be asked. Raises ConfigurationError.
    """
    readable = read(config_file)
    _refuse_unknown(chosen, readable)
    missing = reasons(readable, chosen)
    settings = readable.loaded.settings
    # What is missing must be played in any case: else no other could be asked.
    async with _manager(settings, missing) as manager:
        return [
            await _probe(manager, target, routes, missing.get(target.provider), allowed=allowed)
            for target, routes in targets(settings).items()
            for allowed in [simulate_missing or target.provider in chosen]
        ]


def _refuse_unknown(chosen: Collection[str], readable: Readable) -> None:
    known = readable.loaded.settings.providers
    for name in chosen:
        if name not in known:
            raise ConfigurationError(f'The settings have no provider "{name}".', hint=f"They have {', '.join(known)}.")


def targets(settings: Settings) -> dict[Target, tuple[str, ...]]:
    """Every target that a route or an alias leads to, with their names, and the default models of all others."""
    found: dict[Target, list[str]] = {}
    for name in (*settings.routes, *settings.aliases):
        for target in settings.targets(name):
            found.setdefault(target, []).append(name)
    reached = {target.provider for target in found}
    for name in settings.providers:
        if name not in reached and default_model(settings.providers[name]):
            found[settings.targets(name)[0]] = ["-"]
    return {target: tuple(names) for target, names in found.items()}


@asynccontextmanager
async def _manager(settings: Settings, missing: Mapping[str, str]) -> AsyncIterator[StreamingAIService]:
    from waypost.app import build
    from waypost.simulator import Simulator

    async with Simulator() as simulator:
        application = build(with_stand_ins(settings, missing, simulator))
        try:
            yield application.manager
        finally:
            await application.close()


async def _probe(
    manager: StreamingAIService, target: Target, routes: Sequence[str], missing: str | None, *, allowed: bool
) -> Probe:
    if missing and not allowed:
        return Probe(str(target), tuple(routes), None, missing, 0)
    started_s = time.perf_counter()
    error = await _asked(manager, str(target))
    return Probe(str(target), tuple(routes), missing, error, round((time.perf_counter() - started_s) * 1000))


async def _asked(manager: StreamingAIService, model: str) -> str | None:
    """What is wrong with the target, in one sentence; None: nothing."""
    import asyncio

    try:
        async with asyncio.timeout(_TOTAL_S):
            return await _whole(manager, model) or await _streamed(manager, model)
    except TimeoutError:
        return f"it did not answer within {_TOTAL_S:.0f} s"
    except WaypostError as error:
        return str(error)


async def _whole(manager: StreamingAIService, model: str) -> str | None:
    response = await manager.generate_response(_QUESTION, model=model, max_tokens=_MAX_TOKENS)
    return None if response.content.strip() else "its answer has no text"


async def _streamed(manager: StreamingAIService, model: str) -> str | None:
    said = ""
    async for text in manager.stream_response(_QUESTION, model=model, max_tokens=_MAX_TOKENS):
        said += text
    return None if said.strip() else "its stream has no text"
