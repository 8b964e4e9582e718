"""The ASGI application for any server: `uvicorn waypost.asgi:app`.

Importing it reads no settings: they are read when the server starts, or at the first request of a test client.
"""

from __future__ import annotations

from waypost.app import SettingsFile
from waypost.server.api import create_app
from waypost.server.models import AIRequest, AIResponseModel
from waypost.server.service import get_ai_service
from waypost.server.serving import Serving

__all__ = ["AIRequest", "AIResponseModel", "app", "get_ai_service"]

app = create_app(Serving(source=SettingsFile()))
