"""The ASGI application at Gemini's paths: one route for every method of a model, since the method ends the path."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from waypost.server.doors.gemini import GEMINI, STREAMED, called, wants_events
from waypost.server.doors.gemini_inquiry import GEMINI_INQUIRIES
from waypost.server.doors.inquiry import InquiryCall
from waypost.server.doors.json_array import JsonArraySend
from waypost.server.doors.serve import DoorCall


class GeminiCall:
    """Sends each method to its door."""

    def __init__(self) -> None:
        self._conversation = DoorCall(GEMINI)
        self._inquiries = {method: InquiryCall(door) for method, door in GEMINI_INQUIRIES.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what went wrong before the first bytes of the answer."""
        _model, method = called(scope)
        if method in self._inquiries:
            await self._inquiries[method](scope, receive, send)
            return
        if STREAMED[method] and not wants_events(scope):
            send = JsonArraySend(send)
        await self._conversation(scope, receive, send)
