"""The simulator as a provider of every dialect, and a real server in front of it, for tests of the whole way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, cast

from tests.server.conftest import running

from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Simulator

Wire = Literal["chat", "responses", "anthropic", "gemini"]


def provider(wire: Wire, simulator: Simulator) -> dict[str, Any]:
    """Settings of a provider that speaks that wire format; a key is still to be added."""
    settings: Mapping[Wire, dict[str, Any]] = {
        "chat": {"kind": "openai", "base_url": simulator.openai_url},
        "responses": {"kind": "openai", "wire": "responses", "base_url": simulator.openai_url},
        "anthropic": {"kind": "anthropic", "base_url": simulator.anthropic_url},
        "gemini": {"kind": "gemini", "base_url": f"{simulator.gemini_url}/v1beta"},
    }
    return settings[wire]


@contextmanager
def serving(settings: Mapping[str, Any]) -> Iterator[str]:
    """The address of a real server with these settings, in a thread of this process."""
    with running(cast("Any", build(Settings.model_validate(settings)))) as server:
        yield server.url
