"""What all attempts of one request used together: token counts that add up, and say where they cannot.

Not a price and not an estimate. The invariant: a sum that lacks what one attempt did not report is marked, so that
"at least this much" is never taken for "this much".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from waypost.chat import Usage
from waypost.chat.usage import COUNTS

OUTPUT_COUNTS = tuple(name for name in COUNTS if name.startswith("output_"))


@dataclass(frozen=True, slots=True)
class TotalUsage:
    """Counts over `attempts` attempts. Those named in `incomplete` are lower bounds: somebody did not report his."""

    usage: Usage = field(default_factory=Usage)
    incomplete: frozenset[str] = frozenset()
    attempts: int = 0

    def plus(self, usage: Usage, *, broken: bool = False) -> TotalUsage:
        """With one more attempt's counts. `broken`: it was cut off, so that its count of output came before its end."""
        counts = {name: _sum(getattr(self.usage, name), getattr(usage, name)) for name in COUNTS}
        calls = Counter(self.usage.server_tool_calls) + Counter(usage.server_tool_calls)
        total = Usage(
            **counts, server_tool_calls=dict(calls), service_tier=usage.service_tier or self.usage.service_tier
        )
        missing = {name for name in COUNTS if self.attempts and _one_is_missing(self.usage, usage, name)}
        if broken:
            missing |= {"output_tokens", *(name for name in OUTPUT_COUNTS if counts[name] is not None)}
        return TotalUsage(total, self.incomplete | missing, self.attempts + 1)


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None and second is None else (first or 0) + (second or 0)


def _one_is_missing(first: Usage, second: Usage, name: str) -> bool:
    return (getattr(first, name) is None) != (getattr(second, name) is None)
