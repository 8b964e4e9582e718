"""A request that came in a batch, as an exchange takes it: there is no connection, only what was written down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from waypost.simulator.wire import Line


class Lost(Exception):
    """The item's answer broke off: on a socket its caller would have got a part of it, or nothing."""


@dataclass(frozen=True, slots=True)
class BatchedRequest:
    """One item of a batch. `headers` are those of the call that made the batch, as far as they go with an item."""

    batch_id: str
    custom_id: str
    path: str
    content: bytes
    headers: Mapping[str, str]
    method: str = "POST"
    query: Mapping[str, str] = field(default_factory=dict)
    transport: None = None

    async def read(self) -> bytes:
        """The body."""
        return self.content


class BatchedLine(Line):
    """Takes whole replies only; an answer that breaks off is Lost, one that is held has no end."""

    async def open(
        self,
        content_type: str,  # noqa: ARG002 - nothing is opened
        *,
        size_bytes: int | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Raises Lost."""
        raise Lost

    async def break_off(
        self,
        start: bytes,  # noqa: ARG002 - who asked never sees a part
        end: Callable[[], Awaitable[None]],
        *,
        content_type: str,  # noqa: ARG002
        size_bytes: int,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Raises Lost, once the end has come."""
        await end()
        raise Lost

    async def reset(self) -> None:
        """Raises Lost."""
        raise Lost

    async def hang_up(self) -> None:
        """Raises Lost."""
        raise Lost

    async def hold(self) -> None:
        """Nothing ever: it is for the batch to give up."""
        await asyncio.Event().wait()
