"""The header `x-waypost-tags: team=search, feature=summary`: how callers name what their requests are for."""

from __future__ import annotations

import re
from typing import Final

TAGS: Final = b"x-waypost-tags"
MOST_TAGS: Final = 16
_TAG: Final = re.compile(r"([A-Za-z0-9._:/-]{1,64})=([A-Za-z0-9._:/@ -]{0,128})")


def tags_in(header: str | None) -> dict[str, str] | None:
    """The tags by name, at most MOST_TAGS; what is no tag is left out. None: there are none."""
    if header is None:
        return None
    found = (_TAG.fullmatch(item.strip()) for item in header.split(",", MOST_TAGS)[:MOST_TAGS])
    return {tag[1]: tag[2].strip() for tag in found if tag is not None} or None
