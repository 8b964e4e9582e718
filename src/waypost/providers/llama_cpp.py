"""A model run on this machine by llama.cpp, in a child process that `waypost.local` looks after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from waypost.chat import Event, Request, Response
from waypost.codecs.openai_chat import compatible_codec
from waypost.local.process import LocalModelOptions, LocalModelServer
from waypost.local.store import ModelStore
from waypost.providers.http_provider import Endpoint, HttpProvider, HttpProviderOptions
from waypost.providers.provider import ProviderState
from waypost.settings import LlamaCppSettings
from waypost.transport import Deadlines, HttpClient

_DEADLINES = Deadlines(connect_s=5.0, first_byte_s=None, idle_s=120.0, total_s=600.0)
"""A long prompt is read for minutes on a slow machine before the first token comes."""


class LlamaCppProvider:
    """Implements `Provider`: the child starts at the first request and ends with `close`, or with this process."""

    def __init__(self, name: str, options: LocalModelOptions, store: ModelStore) -> None:
        self._server = LocalModelServer(options, store)
        known = store.catalogue.get(options.model)
        self._default_max_tokens = known.default_max_tokens if known else None
        self.name = name
        self.slow_start = True
        self.default_model: str | None = Path(options.model).stem if options.model.endswith(".gguf") else options.model
        self._http = HttpProvider(
            HttpProviderOptions(
                name=name,
                codec=compatible_codec,
                endpoint=self._endpoint,
                default_model=self.default_model,
                deadlines=_DEADLINES,
                serves=lambda _model: False,
            ),
            HttpClient(),
        )

    async def generate(self, request: Request) -> Response:
        """The whole answer. Raises ProviderError, and ModelError if the model cannot be run."""
        return await self._http.generate(self._bounded(request))

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """The answer as events. Raises as `generate` does."""
        return self._http.stream(self._bounded(request))

    def serves(self, model: str) -> bool | None:
        """It has exactly one model."""
        return self._http.serves(model)

    def state(self) -> ProviderState:
        """How the child process is."""
        state = self._server.state
        return ProviderState(state.status, state.detail)

    async def close(self) -> None:
        """End the child process."""
        await self._http.close()
        await self._server.close()

    def _bounded(self, request: Request) -> Request:
        """With the model's own length of an answer, where the request names none."""
        if self._default_max_tokens is None or request.sampling.max_tokens is not None:
            return request
        return replace(request, sampling=replace(request.sampling, max_tokens=self._default_max_tokens))

    async def _endpoint(self) -> Endpoint:
        endpoint = await self._server.endpoint()
        return Endpoint(f"{endpoint.base_url}/v1/chat/completions", {"authorization": f"Bearer {endpoint.api_key}"})


def create(name: str, settings: LlamaCppSettings, data_dir: Path) -> LlamaCppProvider:
    """The provider named `name`; the model's file is looked for at the first request."""
    options = LocalModelOptions(
        model=settings.model,
        context_tokens=settings.context_tokens,
        parallel=settings.parallel,
        threads=settings.threads,
    )
    return LlamaCppProvider(name, options, ModelStore(data_dir / "models"))
