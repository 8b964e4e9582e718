"""From the results of all parts to the result of an analysis, as JSON: what was found, by whom, and what is lacking.

Pure. Statuses of a kind: complete; partial (a part or a field is lacking, or was filled in offline); degraded (no
model answered, the offline analyzer alone did); failed (there is nothing, and `error` says why).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from waypost.analysis.joining import agreed, grounded, joined, most_named
from waypost.analysis.kinds import MOST_THEMES, SCHEMA, Kind
from waypost.analysis.offline import analyze_offline
from waypost.analysis.quotes import Quotable
from waypost.analysis.results import PartResult, usage_sum

MODEL: Final = "model"
BY_RULE: Final = "The results of several parts were joined by rule, because no model joined them."
FIELDS: Final = tuple(SCHEMA["required"])
"""The fields of the built-in kind that a model is asked for."""
_NOTHING: Final = {"code": "no_result", "message": "No part has a result.", "retryable": False, "retry_after_s": None}


@dataclass(slots=True)
class _Outcome:
    """What there is of one kind."""

    status: str
    value: dict[str, Any] | None = None
    computed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    values: list[dict[str, Any]] = field(default_factory=list)
    """Of the single parts, where they could not be joined."""


def combine(
    kinds: Sequence[Kind], results: Sequence[PartResult], text: str, *, allow_offline: bool = True
) -> dict[str, Any]:
    """The result of an analysis of `text`. `allow_offline`: may the offline analyzer fill in what no model told?

    Where it does, this takes seconds for some contents: a server does it in a thread.
    """
    told = {kind.name: _kind_told(kind, results, text, allow_offline=allow_offline) for kind in kinds}
    answered = [result for result in results if result.provider is not None]
    costs = [result.cost_micro_usd for result in answered]
    cost = None if not costs or None in costs else sum(each for each in costs if each is not None)
    return {
        "results": told,
        "partial": any(each["status"] in ("partial", "failed") for each in told.values()),
        "degraded": any(each["status"] == "degraded" for each in told.values()),
        "provider": answered[-1].provider if answered else None,
        "model": answered[-1].model if answered else None,
        "usage": usage_sum([result.usage or {} for result in answered]) if answered else None,
        "cost_micro_usd": cost,
        "cost_usd": None if cost is None else cost / 1_000_000,
        "parts": [_part_told(result) for result in results],
    }


def _kind_told(kind: Kind, results: Sequence[PartResult], text: str, *, allow_offline: bool) -> dict[str, Any]:
    own = [result for result in results if result.kind == kind.name]
    outcome = _built_in(own, text, allow_offline=allow_offline) if kind.is_built_in else _own_kind(own)
    told = {
        "status": outcome.status,
        "version": kind.version,
        "value": outcome.value,
        "computed": outcome.computed,
        "missing": outcome.missing,
        "notes": outcome.notes,
        "error": outcome.error,
        "read_characters": sum(each.end - each.start for each in own if each.step == "chunk" and each.value),
        "characters": len(text),
    }
    return {**told, "values": outcome.values} if outcome.values else told


def _part_told(result: PartResult) -> dict[str, Any]:
    """All about a part but what it found."""
    told = result.to_dict()
    del told["value"]
    return told


def _own_kind(results: Sequence[PartResult]) -> _Outcome:
    final = results[-1] if results else None
    values = [result.value for result in results if result.step == "chunk" and result.value is not None]
    if final is not None and final.value is not None:
        whole = not final.missing and all(map(_is_whole, results))
        computed = dict.fromkeys(final.value, MODEL)
        return _Outcome("complete" if whole else "partial", final.value, computed, list(final.missing))
    error = next((result.error for result in reversed(results) if result.error), _NOTHING)
    return _Outcome("partial" if values else "failed", error=error, values=values)


def _is_whole(result: PartResult) -> bool:
    return result.value is not None and not result.cut_off


def _built_in(results: Sequence[PartResult], text: str, *, allow_offline: bool) -> _Outcome:
    outcome = _weak(results, text) if any(result.is_weak for result in results) else _asked(results, text)
    lacking = [name for name in FIELDS if name not in (outcome.value or {})]
    if lacking and (allow_offline or outcome.status == "weak"):
        _fill_in(outcome, lacking, text)
    elif lacking and outcome.value is not None:
        outcome.status = "partial"
        outcome.missing = lacking
        outcome.value = {**outcome.value, **dict.fromkeys(lacking)}
    elif lacking:
        outcome.missing = lacking
    return outcome


def _asked(results: Sequence[PartResult], text: str) -> _Outcome:
    """What models told who were asked for everything."""
    error = next((result.error for result in reversed(results) if result.error), None)
    chunks = [result.value for result in results if result.step == "chunk" and result.value is not None]
    final = results[-1].value if results and (len(results) == 1 or results[-1].step == "reduce") else None
    if final is None and not chunks:
        return _Outcome("failed", error=error or _NOTHING)
    value = dict(final) if final is not None else joined(chunks)
    notes = {} if final is not None else {"parts": BY_RULE}
    dropped = _drop_false_quotes(value, text)
    if dropped:
        notes["suggestions"] = f"{dropped} quoted what the content does not say; the quotes were left out."
    whole = final is not None and all(map(_is_whole, results))
    return _Outcome("complete" if whole else "partial", value, dict.fromkeys(value, MODEL), notes=notes, error=error)


def _weak(results: Sequence[PartResult], text: str) -> _Outcome:
    """What a model on this machine told: themes, of which those are kept that the content speaks of."""
    error = next((result.error for result in reversed(results) if result.error), None)
    values = [result.value for result in results if result.value is not None]
    if not values:
        return _Outcome("failed", error=error or _NOTHING)
    themes = grounded(most_named([value.get("themes", ()) for value in values], MOST_THEMES), Quotable(text))
    told = {"themes": themes} if themes else {}
    return _Outcome("weak", told, dict.fromkeys(told, MODEL), error=error)


def _fill_in(outcome: _Outcome, lacking: Sequence[str], text: str) -> None:
    """With what the offline analyzer can tell; to the themes of a small model it adds its own."""
    offline = analyze_offline(text)
    computed, notes = offline.pop("computed"), offline.pop("notes")
    was = outcome.status
    value = outcome.value or {}
    themes = value.get("themes", [])
    outcome.value = {**{name: offline[name] for name in FIELDS}, **value, "readability": offline["readability"]}
    outcome.computed = {**computed, **outcome.computed}
    if was == "weak" and themes:
        outcome.value["themes"] = agreed(offline["themes"], themes, MOST_THEMES)
        outcome.computed["themes"] = f"{MODEL}, {computed['themes']}"
    outcome.notes |= {name: note for name, note in notes.items() if name not in value or name == "text"}
    unknown = [name for name in lacking if outcome.value[name] is None]
    outcome.missing = unknown if was == "weak" else list(lacking)
    outcome.status = {"failed": "degraded", "weak": "complete"}.get(was, "partial")


def _drop_false_quotes(value: dict[str, Any], text: str) -> int:
    """How many suggestions lost their quote, because the content does not have it."""
    suggestions = value.get("suggestions")
    if not suggestions:
        return 0
    content = Quotable(text)
    kept = [
        each if each["quote"] is None or content.has(each["quote"]) else {**each, "quote": None} for each in suggestions
    ]
    value["suggestions"] = kept
    return sum(before != after for before, after in zip(suggestions, kept, strict=True))
