"""A model run on this machine by llama.cpp, in a child process that `waypost.local` looks after.

A model of the catalogue is asked only for what it can do: what its chat template leaves out would be dropped without
a word. What a file of the user's own can do is not known here, so it is asked for anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Self, TypeAlias

from waypost.chat import Media, Part, Request, ToolResult, Usage
from waypost.codecs.openai_chat import compatible_codec
from waypost.errors import ProviderConnectionLost, ProviderUnreachable, UnsupportedFeature
from waypost.local.catalogue import CatalogueModel
from waypost.local.process import LocalModelOptions, LocalModelServer
from waypost.local.store import ModelStore
from waypost.providers.access import Addresses, ProviderAccess, SignedAccess
from waypost.providers.answers import Answer, AnswerStream, Batch
from waypost.providers.asked import Asked
from waypost.providers.authorization import FixedHeaders
from waypost.providers.http_provider import HttpProvider, HttpProviderOptions
from waypost.providers.provider import ProviderState
from waypost.settings import LlamaCppSettings
from waypost.transport import Deadlines, HttpClient

_DEADLINES: Final = Deadlines(connect_s=5.0, first_byte_s=None, idle_s=120.0, total_s=600.0)
"""A long prompt is read for minutes on a slow machine before the first token comes."""
_ENDING_S: Final = 1.0
"""How soon after the connection the end of the process is noticed."""
_MEDIA_WORDS: Final = {"image": "images", "audio": "sound", "document": "documents"}
_ConnectionError: TypeAlias = ProviderConnectionLost | ProviderUnreachable
_CONNECTION_ERRORS: Final = (ProviderConnectionLost, ProviderUnreachable)


class LlamaCppProvider:
    """Implements `Provider`: the child starts at the first request and ends with `close`, or with this process."""

    def __init__(self, name: str, options: LocalModelOptions, store: ModelStore) -> None:
        self._server = LocalModelServer(options, store)
        self._known = store.catalogue.get(options.model)
        self.name = name
        self.slow_start = True
        self.default_model: str | None = Path(options.model).stem if options.model.endswith(".gguf") else options.model
        self.models: tuple[str, ...] | None = (self.default_model,)
        self._http = HttpProvider(
            HttpProviderOptions(
                name=name,
                codec=compatible_codec,
                access=self._access,
                default_model=self.default_model,
                deadlines=_DEADLINES,
                serves=lambda _model: False,
            ),
            HttpClient(),
        )

    async def generate(self, asked: Asked, model: str = "") -> Answer:
        """The whole answer. Raises ProviderError, ModelError if the model cannot be run, and UnsupportedFeature."""
        fitted, endings = self._fitted(asked), self._server.endings
        try:
            return await self._http.generate(fitted, model)
        except _CONNECTION_ERRORS as error:
            raise await self._explained(error, endings) from error

    @asynccontextmanager
    async def stream(self, asked: Asked, model: str = "") -> AsyncIterator[AnswerStream]:
        """The answer as batches. Raises as `generate` does."""
        fitted, endings = self._fitted(asked), self._server.endings
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(self._http.stream(fitted, model))
            except _CONNECTION_ERRORS as error:
                raise await self._explained(error, endings) from error
            yield _ExplainedStream(answer, lambda error: self._explained(error, endings))

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

    def _fitted(self, asked: Asked) -> Asked:
        """With the model's own length of an answer, where the request names none. Raises UnsupportedFeature."""
        if self._known is None:
            return asked
        request = asked.request
        demand_abilities(request, self._known)
        if self._known.default_max_tokens is not None and request.sampling.max_tokens is None:
            sampling = replace(request.sampling, max_tokens=self._known.default_max_tokens)
            request = replace(request, sampling=sampling)
        return Asked.of(request, stream=asked.stream)

    async def _explained(self, error: _ConnectionError, endings: int) -> _ConnectionError:
        """The same error in terms of the process, which people know of; its port is nobody's business."""
        reason = await self._server.ending_after(endings, _ENDING_S)
        if reason is None:
            message, hint = "The connection to the local model broke, though its process runs on.", "Ask again."
        else:
            message = f"The local model's process ended before its answer did: {reason}."
            hint = "Ask again: the next request starts it anew."
        return type(error)(message, hint=hint, provider=self.name)

    async def _access(self) -> ProviderAccess:
        endpoint = await self._server.endpoint()
        addresses = Addresses(f"{endpoint.base_url}/v1", "/chat/completions")
        return SignedAccess(self.name, addresses, FixedHeaders({}), {"authorization": f"Bearer {endpoint.api_key}"})


class _ExplainedStream:
    """The same stream; where its connection breaks, the error tells of the process."""

    def __init__(self, answer: AnswerStream, explain: Callable[[_ConnectionError], Awaitable[_ConnectionError]]):
        self._answer = answer
        self._batches = aiter(answer)
        self._explain = explain
        self.key_label = answer.key_label
        self.notes = answer.notes
        self.headers = answer.headers

    @property
    def usage(self) -> Usage:
        """The usage so far."""
        return self._answer.usage

    @property
    def model(self) -> str:
        """The model, as llama.cpp names it."""
        return self._answer.model

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        try:
            return await anext(self._batches)
        except _CONNECTION_ERRORS as error:
            raise await self._explain(error) from error


def demand_abilities(request: Request, model: CatalogueModel) -> None:
    """Raises UnsupportedFeature, naming what the request asks of the model that it cannot do."""
    choice = request.tool_choice.mode if request.tool_choice else "auto"
    # With "none" the caller says that no tool is to be called, and none will be.
    if not model.tools and (choice in ("required", "tool") or (request.tools and choice != "none")):
        raise _unsupported(model, "tools", "tools" if request.tools else "tool_choice")
    for part in _parts(part for message in request.messages for part in message.parts):
        if isinstance(part, Media) and not (part.kind == "image" and model.images):
            raise _unsupported(model, _MEDIA_WORDS[part.kind], "messages")


def _parts(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts, and those inside the results of tools."""
    for part in parts:
        yield part
        if isinstance(part, ToolResult):
            yield from _parts(part.parts)


def _unsupported(model: CatalogueModel, what: str, param: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"The local model {model.name} cannot use {what}.",
        hint="Send none, or ask another model, such as one of a hosted provider.",
        param=param,
    )


def create(name: str, settings: LlamaCppSettings, models_folder: Path) -> LlamaCppProvider:
    """The provider named `name`; the model's file is looked for at the first request."""
    options = LocalModelOptions(
        model=settings.model,
        context_tokens=settings.context_tokens,
        parallel=settings.parallel,
        threads=settings.threads,
    )
    return LlamaCppProvider(name, options, ModelStore(models_folder))
