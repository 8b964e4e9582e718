"""The local model as the rest of Waypost sees it: an address that answers, started when it is first asked for.

Nothing is sent to the model here. The invariant: at most one child runs at a time, after one has ended by itself no
other is started before the back-off time is over, and no child is given a catalogue model's file that is not whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from waypost.errors import ModelError
from waypost.local.catalogue import SMOLLM2_135M_INSTRUCT, SamplingDefaults
from waypost.local.child import ChildConfig
from waypost.local.fetch import INSTALL_HINT
from waypost.local.keeper import Ending, Keeper, KeeperLimits
from waypost.local.store import ModelStore

LONGEST_WAIT_S: Final = 2.0
"""A request waits so long for a back-off to end; if it takes longer, it is told at once."""
_LOG: Final = logging.getLogger("waypost.local")


@dataclass(frozen=True, slots=True)
class LocalModelOptions:
    """`model` is a catalogue name or the path of a GGUF file; `context_tokens` is for one request, answer included."""

    model: str = SMOLLM2_135M_INSTRUCT.name
    context_tokens: int = 4096
    parallel: int = 2
    threads: int | None = None
    """None is what suits the model."""
    limits: KeeperLimits = field(default_factory=KeeperLimits)
    backoff_first_s: float = 0.5
    backoff_limit_s: float = 30.0


@dataclass(frozen=True, slots=True)
class LocalEndpoint:
    """Where the child listens, such as http://127.0.0.1:41234 (without /v1), and the bearer key it wants."""

    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LocalModelState:
    """How it is. `detail` is a sentence for people, with what to do if it is unavailable."""

    status: Literal["idle", "starting", "ready", "unavailable"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Failure:
    ending: Ending
    retry_at: float


class LocalModelServer:
    """One model, run on demand, from any event loop. `clock` and `sleep` are in seconds, `jitter` gives 0 to 1."""

    def __init__(
        self,
        options: LocalModelOptions,
        store: ModelStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._store = store
        self._clock = clock
        self._jitter = jitter
        self._sleep = sleep
        self._lock = threading.RLock()
        self._api_key = secrets.token_urlsafe(32)
        self._keeper: Keeper | None = None
        self._failure: _Failure | None = None
        self._failures_in_a_row = 0
        self._endings = 0
        self._closed = False

    async def endpoint(self) -> LocalEndpoint:
        """Where it answers, starting it if need be; callers at the same time share one start.

        A short back-off is waited for. Before a start the file is checked, which takes a second or so the first time.
        Raises ModelError.
        """
        if self._keeper is None:
            await self._wait_for_back_off()
            await self._check_file()
        keeper = self._running()
        base_url = await asyncio.wrap_future(keeper.listening)
        if base_url is None:
            self._check_open()
            raise self._unavailable()
        return LocalEndpoint(base_url, self._api_key)

    @property
    def state(self) -> LocalModelState:
        """How it is now. Starts nothing; before the first start it looks whether the file is there."""
        with self._lock:
            name = f"The local model {self._options.model}"
            try:
                self._check_open()
                if self._keeper is None:
                    self._check_start()
            except ModelError as error:
                return LocalModelState("unavailable", str(error))
            if self._keeper is None:
                # One that had never been ready will hardly be next time; one that had will.
                if self._failure is not None and not self._failure.ending.ready_s:
                    return LocalModelState("unavailable", str(self._unavailable()))
                return LocalModelState("idle", f"{name} starts at the next request.")
            if self._keeper.listening.done():
                return LocalModelState("ready", f"{name} is loaded.")
            return LocalModelState("starting", f"{name} is being loaded.")

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now."""
        keeper = self._keeper
        return keeper.pid if keeper else None

    @property
    def endings(self) -> int:
        """How many children have ended."""
        return self._endings

    async def ending_after(self, endings: int, limit_s: float) -> str | None:
        """Why a child ended after there had been so many endings, as a clause; None: none has within the time.

        Who lost the connection to a child asks here, and may do so before the end of the process is noticed.
        """
        with self._lock:
            keeper = self._keeper if self._endings <= endings else None
        if keeper is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(keeper.ended), limit_s)
        with self._lock:
            return self._failure.ending.reason if self._failure is not None and self._endings > endings else None

    async def close(self) -> None:
        """End the child, within about two seconds, and start no other."""
        with self._lock:
            self._closed = True
            keeper = self._keeper
        if keeper is None:
            return
        keeper.stop()
        ended = asyncio.wrap_future(keeper.ended)
        try:
            await asyncio.wait_for(asyncio.shield(ended), self._options.limits.stop_s + 0.5)
        except TimeoutError:
            # The keeper may be waiting for a child that hangs to answer a health check.
            keeper.kill()
            await ended

    async def _wait_for_back_off(self) -> None:
        """Only after a child that had been ready: one that had not will hardly be so the next time."""
        failure = self._failure
        if failure is None or not failure.ending.ready_s:
            return
        if failure.retry_at - self._clock() > LONGEST_WAIT_S:
            return
        # A sleep may end a little early.
        while not self._closed and (wait_s := failure.retry_at - self._clock()) > 0:
            await self._sleep(wait_s)

    async def _check_file(self) -> None:
        """Against its SHA-256, in another thread."""
        with self._lock:
            self._check_open()
            if self._keeper is not None:
                return
            self._check_start()
        await asyncio.to_thread(self._store.sound, self._options.model)

    def _running(self) -> Keeper:
        with self._lock:
            self._check_open()
            if self._keeper is None:
                keeper = Keeper(self._check_start(), self._options.limits)
                self._keeper = keeper
                keeper.ended.add_done_callback(lambda ended: self._on_end(keeper, ended.result()))
                keeper.listening.add_done_callback(lambda listening: self._on_listening(keeper, listening.result()))
            return self._keeper

    def _on_listening(self, keeper: Keeper, base_url: str | None) -> None:
        if base_url is not None:
            _LOG.info("The local model %s is loaded and runs as process %s.", self._options.model, keeper.pid)

    def _on_end(self, keeper: Keeper, ending: Ending) -> None:
        """Called by the keeper's thread."""
        options = self._options
        with self._lock:
            self._keeper = None
            self._endings += 1
            # One that had lived through a health check was well: its end starts a new count.
            lasted = ending.ready_s >= options.limits.health_interval_s
            self._failures_in_a_row = 1 if lasted else self._failures_in_a_row + 1
            doubled = 2.0 ** min(self._failures_in_a_row - 1, 30)
            longest_s = min(options.backoff_limit_s, options.backoff_first_s * doubled)
            wait_s = longest_s * self._jitter()
            self._failure = _Failure(ending, self._clock() + wait_s)
        # One that was shut down ended as it should.
        if not self._closed:
            _LOG.warning(
                "The local model %s (process %s) has ended: %s. It is started again at the first request after %.1f s.",
                options.model,
                keeper.pid,
                ending.reason,
                wait_s,
            )

    def _check_open(self) -> None:
        if self._closed:
            raise ModelError("The local model was shut down.", hint="Start Waypost again to use it.")

    def _check_start(self) -> ChildConfig:
        if self._failure is not None and self._clock() < self._failure.retry_at:
            raise self._unavailable()
        return self._configuration()

    def _unavailable(self) -> ModelError:
        """For a child that has ended."""
        if self._failure is None:
            return ModelError("The local model has ended.", hint="It will be started again at the next request.")
        wait_s = max(0.0, self._failure.retry_at - self._clock())
        when = f"at the first request after {max(wait_s, 0.1):.1f} s" if wait_s else "at the next request"
        hint = f"It will be started again {when}."
        if not self._failure.ending.ready_s and self._options.model in self._store.catalogue:
            hint += f" Its file is checked by: waypost models verify {self._options.model}"
        return ModelError(f"The local model is not running: {self._failure.ending.reason}.", hint=hint)

    def _configuration(self) -> ChildConfig:
        """What the child is to be told. Raises ModelError if the file or llama.cpp is missing."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise ModelError("The local model needs the extra 'local'.", hint=INSTALL_HINT)
        options = self._options
        path = self._store.resolve(options.model)
        model = self._store.catalogue.get(options.model)
        if model is not None and options.context_tokens > model.context_window_tokens:
            raise ModelError(
                f"The model {model.name} has a context window of {model.context_window_tokens} tokens; "
                f"{options.context_tokens} are configured.",
                hint=f"Set context_tokens to {model.context_window_tokens} or less.",
            )
        return ChildConfig(
            parent_pid=os.getpid(),
            model_path=str(path.absolute()),
            model_name=model.name if model else Path(options.model).stem,
            context_tokens=options.context_tokens,
            parallel=options.parallel,
            api_key=self._api_key,
            generation_threads=options.threads or (model.generation_threads if model else None),
            prompt_threads=options.threads,
            chat_template=model.chat_template if model else None,
            sampling=model.sampling if model else SamplingDefaults(),
        )
