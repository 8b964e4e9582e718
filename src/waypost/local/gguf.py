"""The head of a GGUF file: enough to refuse what is not one, or was cut short there. Tensors are not read.

Source: the GGUF specification of ggml (magic, version, tensor count, metadata count; little-endian).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct("<4sIQQ")
_VERSIONS: Final = (2, 3)
"""Those llama.cpp reads."""


def header_problem(path: Path) -> str | None:
    """What is wrong with the head of the file, to end a sentence about it; None: nothing. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
    if head[:4] != b"GGUF"[: len(head)] or not head:
        return "is not a GGUF file"
    if len(head) < _HEAD.size:
        return f"is damaged: it ends inside its header, after {len(head)} bytes"
    _, version, tensors, _ = _HEAD.unpack(head)
    if version not in _VERSIONS:
        return f"has GGUF version {version}; versions 2 and 3 can be read"
    return None if tensors else "is damaged: it holds no tensors"
