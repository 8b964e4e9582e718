"""How servers that speak OpenAI's chat format differ in what they take, and the record of what was not carried over.

A difference is a field of `Dialect`, never a test for a provider's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from waypost.chat import Json, Opaque
from waypost.codecs.codec import Loss

WIRE: Final = "openai_chat"
FAMILY: Final = "openai"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server takes in requests. The defaults are OpenAI's own API."""

    max_tokens_field: str = "max_completion_tokens"
    end_user_field: str = "safety_identifier"
    top_k: bool = False
    reasoning: bool = False
    """Does it take earlier reasoning back, as `reasoning_content`?"""
    developer_role: bool = True
    text_lists: bool = True
    """Does it take text in several parts? If not they are joined into one string."""
    custom_tools: bool = True
    """Does it know tools that are called with plain text?"""
    file_urls: bool = False
    """Does it take an address as `file_data`?"""


OFFICIAL: Final = Dialect()
COMPATIBLE: Final = Dialect(
    max_tokens_field="max_tokens",
    end_user_field="user",
    top_k=True,
    reasoning=True,
    developer_role=False,
    text_lists=False,
    custom_tools=False,
    file_urls=True,
)
"""The most that vLLM, llama.cpp, Ollama, DeepSeek, OpenRouter and their like have in common."""


class Losses:
    """What one encoding could not carry over, each kind once."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, Loss] = {}

    def add(self, what: str, why: str) -> None:
        """Note a loss; the first reason given for `what` stays."""
        self._found.setdefault(what, Loss(what, why))

    def own(self, opaque: Opaque) -> Mapping[str, Json]:
        """This family's data of `opaque`; every other family's is noted as lost."""
        for family, data in opaque.items():
            if family != FAMILY:
                for name in data:
                    self.add(f"opaque.{family}.{name}", f"only {family} understands it")
        return opaque.get(FAMILY, {})

    def listed(self) -> tuple[Loss, ...]:
        """All, in the order found."""
        return tuple(self._found.values())


def graft(wire: dict[str, Json], extra: Mapping[str, Json]) -> dict[str, Json]:
    """`wire` with the members of `extra` that it does not have, one level down too."""
    for name, value in extra.items():
        held = wire.get(name)
        if isinstance(held, dict) and isinstance(value, Mapping):
            wire[name] = {**value, **held}
        else:
            wire.setdefault(name, value)
    return wire


def opaque_of(extra: Mapping[str, Json]) -> Opaque:
    """Members this version does not know, as this family's opaque data."""
    return {FAMILY: extra} if extra else {}
