"""With several workers: hands a request that belongs to another worker to that one, whole, and its reply back.

A stream belongs to the worker that runs it, which its id names. A request with an idempotency key belongs to one
worker by a hash of tenant, path and key, so that one process keeps each key. A request's story is with whoever
answered it: the worker that its id names is asked first, then the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost.errors import ServerBusy, UnknownStream, WaypostError
from waypost.server.body import read_whole
from waypost.server.callers import caller_of
from waypost.server.disconnect import CallerGone, connection_of, while_connected
from waypost.server.ids import worker_of
from waypost.server.lifecycle import Lifecycle
from waypost.server.middleware.idempotent import idempotency_key
from waypost.server.peers import PeerGone, Peers, found

STREAMS: Final = "/api/ai/responses/"
STORIES: Final = "/api/ai/requests/"
RETRY_AFTER_S: Final = 1.0


class PassOn:
    """Looks at path and headers only. 404 `unknown_stream` or 503 `server_busy` if the other worker is not there."""

    def __init__(self, app: ASGIApp, peers: Peers) -> None:
        self.app = app
        self._peers = peers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif story := _id_in(scope["path"], STORIES):
            await self._ask_all(self._order(story), scope, receive, send)
        elif stream := _id_in(scope["path"], STREAMS):
            await self._ask_owner(worker_of(stream), _stream_gone, scope, receive, send)
        elif (key := idempotency_key(scope)) is not None:
            project_id = caller_of(scope).account.project_id
            owner = self._peers.neighbourhood.owner_of(project_id, scope["path"], key)
            await self._ask_owner(owner, _keeper_gone, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _ask_owner(
        self, owner: int | None, gone: Callable[[], WaypostError], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """An owner that never was is nobody: this worker then says that there is nothing."""
        if owner not in self._peers.others:
            await self.app(scope, receive, send)
            return
        try:
            await self._pass_on(owner, scope, receive, send)
        except PeerGone as error:
            raise gone() from error

    def _order(self, request_id: str) -> list[int]:
        """All workers, the likeliest first."""
        everyone = [self._peers.own, *self._peers.others]
        return sorted(everyone, key=lambda number: number != worker_of(request_id))

    async def _ask_all(self, order: list[int], scope: Scope, receive: Receive, send: Send) -> None:
        """The first reply that is no 404, else the last 404."""
        last: list[Message] = []
        for number in order:
            reply = _HeldIfMissing(send)
            try:
                if number == self._peers.own:
                    await self.app(scope, receive, reply)
                else:
                    await self._pass_on(number, scope, receive, reply)
            except PeerGone:
                continue
            if not reply.held:
                return
            last = reply.held
        for message in last:
            await send(message)

    async def _pass_on(self, number: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises PeerGone if there is no reply."""
        # Pages and streams are asked for without a body; reading one would wait for it where the story is asked twice.
        try:
            body = b"" if scope["method"] in ("GET", "HEAD") else await read_whole(receive)
            work = self._peers.pass_on(number, scope, body, send)
            # The peer's own shutdown ends its answer, in the caller's form: here there is no patience to lose.
            await while_connected(work, receive, Lifecycle(), connection_of(scope))
        except (CallerGone, ClientDisconnect):
            return


class _HeldIfMissing:
    """`send` that keeps a reply back if it says that there is nothing."""

    def __init__(self, send: Send) -> None:
        self.held: list[Message] = []
        self._send = send

    async def __call__(self, message: Message) -> None:
        if self.held or (message["type"] == "http.response.start" and not found(message["status"])):
            self.held.append(message)
        else:
            await self._send(message)


def _id_in(path: str, folder: str) -> str:
    """The path's part after the folder, empty if it is not in there."""
    return path.removeprefix(folder).partition("/")[0] if path.startswith(folder) else ""


def _stream_gone() -> WaypostError:
    return UnknownStream("The process that held this stream has ended.")


def _keeper_gone() -> WaypostError:
    return ServerBusy(
        "The process that keeps this Idempotency-Key is not there.",
        hint="Send the request again with the same key: another process takes its place in a moment.",
        retry_after_s=RETRY_AFTER_S,
    )
