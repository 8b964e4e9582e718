"""The reply to a request that was taken on as a job, which knows its Idempotency-Key by itself.

Such a reply is not recorded: whoever asks again with the key gets the same job as it is then, and all that there is of
its stream, though the first reply was cut.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

DURABLE: Final = "waypost.durable"
"""In the message that begins such a reply."""


class DurableReply(Response):
    """Another reply, marked."""

    def __init__(self, reply: Response) -> None:
        super().__init__(status_code=reply.status_code)
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises as it does."""

        async def send_marked(message: Message) -> None:
            is_start = message["type"] == "http.response.start"
            await send({**message, DURABLE: True} if is_start else message)

        await self._reply(scope, receive, send_marked)
