"""Anthropic's Message Batches. Source: API reference, Message Batches; its guide to batch processing.

What an item holds is checked when it is answered, as there: a wrong one is `errored` in the results.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from waypost.chat import Json
from waypost.simulator.batch_items import rule_for, start
from waypost.simulator.batches import Answer, Batch, Item
from waypost.simulator.calls import Lines
from waypost.simulator.dialect import Refused, dump, error_for
from waypost.simulator.exchange import Exchange, json_in
from waypost.simulator.paging import limit_of, page_after, page_before

KIND: Final = "anthropic"
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_REQUESTS: Final = 100_000
MAX_PAGE: Final = 1_000
MAX_ID_LENGTH: Final = 64
_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ENDED: Final = {"cancelled": "canceled", "expired": "expired"}


async def create(exchange: Exchange, body: bytes) -> Json:
    """`POST /v1/messages/batches`. Raises Refused."""
    items = _items(exchange, json_in(body))
    batch = Batch(exchange.ids.make("msgbatch_01", 22), items, rule_for(exchange, items))
    told = _told(exchange, batch)
    start(exchange, batch, lambda _: None)
    return told


async def retrieve(exchange: Exchange, _: bytes) -> Json:
    """`GET /v1/messages/batches/{id}`."""
    batch = _found(exchange)
    await batch.poll()
    return _told(exchange, batch)


async def listed(exchange: Exchange, _: bytes) -> Json:
    """`GET /v1/messages/batches`: the newest first."""
    query, kept = exchange.request.query, exchange.house.batches.of(KIND)
    limit, ids = limit_of(exchange, MAX_PAGE), list(kept)[::-1]
    before = query.get("before_id")
    found = page_after(ids, query.get("after_id"), limit) if before is None else page_before(ids, before, limit)
    return {
        "data": [_told(exchange, kept[batch_id]) for batch_id in found.ids],
        "has_more": found.has_more,
        "first_id": found.ids[0] if found.ids else None,
        "last_id": found.ids[-1] if found.ids else None,
    }


async def cancel(exchange: Exchange, _: bytes) -> Json:
    """`POST /v1/messages/batches/{id}/cancel`."""
    batch = _found(exchange)
    if batch.ended_s is not None:
        raise _refused(exchange, f"Batch {batch.id} cannot be canceled: its processing has ended.")
    batch.cancel()
    return _told(exchange, batch)


async def delete(exchange: Exchange, _: bytes) -> Json:
    """`DELETE /v1/messages/batches/{id}`."""
    batch = _found(exchange)
    if batch.ended_s is None:
        raise _refused(exchange, f"Batch {batch.id} cannot be deleted while it is in progress; cancel it first.")
    exchange.house.batches.forget(KIND, batch.id)
    return {"id": batch.id, "type": "message_batch_deleted"}


async def results(exchange: Exchange, _: bytes) -> Lines:
    """`GET /v1/messages/batches/{id}/results`: in an order that is not the requests'."""
    batch = _found(exchange)
    if batch.ended_s is None:
        raise _refused(exchange, f"Batch {batch.id} has no results yet: its processing has not ended.")
    places = sorted(range(len(batch.items)), key=lambda place: sha256(batch.items[place].custom_id.encode()).digest())
    return Lines([_line(batch, place) for place in places], "application/x-jsonl")


def _found(exchange: Exchange) -> Batch:
    batch_id = exchange.parts["id"]
    batch = exchange.house.batches.of(KIND).get(batch_id)
    if batch is None:
        message = f"Message Batch {batch_id} not found."
        raise Refused(error_for(exchange.dialect, name="not_found", message=message))
    return batch


def _refused(exchange: Exchange, message: str) -> Refused:
    return Refused(error_for(exchange.dialect, name="bad_request", message=message))


def _items(exchange: Exchange, content: Json) -> tuple[Item, ...]:
    if not isinstance(content, dict):
        raise _refused(exchange, "The request body is not valid JSON.")
    if "requests" not in content:
        raise _refused(exchange, "requests: Field required")
    requests = content["requests"]
    if problem := _problem_of_all(requests):
        raise _refused(exchange, f"requests: {problem}")
    seen: set[str] = set()
    for number, each in enumerate(requests):
        if problem := _problem(each, seen):
            raise _refused(exchange, f"requests.{number}{problem}")
        seen.add(each["custom_id"])
    return tuple(Item(each["custom_id"], "/v1/messages", dump(each["params"])) for each in requests)


def _problem_of_all(requests: Json) -> str:
    if not isinstance(requests, list):
        return "Input should be a valid list"
    if not requests:
        return "List should have at least 1 item after validation, not 0"
    if len(requests) > MAX_REQUESTS:
        return f"List should have at most {MAX_REQUESTS} items after validation, not {len(requests)}"
    return ""


def _problem(request: Json, seen: set[str]) -> str:
    """What is wrong with one request, with the path to it; empty if nothing is."""
    if not isinstance(request, dict):
        return ": Input should be an object"
    for name in ("custom_id", "params"):
        if name not in request:
            return f".{name}: Field required"
    if not isinstance(request["params"], dict):
        return ".params: Input should be an object"
    problem = _problem_of_id(request["custom_id"], seen)
    return f".custom_id: {problem}" if problem else ""


def _problem_of_id(custom_id: Json, seen: set[str]) -> str:
    if not isinstance(custom_id, str):
        return "Input should be a valid string"
    if not custom_id:
        return "String should have at least 1 character"
    if len(custom_id) > MAX_ID_LENGTH:
        return f"String should have at most {MAX_ID_LENGTH} characters"
    if _ID.fullmatch(custom_id) is None:
        return "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"
    return f"Custom ids must be unique, and '{custom_id}' is not" if custom_id in seen else ""


def _told(exchange: Exchange, batch: Batch) -> Json:
    has_ended = batch.ended_s is not None
    status = "ended" if has_ended else "in_progress" if batch.cancelled_s is None else "canceling"
    own = f"http://{exchange.request.headers['host']}/v1/messages/batches/{batch.id}"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": _counts(batch),
        "ended_at": _time(batch.ended_s),
        "created_at": _time(batch.created_s),
        "expires_at": _time(batch.expires_s),
        "archived_at": None,
        "cancel_initiated_at": _time(batch.cancelled_s),
        "results_url": f"{own}/results" if has_ended else None,
    }


def _counts(batch: Batch) -> Json:
    """All are being processed until the batch ends."""
    kinds = (
        Counter({"processing": len(batch.items)})
        if batch.ended_s is None
        else Counter(_kind(batch, place) for place in range(len(batch.items)))
    )
    return {name: kinds[name] for name in ("processing", "succeeded", "errored", "canceled", "expired")}


def _kind(batch: Batch, place: int) -> str:
    answer = batch.answers.get(place)
    if answer is None:
        return _ENDED[str(batch.ending)]
    return "succeeded" if answer.status == 200 else "errored"


def _line(batch: Batch, place: int) -> bytes:
    kind, answer = _kind(batch, place), batch.answers.get(place)
    result: dict[str, Any] = {"type": kind}
    if answer is not None:
        result |= _answered(answer)
    return dump({"custom_id": batch.items[place].custom_id, "result": result}) + b"\n"


def _answered(answer: Answer) -> Mapping[str, Json]:
    content = json_in(answer.body)
    if answer.status != 200 or not isinstance(content, dict):
        return {"error": content}
    if isinstance(usage := content.get("usage"), dict):
        usage["service_tier"] = "batch"
    return {"message": content}


def _time(seconds: float | None) -> str | None:
    """RFC 3339, with microseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
