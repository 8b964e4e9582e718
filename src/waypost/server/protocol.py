"""uvicorn's HTTP protocol, with our envelope for bytes that are not HTTP: there is no request yet to be routed."""

from __future__ import annotations

import uuid

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from waypost.errors import InvalidRequest
from waypost.server.envelope import envelope
from waypost.server.jsonwire import json_bytes


class EnvelopeProtocol(HttpToolsProtocol):
    """Answers malformed HTTP with JSON and closes the connection, as uvicorn does with plain text."""

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn when the parser gives up; `msg` is its sentence, which says nothing more."""
        request_id = f"req_{uuid.uuid4().hex}"
        error = InvalidRequest(
            "What came is not a valid HTTP request.", hint="Speak HTTP/1.1 to this port, without TLS."
        )
        body = json_bytes(envelope(error, request_id))
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.logger.info(msg)
        self.transport.write(head.encode() + body)
        self.transport.close()
