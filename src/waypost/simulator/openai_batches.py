"""OpenAI's batches. Source: API reference, batches; the guide to them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from waypost.chat import Json
from waypost.simulator.batch_items import ENDPOINTS, rule_for, start
from waypost.simulator.batches import Batch
from waypost.simulator.dialect import Ids, Refused, WireError, error_for
from waypost.simulator.exchange import Exchange, json_in
from waypost.simulator.files import File
from waypost.simulator.openai_batch_input import read_input
from waypost.simulator.openai_batch_output import written
from waypost.simulator.paging import limit_of, page_after

KIND: Final = "openai"
MAX_PAGE: Final = 100
WINDOW: Final = "24h"
SUPPORTED: Final = tuple(path for path in ENDPOINTS if path != "/v1/messages")
MAX_METADATA: Final = 16
MAX_KEY_LENGTH: Final = 64
MAX_VALUE_LENGTH: Final = 512
_REQUEST: Final = "invalid_request_error"
_STATUSES: Final = {"done": "completed", "cancelled": "cancelled", "expired": "expired", "failed": "failed"}


async def create(exchange: Exchange, body: bytes) -> Json:
    """`POST /v1/batches`: what is wrong in the file comes out when the batch is validated. Raises Refused."""
    content = json_in(body)
    content = content if isinstance(content, dict) else {}
    file = _checked(exchange, content)
    found = read_input(file.content, content["endpoint"])
    rule = rule_for(exchange, tuple(found.items))
    if rule.fails is not None and not found.errors:
        found.refuse((rule.fails, f"The batch was not taken on: {rule.fails}.", None))
    items = () if found.errors else tuple(found.items)
    details: dict[str, Json] = {
        "endpoint": content["endpoint"],
        "input_file_id": file.id,
        "metadata": content.get("metadata"),
        "model": found.model,
        "errors": {"object": "list", "data": found.errors} if found.errors else None,
        "life_s": _life_s(content),
    }
    batch = Batch(exchange.ids.hexadecimal("batch_", 32), items, rule, details)
    batch.ending = "failed" if found.errors else None
    told = _told(batch)
    ids, files = exchange.ids, exchange.house.files

    def ended(batch: Batch) -> None:
        for file in _outputs(batch, ids):
            files.keep(file)

    start(exchange, batch, ended)
    return told


async def retrieve(exchange: Exchange, _: bytes) -> Json:
    """`GET /v1/batches/{id}`."""
    batch = _found(exchange)
    await batch.poll()
    return _told(batch)


async def listed(exchange: Exchange, _: bytes) -> Json:
    """`GET /v1/batches`: the newest first."""
    kept = exchange.house.batches.of(KIND)
    page = page_after(list(kept)[::-1], exchange.request.query.get("after"), limit_of(exchange, MAX_PAGE))
    return {
        "object": "list",
        "data": [_told(kept[batch_id]) for batch_id in page.ids],
        "first_id": page.ids[0] if page.ids else None,
        "last_id": page.ids[-1] if page.ids else None,
        "has_more": page.has_more,
    }


async def cancel(exchange: Exchange, _: bytes) -> Json:
    """`POST /v1/batches/{id}/cancel`: again too, but not of a batch that has ended otherwise."""
    batch = _found(exchange)
    if batch.ended_s is not None and batch.ending != "cancelled":
        message = f"Cannot cancel a batch with status '{_status(batch)}'."
        raise Refused(error_for(exchange.dialect, name="conflict", message=message))
    batch.cancel()
    return _told(batch)


def _found(exchange: Exchange) -> Batch:
    batch_id = exchange.parts["id"]
    batch = exchange.house.batches.of(KIND).get(batch_id)
    if batch is None:
        raise Refused(WireError(404, _REQUEST, f"No batch found with id '{batch_id}'."))
    return batch


def _checked(exchange: Exchange, content: Mapping[str, Any]) -> File:
    """The input file of a call that is as it should be. Raises Refused."""
    for name in ("input_file_id", "endpoint", "completion_window"):
        if not isinstance(content.get(name), str) or not content[name]:
            raise _refused(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    for name, allowed in (("endpoint", SUPPORTED), ("completion_window", (WINDOW,))):
        if content[name] not in allowed:
            told = ", ".join(f"'{each}'" for each in allowed)
            raise _refused(f"Invalid value: '{content[name]}'. Supported values are: {told}.", name, "invalid_value")
    if not _is_metadata(content.get("metadata")):
        limits = f"at most {MAX_METADATA} texts, names of {MAX_KEY_LENGTH} and values of {MAX_VALUE_LENGTH} characters"
        raise _refused(f"Invalid 'metadata': {limits}.", "metadata", "invalid_value")
    file = exchange.house.files.all.get(content["input_file_id"])
    if file is None:
        raise _refused(f"No such File object: {content['input_file_id']}", "input_file_id", None)
    if file.purpose != "batch":
        told = f"Invalid file purpose: '{file.purpose}'. The input file of a batch must have the purpose 'batch'."
        raise _refused(told, "input_file_id", "invalid_file_purpose")
    return file


def _refused(message: str, param: str, code: str | None) -> Refused:
    return Refused(WireError(400, _REQUEST, message, code=code, param=param))


def _is_metadata(value: Json) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and len(value) <= MAX_METADATA
        and all(len(key) <= MAX_KEY_LENGTH for key in value)
        and all(isinstance(text, str) and len(text) <= MAX_VALUE_LENGTH for text in value.values())
    )


def _life_s(content: Mapping[str, Json]) -> int | None:
    """How long the files that the batch writes are kept, if that is said."""
    wanted = content.get("output_expires_after")
    seconds = wanted.get("seconds") if isinstance(wanted, dict) else None
    return seconds if isinstance(seconds, int) else None


def _outputs(batch: Batch, ids: Ids) -> list[File]:
    """The files that a batch writes when it ends: of answers and of errors, each only if it holds any."""
    output = written(batch, ids)
    batch.details["usage"] = None if batch.ending == "failed" else output.usage
    files = []
    now_s, life_s = int(time.time()), batch.details["life_s"]
    for number, (what, lines) in enumerate({"output": output.answers, "error": output.errors}.items()):
        if lines:
            file_id, name = ids.make("file-", 22, number), f"{batch.id}_{what}.jsonl"
            expires_s = None if life_s is None else now_s + life_s
            files.append(File(file_id, name, "batch_output", b"".join(lines), now_s, expires_s))
            batch.details[f"{what}_file_id"] = file_id
    return files


def _status(batch: Batch) -> str:
    if batch.ended_s is not None:
        return _STATUSES[str(batch.ending)]
    if batch.began_s is None:
        return "validating"
    if batch.cancelled_s is not None:
        return "cancelling"
    return "in_progress" if batch.finalizing_s is None else "finalizing"


def _told(batch: Batch) -> Json:
    status = _status(batch)
    ended = {f"{name}_at": _time(batch.ended_s) if status == name else None for name in _STATUSES.values()}
    finalized_s = batch.ended_s if status == "completed" else None
    is_validated = status not in ("validating", "failed")
    counts = {"total": len(batch.items) if is_validated else 0, **_counts(batch)}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.details["endpoint"],
        "model": batch.details["model"] if is_validated else None,
        "errors": batch.details["errors"] if status == "failed" else None,
        "input_file_id": batch.details["input_file_id"],
        "completion_window": WINDOW,
        "status": status,
        "output_file_id": batch.details.get("output_file_id"),
        "error_file_id": batch.details.get("error_file_id"),
        "created_at": _time(batch.created_s),
        "in_progress_at": _time(batch.began_s),
        "expires_at": _time(batch.expires_s),
        "finalizing_at": _time(batch.finalizing_s or finalized_s),
        **ended,
        "cancelling_at": _time(batch.cancelled_s),
        "request_counts": counts,
        "usage": batch.details.get("usage"),
        "metadata": batch.details["metadata"],
    }


def _counts(batch: Batch) -> dict[str, int]:
    good = sum(answer.status < 400 for answer in batch.answers.values())
    return {"completed": good, "failed": len(batch.answers) - good}


def _time(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
