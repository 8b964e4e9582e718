"""What one of OpenAI's batches writes: a file of answers, one of errors, and the sum of the usage.

Source: API reference, batches, the request output object. An answer of 400 and more stands among the errors, with its
body; `error` is for what never got an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from waypost.chat import Json
from waypost.simulator.batches import Answer, Batch
from waypost.simulator.dialect import Ids, dump
from waypost.simulator.exchange import json_in

UNANSWERED: Final[Mapping[str, Mapping[str, Json]]] = {
    "expired": {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    },
    "cancelled": {"code": "batch_cancelled", "message": "This request was not executed: the batch was cancelled."},
}


@dataclass(slots=True)
class Written:
    """Lines, each with its end."""

    answers: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def usage(self) -> Json:
        """As a batch tells it."""
        counts = self.counts
        return {
            "input_tokens": counts["input"],
            "input_tokens_details": {"cached_tokens": counts["cached"]},
            "output_tokens": counts["output"],
            "output_tokens_details": {"reasoning_tokens": counts["reasoning"]},
            "total_tokens": counts["input"] + counts["output"],
        }


def written(batch: Batch, ids: Ids) -> Written:
    """All lines, in an order that is not the requests'."""
    output = Written()
    for place in sorted(range(len(batch.items)), key=lambda place: _order(batch, place)):
        answer = batch.answers.get(place)
        line = {
            "id": ids.hexadecimal("batch_req_", 32, place),
            "custom_id": batch.items[place].custom_id,
            "response": None if answer is None else _response(answer, output.counts),
            "error": UNANSWERED[str(batch.ending)] if answer is None else None,
        }
        is_good = answer is not None and answer.status < 400
        (output.answers if is_good else output.errors).append(dump(line) + b"\n")
    return output


def _order(batch: Batch, place: int) -> bytes:
    return sha256(batch.items[place].custom_id.encode()).digest()


def _response(answer: Answer, counts: Counter[str]) -> Json:
    body = json_in(answer.body)
    _count(body, counts)
    return {"status_code": answer.status, "request_id": answer.request_id, "body": body}


def _count(body: Json, counts: Counter[str]) -> None:
    """Add the usage in an answer, by Chat Completions' names or Responses'."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return
    for name, alike in (("input", "prompt"), ("output", "completion")):
        counts[name] += usage.get(f"{name}_tokens") or usage.get(f"{alike}_tokens") or 0
        details = usage.get(f"{name}_tokens_details") or usage.get(f"{alike}_tokens_details") or {}
        for kind in ("cached", "reasoning"):
            counts[kind] += details.get(f"{kind}_tokens") or 0
