"""One field of a form with files (multipart/form-data), without a copy of the files. Source: RFC 7578 and RFC 2046."""

from __future__ import annotations

import re
from typing import Final

_BOUNDARY: Final = re.compile(r'boundary="?([^\s";,]{1,70})"?', re.IGNORECASE)
_HEAD_BYTES: Final = 4096
_VALUE_BYTES: Final = 1024


def form_field(content_type: str, body: bytes, name: str) -> str | None:
    """The short text of the field; None: there is none, or the body is no form."""
    found = _BOUNDARY.search(content_type)
    if found is None or not content_type.lower().startswith("multipart/form-data"):
        return None
    border, at = b"--" + found.group(1).encode(), 0
    wanted = re.compile(
        rb'content-disposition:[^\r\n]*;\s*name="?' + re.escape(name.encode()) + rb'"?\s*(;|\r|$)', re.IGNORECASE
    )
    while (at := body.find(border, at)) >= 0:
        at += len(border)
        head_end = body.find(b"\r\n\r\n", at, at + _HEAD_BYTES)
        if head_end >= 0 and wanted.search(body[at:head_end]):
            end = body.find(b"\r\n" + border, head_end + 4, head_end + 4 + _VALUE_BYTES)
            return None if end < 0 else body[head_end + 4 : end].decode(errors="replace").strip()
    return None
