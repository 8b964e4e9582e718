"""Waypost: a gateway, provider simulator and quality gate for teams that build on language models.

The names below are the library face. Each is loaded when it is first used, so that `import waypost` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waypost.errors import AllTargetsFailed, Attempt, ProviderError, RequestError, WaypostError
    from waypost.manager.provider import AIServiceProvider
    from waypost.manager.response import AIResponse
    from waypost.manager.service import AIServiceManager, AIStream
    from waypost.manager.vendors import (
        AnthropicProvider,
        GeminiProvider,
        LocalProvider,
        OpenAICompatibleProvider,
        OpenAIProvider,
    )

__version__ = "0.1.0"

_HOMES = {
    "AIResponse": "waypost.manager.response",
    "AIServiceManager": "waypost.manager.service",
    "AIServiceProvider": "waypost.manager.provider",
    "AIStream": "waypost.manager.service",
    "AllTargetsFailed": "waypost.errors",
    "AnthropicProvider": "waypost.manager.vendors",
    "Attempt": "waypost.errors",
    "GeminiProvider": "waypost.manager.vendors",
    "LocalProvider": "waypost.manager.vendors",
    "OpenAICompatibleProvider": "waypost.manager.vendors",
    "OpenAIProvider": "waypost.manager.vendors",
    "ProviderError": "waypost.errors",
    "RequestError": "waypost.errors",
    "WaypostError": "waypost.errors",
}

__all__ = [
    "AIResponse",
    "AIServiceManager",
    "AIServiceProvider",
    "AIStream",
    "AllTargetsFailed",
    "AnthropicProvider",
    "Attempt",
    "GeminiProvider",
    "LocalProvider",
    "OpenAICompatibleProvider",
    "OpenAIProvider",
    "ProviderError",
    "RequestError",
    "WaypostError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'waypost' has no attribute {name!r}")
    return getattr(import_module(home), name)
