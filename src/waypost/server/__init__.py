"""The HTTP front: one FastAPI application over one AI service. Only here is decided what it says on the wire."""

from waypost.server.api import create_app

__all__ = ["create_app"]
