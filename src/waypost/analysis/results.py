"""What came of one part, as plain JSON: a durable step gives it, and later steps read it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from waypost.chat import Usage
from waypost.chat.usage import COUNTS
from waypost.errors import AllTargetsFailed, WaypostError


@dataclass(frozen=True, slots=True)
class PartResult:
    """What came of the part `index`. Either `value` or `error` is set.

    `value` fits the kind's schema but for the top-level fields in `missing`, which no answer had right. `error` is
    {code, message, retryable, retry_after_s}. `usage` are token counts over all questions, `cost_micro_usd` None if
    the cost of one is not known; both None: nobody was asked. `repaired` counts the questions after the first one.
    """

    index: int
    kind: str
    version: str
    step: Literal["chunk", "reduce"]
    start: int = 0
    end: int = 0
    value: dict[str, Any] | None = None
    missing: tuple[str, ...] = ()
    error: dict[str, Any] | None = None
    provider: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    cost_micro_usd: int | None = None
    request_ids: tuple[str, ...] = ()
    repaired: int = 0
    structured: bool = False
    is_weak: bool = False
    cut_off: bool = False
    """Did the answer that was taken end before its model was done? What was lost of it is not known."""
    origin: Literal["model", "offline"] = "model"
    """offline: nobody was asked, because one result was all there was to join."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> PartResult:
        """The result that `to_dict` told of. Raises msgspec.ValidationError."""
        return msgspec.convert(told, cls)


def error_told(error: BaseException) -> dict[str, Any]:
    """An error as a value. Of one that is not ours only the type is told: its text may hold anything."""
    if not isinstance(error, WaypostError):
        message = f"The step failed with {type(error).__name__}."
        return {"code": WaypostError.code, "message": message, "retryable": False, "retry_after_s": None}
    wait_s = getattr(error, "retry_after_s", None)
    return {
        "code": error.code,
        "message": str(error),
        "retryable": error.retryable or (isinstance(error, AllTargetsFailed) and _may_pass(error)),
        "retry_after_s": wait_s,
    }


def _may_pass(error: AllTargetsFailed) -> bool:
    """Would the same question have a chance later? One that was refused for good by all has none."""
    return any(isinstance(each, WaypostError) and each.retryable for each in error.errors.values())


def usage_told(usage: Usage) -> dict[str, Any]:
    """The counts that were reported, by their names."""
    return {name: value for name in COUNTS if (value := getattr(usage, name)) is not None}


def usage_sum(usages: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts added up. Those that somebody did not report, but for parts of other counts, are named `incomplete`."""
    total = {name: sum(usage.get(name, 0) for usage in usages) for name in COUNTS if any(name in u for u in usages)}
    lacking = [
        name
        for name in ("input_tokens", "output_tokens")
        if any(name not in usage or name in usage.get("incomplete", ()) for usage in usages)
    ]
    return {**total, "incomplete": lacking} if lacking and usages else total
