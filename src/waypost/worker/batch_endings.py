"""What a line of a provider's results makes of a call: its answer or error, its cost, and whether it is asked again.

No I/O. The invariant: a call that was answered is paid at the price of batches, and one that was not is free, but where
nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from waypost.catalogue import PriceBook
from waypost.catalogue.batch_share import BATCH
from waypost.chat import Response, Usage
from waypost.codecs.codec import Codec
from waypost.codecs.estimate import estimate_text_tokens
from waypost.errors import ProviderError, WaypostError
from waypost.jobs.batched_calls import MOST_TRIES, BatchedCall, Ending
from waypost.ledger.billing import FREE, Bill, Guess, bill_whole
from waypost.ledger.books import counts_of
from waypost.ledger.deferred import Settled
from waypost.ledger.journal.adoption import closing
from waypost.ledger.records import AttemptClosed, AttemptOpened, AttemptOutcome, BodyStored, EndState, RequestEnded
from waypost.ledger.redaction import redacted
from waypost.providers.batch_api import BatchLine

EXPIRED: Final = ProviderError("The provider did not come to this request within its time.")
UNWANTED: Final = ProviderError("The job was cancelled.")


def of_line(call: BatchedCall, line: BatchLine, codec: Codec, prices: PriceBook, body: bytes, now_ms: int) -> Ending:
    """What a line of the results says. `body` is what was asked, if both are to be kept."""
    if line.outcome == "answered" and line.answer is not None:
        try:
            return _answered(call, line.answer, codec.decode_response(line.answer), prices, body, now_ms)
        except WaypostError as error:
            # It answered, so that it was paid: how much is not known.
            return in_doubt(call, error, prices, now_ms, is_doubtful=False)
    if line.outcome == "expired" or line.error is None:
        return expired(call, now_ms, wanted=True)
    return failed(call, line.error, now_ms, again=line.error.retryable)


def expired(call: BatchedCall, now_ms: int, *, wanted: bool) -> Ending:
    """The provider has not come to it."""
    return failed(call, EXPIRED if wanted else UNWANTED, now_ms, again=wanted)


def failed(call: BatchedCall, error: WaypostError, now_ms: int, *, again: bool) -> Ending:
    """It gave an error, and cost nothing. `again`: another batch may do better."""
    opened = call.opened
    closed = _closed(opened, "failed", FREE, now_ms, error=error)
    if again and call.tries < MOST_TRIES:
        return Ending("failed", Settled(opened, closed), again=next_attempt(opened, now_ms))
    ended = _ended(opened, "failed", now_ms, error=error)
    return Ending("failed", Settled(opened, closed, ended), error=_told(error))


def in_doubt(
    call: BatchedCall, error: WaypostError, prices: PriceBook, now_ms: int, *, is_doubtful: bool = True
) -> Ending:
    """Whether it was paid, or how much, nobody knows: an estimate is written down, and it is not asked again by us."""
    opened = call.opened
    ended = _ended(opened, "unknown", now_ms, error=error)
    settled = Settled(opened, closing(opened, prices), ended)
    return Ending("failed", settled, error=_told(error), is_doubtful=is_doubtful)


def next_attempt(opened: AttemptOpened, now_ms: int) -> AttemptOpened:
    """The same call once more."""
    values = {name: getattr(opened, name) for name in opened.__struct_fields__}
    number = opened.number + 1
    values |= {"attempt_id": f"{opened.entry_id}.{number}", "number": number, "started_at_ms": now_ms}
    return AttemptOpened(**values)


def _answered(
    call: BatchedCall, answer: bytes, response: Response, prices: PriceBook, body: bytes, now_ms: int
) -> Ending:
    opened, usage = call.opened, replace(response.usage, service_tier=BATCH)
    model = response.model or call.model

    def price(counted: Usage) -> int | None:
        return prices.cost_micro_usd(call.provider, call.kind, model, counted, asked=call.model)

    bill = bill_whole(price, usage, lambda: Guess(opened.input_tokens, estimate_text_tokens(response.text)))
    priced = bill.cost_micro_usd is not None
    source = prices.source(call.provider, call.kind, model, asked=call.model) if priced else None
    closed = _closed(opened, "answered", bill, now_ms, model=model, source=source)
    ended = _ended(opened, "answered", now_ms, model=model)
    kept = None
    if call.keeps_body:
        kept = BodyStored(opened.entry_id, opened.project_id, now_ms, redacted(body), redacted(answer))
    return Ending("answered", Settled(opened, closed, ended, kept), answer=answer.decode("utf-8", "replace"))


def _closed(
    opened: AttemptOpened,
    outcome: AttemptOutcome,
    bill: Bill,
    now_ms: int,
    *,
    error: WaypostError | None = None,
    model: str | None = None,
    source: str | None = None,
) -> AttemptClosed:
    code, counts = None if error is None else error.code, counts_of(bill.usage)
    cost, basis = bill.cost_micro_usd, bill.basis
    return AttemptClosed(opened.attempt_id, now_ms, outcome, code, model, counts, cost, basis, source, None, None, None)


def _ended(
    opened: AttemptOpened,
    state: EndState,
    now_ms: int,
    *,
    error: WaypostError | None = None,
    model: str | None = None,
) -> RequestEnded:
    return RequestEnded(
        opened.entry_id,
        opened.request_id,
        opened.request_started_at_ms,
        opened.project_id,
        opened.key_id,
        opened.end_user,
        opened.path,
        opened.route,
        opened.asked_model,
        opened.stream,
        opened.tags,
        opened.provider if state == "answered" else None,
        model,
        state,
        None,
        None if error is None else error.code,
        opened.number,
        None,
        max(0, now_ms - opened.request_started_at_ms),
        None,
    )


def _told(error: WaypostError) -> Mapping[str, Any]:
    return {"code": error.code, "message": error.message, "hint": error.hint}
