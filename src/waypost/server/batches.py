"""/api/ai/batches: many texts at once, added inline or as lines of JSON, and their results as lines of JSON.

Another project's batch does not exist here. The invariant: what is answered with success is in the database; a request
that broke in the middle has added the items before, and may be sent again with the same `first`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from waypost.analysis.kinds import chosen_kinds, kinds_of
from waypost.errors import InvalidRequest, UnsupportedFeature
from waypost.jobs.batch import BATCH_STATES, LOWER_PRICE, MOST_ITEMS, Batch, Item, NewBatch
from waypost.jobs.batch import BatchRequest as Common
from waypost.jobs.batch_told import result_line, told_batch
from waypost.jobs.kept_batches import KeptBatches
from waypost.server import batches_documentation as about
from waypost.server.administering import Query, answer
from waypost.server.analyze import idempotency_of
from waypost.server.analyze_checks import checked_webhook, chosen
from waypost.server.application import served_by
from waypost.server.batch_lines import LineForm, item_of_fields, item_of_line, item_of_text
from waypost.server.batch_models import BatchItems, BatchRequest
from waypost.server.body import read_body
from waypost.server.callers import caller_of
from waypost.server.job_models import AnalyzeRequest
from waypost.server.middleware.headers import header_value
from waypost.server.middleware.json_only import says_lines
from waypost.server.middleware.tags import TAGS, tags_in

router = APIRouter(tags=["Batches"])
BATCHES: Final = "/api/ai/batches"
EXAMPLE: Final = '{"items": [{"id": "a", "content": "…"}]}'
CHUNK: Final = 250
"""Items in one transaction, and results in one piece."""


def _batches(request: Request) -> KeptBatches:
    """Raises UnsupportedFeature."""
    served = served_by(request)
    if served.jobs is None or not served.settings.jobs.enabled:
        raise UnsupportedFeature(
            "This server takes on no batches.", hint="That takes jobs.enabled and ledger.enabled in its settings."
        )
    return served.jobs.batches


def _project(request: Request) -> str:
    return caller_of(request.scope).account.project_id


def _id(request: Request) -> str:
    return str(request.path_params["batch_id"])


@router.post(BATCHES, **about.CREATE)
async def create_batch(request: Request) -> Response:
    """Begin a batch. With `items` it is whole, and closed at once; without them it is open, and items are added.

    Workers begin with the first items while others are still added.
    """
    kept = _batches(request)
    fields = await read_body(request, BatchRequest, EXAMPLE)
    new = _new_batch(request, fields)
    await kept.demand_room(new.project_id)
    created = await kept.create(new)
    batch = created.batch
    if fields.items is not None and batch.state == "open":
        await _add(kept, batch, _items(fields.items, 0, _form(kept, batch)))
        batch = await kept.close(new.project_id, batch.id)
    headers = {"location": f"{BATCHES}/{batch.id}", **({} if created.is_new else {"idempotent-replayed": "true"})}
    reply = await _told(kept, request, batch.id, 201 if created.is_new else 200)
    reply.headers.update(headers)
    return reply


def _new_batch(request: Request, fields: BatchRequest) -> NewBatch:
    """Raises what is wrong with the request."""
    served, caller = served_by(request), caller_of(request.scope)
    told: dict[str, Any] = {}
    models: list[str | None]
    if fields.type == "analyze":
        asked = AnalyzeRequest(model=fields.model, kinds=fields.kinds, allow_offline=fields.allow_offline)
        told = {"kinds": chosen(served, caller, asked), "allow_offline": fields.allow_offline}
        models = [fields.model or kind.model for kind in chosen_kinds(kinds_of(served.settings), fields.kinds)]
    else:
        if fields.kinds is not None:
            raise InvalidRequest("kinds are for analyses.", param="kinds")
        caller.demand(fields.model or "")
        served.gateway.router.plan(fields.model)
        models = [fields.model]
    if fields.lower_price:
        for model in dict.fromkeys(models):
            served.gateway.batch_target(model)
        told[LOWER_PRICE] = True
    if fields.model is not None:
        told["model"] = fields.model
    tags = {**(tags_in(header_value(request.scope, TAGS)) or {}), **fields.tags}
    return NewBatch(
        caller.account.project_id,
        caller.account.key_id,
        Common(fields.type, told, fields.priority, fields.user),
        fields.name,
        idempotency_of(request, fields.idempotency_key),
        tags or None,
        checked_webhook(served, fields.webhook),
    )


@router.post(f"{BATCHES}/{{batch_id}}/items", **about.ADD)
async def add_items(request: Request) -> Response:
    """Add items to an open batch: in a JSON body, or as lines of JSON (application/x-ndjson), any number of them.

    With `first` a request that got no answer may be sent again: what is there already is not added twice.
    """
    kept = _batches(request)
    batch, _ = await kept.find(_project(request), _id(request))
    await kept.demand_room(batch.project_id)
    form = _form(kept, batch)
    if says_lines(header_value(request.scope, b"content-type") or ""):
        first = Query(request, "first", is_paged=False).number("first", most=MOST_ITEMS - 1)
        first = await kept.next_index(batch) if first is None else first
        return answer(await _add_lines(kept, batch, request, first, form))
    fields = await read_body(request, BatchItems, EXAMPLE)
    first = await kept.next_index(batch) if fields.first is None else fields.first
    return answer(await _add(kept, batch, _items(fields.items, first, form)))


async def _add(kept: KeptBatches, batch: Batch, items: Sequence[Item]) -> dict[str, int]:
    added = known = 0
    for begin in range(0, len(items), CHUNK):
        done = await kept.add(batch, items[begin : begin + CHUNK])
        added, known = added + done.new, known + done.known
    return {"added": added, "known": known, "next": items[-1].index + 1 if items else 0}


async def _add_lines(kept: KeptBatches, batch: Batch, request: Request, first: int, form: LineForm) -> dict[str, int]:
    """Lines as they come: no more of the body is held than one chunk of items and the line that is not whole yet."""
    waiting: list[Item] = []
    told = {"added": 0, "known": 0, "next": first}

    async def write() -> None:
        done = await _add(kept, batch, waiting)
        told.update(added=told["added"] + done["added"], known=told["known"] + done["known"])
        waiting.clear()

    async for line in _lines(request, form.longest_line):
        if told["next"] >= MOST_ITEMS:
            raise InvalidRequest("That is more than a batch can have.")
        waiting.append(item_of_line(line, told["next"], form))
        told["next"] += 1
        if len(waiting) == CHUNK:
            await write()
    await write()
    return told


async def _lines(request: Request, longest: int) -> AsyncIterator[bytes]:
    """Lines with something in them. Raises InvalidRequest for one that has no end."""
    left = b""
    async for piece in request.stream():
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(left) > longest:
            raise InvalidRequest(f"A line has more than {longest} bytes.")
    if left.strip():
        yield left


@router.post(f"{BATCHES}/{{batch_id}}/close", **about.CLOSE)
async def close_batch(request: Request) -> Response:
    """Nothing more is added: the batch ends with its last item."""
    kept = _batches(request)
    batch = await kept.close(_project(request), _id(request))
    return await _told(kept, request, batch.id)


@router.get(BATCHES, **about.LIST)
async def list_batches(request: Request) -> Response:
    """The batches of the caller's project, the newest first, with how their items stand."""
    query = Query(request, "state")
    state, limit = query.choice("state", BATCH_STATES), query.limit
    found = await _batches(request).page(_project(request), state=state, limit=limit + 1, after=query.after)
    shown = [told_batch(*each) for each in found[:limit]]
    return answer({"items": shown, "next": shown[-1]["id"] if len(found) > limit else None})


