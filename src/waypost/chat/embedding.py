"""Embeddings in canonical form: texts in, one vector for each out. No wire format's own forms are kept here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from waypost.chat.parts import Json
from waypost.chat.usage import Usage

EmbeddingInput: TypeAlias = str | tuple[int, ...]
"""A text, or the numbers of its tokens in the model's own vocabulary."""
Encoding: TypeAlias = Literal["float", "base64"]
"""How vectors are written: as numbers, or as the base64 of little-endian 32-bit floats."""
Vector: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """What is asked of an embedding model.

    `encoding` None: the caller said nothing. `provider_options` as in `Request`.
    """

    model: str
    inputs: tuple[EmbeddingInput, ...]
    dimensions: int | None = None
    encoding: Encoding | None = None
    end_user_id: str | None = None
    provider_options: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbeddingResponse:
    """One vector for each input, in their order. `model` is empty where the wire format does not tell it."""

    model: str
    vectors: tuple[Vector, ...]
    usage: Usage = field(default_factory=Usage)
