"""The head of a model file is judged before llama.cpp sees it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from waypost.local.gguf import header_problem


def _head(magic: bytes = b"GGUF", version: int = 3, tensors: int = 2) -> bytes:
    return struct.pack("<4sIQQ", magic, version, tensors, 5)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (_head(), None),
        (_head(version=2) + b"more", None),
        (b"", "is not a GGUF file"),
        (b"PK\3\4 a zip archive, not a model", "is not a GGUF file"),
        (_head()[:3], "it ends inside its header, after 3 bytes"),
        (_head()[:23], "it ends inside its header, after 23 bytes"),
        (_head(version=1), "has GGUF version 1; versions 2 and 3 can be read"),
        (_head(version=0x03000000), "has GGUF version 50331648"),
        (_head(tensors=0), "it holds no tensors"),
    ],
)
def test_only_a_whole_head_of_a_known_version_is_taken(tmp_path: Path, content: bytes, problem: str | None) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    found = header_problem(path)
    assert found == problem if problem is None else problem in (found or "")
