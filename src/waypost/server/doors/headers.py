"""What a reply's headers tell besides the body: who answered, after how many attempts, and what was not as asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from waypost.codecs.codec import Loss
from waypost.errors import Attempt
from waypost.gateway.inquiries import Inquired
from waypost.gateway.served import Served, ServedStream
from waypost.server.doors.door import Door

PROVIDER: Final = "x-waypost-provider"
MODEL: Final = "x-waypost-model"
ATTEMPTS: Final = "x-waypost-attempts"
WARNINGS: Final = "x-waypost-warnings"
COST: Final = "x-waypost-cost-usd"
ESTIMATE: Final = "x-waypost-estimate"
"""On a count that is none."""

MAX_NAME_CHARACTERS: Final = 200
MAX_WARNINGS_CHARACTERS: Final = 2_000
"""Proxies often give all headers together 8 KB."""
MAX_WARNING_CHARACTERS: Final = 400
UNTOLD: Final = ("created", "usage.", "provider_fields")
"""How losses of an answer begin that are not worth a warning each time: nobody misses the provider's own accounts and
dates where the caller's format has no place for them, and warnings that always come are not read."""
_WHOLE: Final = (Served, Inquired)
_CONTROL: Final = re.compile(r"[^ -~]")


@lru_cache(maxsize=1024)
def plain(text: str, max_characters: int) -> str:
    """The text as a header can hold it: printable ASCII with other characters escaped, and not too long."""
    return _CONTROL.sub(" ", text.encode("ascii", "backslashreplace").decode())[:max_characters].strip()


def warning_text(warnings: Iterable[str]) -> str:
    """Whole warnings, each once, as many as fit; then how many did not. Empty if there is none."""
    waiting = [plain(warning, MAX_WARNING_CHARACTERS) for warning in dict.fromkeys(warnings)]
    told, length = 0, 0
    for warning in waiting:
        length += len(warning) + 2
        if length > MAX_WARNINGS_CHARACTERS:
            break
        told += 1
    more = [f"and {len(waiting) - told} more"] if told < len(waiting) else []
    return "; ".join([*waiting[:told], *more])


def attempts_header(attempts: tuple[Attempt, ...]) -> Mapping[str, str]:
    """How many calls were made or ruled out."""
    return {ATTEMPTS: str(len(attempts))}


def cost_header(served: Served | ServedStream | Inquired[Any]) -> Mapping[str, str]:
    """What a whole answer cost, in US dollars, where its price is known. A stream's cost is known at its end only."""
    cost = served.cost_micro_usd if isinstance(served, _WHOLE) else None
    return {} if cost is None else {COST: f"{cost / 1_000_000:.6f}"}


def request_id_header(door: Door, request_id: str) -> Mapping[str, str]:
    """The id where this dialect's clients look for it; `x-request-id` is on every reply anyway."""
    return {} if door.request_id_header == "x-request-id" else {door.request_id_header: request_id}


def reply_headers(
    door: Door, served: Served | ServedStream | Inquired[Any], losses: Iterable[Loss], request_id: str
) -> dict[str, str]:
    """Those of an answer. `losses` are what the door's own format could not carry."""
    told = (str(loss) for loss in losses if not loss.what.startswith(UNTOLD))
    warnings = warning_text([*served.notes, *told])
    return {
        **request_id_header(door, request_id),
        PROVIDER: plain(served.provider, MAX_NAME_CHARACTERS),
        MODEL: plain(served.model, MAX_NAME_CHARACTERS),
        **attempts_header(served.attempts),
        **cost_header(served),
        **({WARNINGS: warnings} if warnings else {}),
    }