@router.get(f"{BATCHES}/{{batch_id}}", **about.GET)
async def get_batch(request: Request) -> Response:
    """A batch, with how its items stand and what they came to so far."""
    return await _told(_batches(request), request, _id(request))


@router.get(f"{BATCHES}/{{batch_id}}/results", **about.RESULTS)
async def batch_results(request: Request) -> Response:
    """Lines of JSON, one an item, in the order of the items: all that has ended up to the first that has not.

    Ask again with `after` (the last `index` that came) for what has ended since.
    """
    kept = _batches(request)
    after = Query(request, "after", is_paged=False).number("after", most=MOST_ITEMS)
    batch, _ = await kept.find(_project(request), _id(request))
    first = await kept.ended_from(batch.id, 0 if after is None else after + 1, CHUNK)

    async def pieces() -> AsyncIterator[bytes]:
        page = first
        while page:
            yield b"".join(result_line(job) for job in page)
            last = page[-1].batch_index or 0
            page = await kept.ended_from(batch.id, last + 1, CHUNK) if len(page) == CHUNK else []

    headers = {"cache-control": "no-store", "x-waypost-batch-state": batch.state}
    return StreamingResponse(pieces(), headers=headers, media_type="application/x-ndjson")


@router.post(f"{BATCHES}/{{batch_id}}/cancel", **about.CANCEL)
async def cancel_batch(request: Request) -> Response:
    """Items that wait end at once, those that are done are asked to; what is done stays."""
    kept = _batches(request)
    await kept.cancel(_project(request), _id(request))
    return await _told(kept, request, _id(request))


@router.post(f"{BATCHES}/{{batch_id}}/retry", **about.RETRY)
async def retry_batch(request: Request) -> Response:
    """Do anew the items that failed or were cancelled; those that were never usable stay as they are."""
    kept = _batches(request)
    retried = await kept.retry(_project(request), _id(request))
    batch, counts = await kept.find(_project(request), _id(request))
    return answer({"retried": retried, "batch": told_batch(batch, counts)}, 202)


@router.delete(f"{BATCHES}/{{batch_id}}", **about.DELETE)
async def delete_batch(request: Request) -> Response:
    """With all of its items and results; it must have ended. Its calls stay in the request log."""
    await _batches(request).remove(_project(request), _id(request))
    return Response(status_code=204, headers={"cache-control": "no-store"})


async def _told(kept: KeptBatches, request: Request, batch_id: str, status: int = 200) -> Response:
    batch, counts = await kept.find(_project(request), batch_id)
    return answer(told_batch(batch, counts, await kept.at_providers(batch_id)), status)


def _form(kept: KeptBatches, batch: Batch) -> LineForm:
    return LineForm(batch.asked.type, kept.settings.max_content_bytes)


def _items(given: Sequence[dict[str, Any] | str], first: int, form: LineForm) -> list[Item]:
    return [
        item_of_text(each, index, None, form) if isinstance(each, str) else item_of_fields(each, index, form)
        for index, each in enumerate(given, first)
    ]
