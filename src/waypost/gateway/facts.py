"""The facts of a request for those who observe, made of its record when all of it is over.

Who tells says how the request ended for its caller; what was under way then is waited for, such as a stream that goes
on without its caller. The invariant: a request is told once, or never if nobody observes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from waypost.chat import Usage
from waypost.errors import AllTargetsFailed, Attempt, RequestError, ServerBusy, TargetPaused
from waypost.gateway.call_record import CallRecord, Told
from waypost.gateway.story import Outcome, error_code
from waypost.ledger.billing import was_served
from waypost.ledger.books import Line
from waypost.ledger.records import Counts
from waypost.telemetry.facts import AttemptFacts, AttemptOutcome, Door, RequestFacts, RequestOutcome, Tokens
from waypost.telemetry.observers import Observer

LONGEST_NAME = 200
LONGEST_PATH = 500
NONE_COUNTED = Tokens()


@dataclass(slots=True)
class Over:
    """How a request ended for its caller. `status` None: no reply was begun."""

    door: Door
    method: str
    outcome: Outcome
    status: int | None
    duration_s: float
    job_id: str = ""


def tell_when_over(record: CallRecord, over: Over, observer: Observer) -> None:
    """The reply is over: tell the request's facts, now or as soon as nothing of it goes on any more."""
    record.over = over
    record.tell = lambda: observer.request_ended(request_facts(record, over))
    _tell_if_over(record)


def go_on(record: CallRecord) -> None:
    """Something of the request goes on without its caller, until `go_on_no_more`."""
    record.goes_on += 1


def go_on_no_more(record: CallRecord, outcome: Outcome | None, duration_s: float) -> None:
    """It is over, and ended so; None: the reply says how."""
    record.goes_on -= 1
    if outcome is not None and record.over is not None:
        record.over.outcome, record.over.duration_s = outcome, duration_s
    _tell_if_over(record)


def _tell_if_over(record: CallRecord) -> None:
    entry = record.entry
    if record.tell is None or record.goes_on:
        return
    if entry is not None and entry.open_lines:
        entry.on_closed = partial(_tell_if_over, record)
        return
    tell, record.tell = record.tell, None
    tell()


def request_facts(record: CallRecord, over: Over) -> RequestFacts:
    """All that is known of it."""
    attempts = attempt_facts(record, over)
    account, entry, error = record.account, record.entry, record.error
    return RequestFacts(
        request_id=record.request_id,
        door=over.door,
        method=over.method,
        path=record.path[:LONGEST_PATH],
        started_at_ms=round(record.started_at * 1000),
        duration_s=over.duration_s,
        outcome=_outcome(record, over, attempts),
        status=over.status,
        error_code="" if error is None else error_code(_common(error)),
        route=record.route or "",
        asked_model=(record.asked_model or "")[:LONGEST_NAME],
        provider=record.provider or "",
        model=(record.model or "")[:LONGEST_NAME],
        is_stream=record.is_stream,
        first_token_ms=_first_token_ms(attempts, round(record.started_at * 1000)),
        attempts=attempts,
        cache=record.cache or ("replay" if record.replayed else ""),
        project_id="" if account is None else account.project_id,
        key_id="" if account is None else account.key_id,
        end_user="" if entry is None or entry.end_user is None else entry.end_user,
        job_id=over.job_id,
        trace_id=record.trace_id,
    )


def _first_token_ms(attempts: Iterable[AttemptFacts], started_at_ms: int) -> int | None:
    """Of the first call that gave one to the caller; whatever became of it then."""
    for each in attempts:
        if each.first_token_ms is not None and each.outcome != "lost":
            return max(0, each.started_at_ms - started_at_ms) + each.first_token_ms
    return None


def _outcome(record: CallRecord, over: Over, attempts: Iterable[AttemptFacts]) -> RequestOutcome:
    if over.outcome != "failed" or any(each.is_sent for each in attempts):
        return over.outcome
    if record.error is None:
        return "refused" if over.status is not None and over.status < 500 else "failed"
    return "refused" if isinstance(_common(record.error), RequestError | ServerBusy) else "failed"


def _common(error: Exception) -> Exception:
    return error.common or error if isinstance(error, AllTargetsFailed) else error


def attempt_facts(record: CallRecord, over: Over) -> tuple[AttemptFacts, ...]:
    """Each call: by the ledger's lines, and what was never written down by what is known of it otherwise."""
    lines = () if record.entry is None else record.entry.written
    if not lines:
        return tuple([_by_itself(each, record, over) for each in record.attempts])
    # A stream that came all at once has ended before its first token was handed out, and the line does not know that.
    first_tokens = {each.line: each.first_token_ms for each in record.attempts if each.line}
    written = [_by_line(line, first_tokens.get(line.number)) for line in lines]
    # Such as a target that a breaker ruled out.
    others = [_by_itself(each, record, over) for each in record.attempts if not each.line]
    if not others:
        return tuple(written)
    return tuple(sorted([*written, *others], key=lambda facts: facts.started_at_ms))


def _is_sent(error: Exception | None) -> bool:
    return not isinstance(error, TargetPaused | RequestError | ServerBusy)


def _by_line(line: Line, first_token_ms: int | None) -> AttemptFacts:
    called, closed = line.called, line.closed
    if closed is None:
        raise TypeError("a call is told before its end is written down")
    return AttemptFacts(
        called.provider,
        called.kind,
        (called.model or "")[:LONGEST_NAME],
        line.number,
        line.opened_at_ms,
        closed.ended_at_ms - line.opened_at_ms,
        "failed" if closed.outcome == "unknown" else closed.outcome,
        error_code=closed.error_code or "",
        first_token_ms=first_token_ms if closed.first_token_ms is None else closed.first_token_ms,
        response_model=(closed.model or "")[:LONGEST_NAME],
        tokens=_counted(closed.counts),
        cost_micro_usd=closed.cost_micro_usd,
        cost_is_estimate=closed.cost_basis == "estimated",
        way=closed.way or "",
    )


def _by_itself(attempt: Attempt, record: CallRecord, over: Over) -> AttemptFacts:
    started_ms, told = round(record.started_at * 1000) + attempt.started_ms, record.told
    outcome = _attempt_outcome(attempt)
    is_answer = told is not None and outcome == "answered" and attempt.provider == record.provider
    duration_ms = round(over.duration_s * 1000) - attempt.started_ms if is_answer else attempt.duration_ms
    return AttemptFacts(
        attempt.provider,
        told.kind if told is not None and is_answer else "",
        (attempt.model or "")[:LONGEST_NAME],
        0,
        started_ms,
        max(duration_ms, attempt.duration_ms),
        outcome,
        is_sent=_is_sent(attempt.error),
        error_code="" if attempt.error is None else error_code(attempt.error),
        first_token_ms=attempt.first_token_ms,
        response_model=(record.model or "")[:LONGEST_NAME] if is_answer else "",
        tokens=_reported(told.usage) if told is not None and is_answer else NONE_COUNTED,
        cost_micro_usd=_cost_micro_usd(told, attempt, record) if told is not None and is_answer else _unserved(attempt),
        cost_is_estimate=bool(told is not None and is_answer and told.incomplete_usage),
        way=attempt.way or "",
    )


def _attempt_outcome(attempt: Attempt) -> AttemptOutcome:
    if attempt.error is not None:
        return "failed"
    if attempt.next == "caller_left":
        return "caller_left"
    return "lost" if attempt.next in ("lost", "hedge") else "answered"


def _cost_micro_usd(told: Told, attempt: Attempt, record: CallRecord) -> int | None:
    return told.prices.cost_micro_usd(
        attempt.provider, told.kind, record.model or "", told.usage, record.started_at, asked=attempt.model
    )


def _unserved(attempt: Attempt) -> int | None:
    """What was never served is free."""
    return None if attempt.error is None or was_served(attempt.error) else 0


def _counted(counts: Counts) -> Tokens:
    return Tokens(
        counts.input_tokens,
        counts.input_cache_read_tokens,
        _sum(counts.input_cache_write_5m_tokens, counts.input_cache_write_1h_tokens),
        counts.output_tokens,
        counts.output_reasoning_tokens,
    )


def _reported(usage: Usage) -> Tokens:
    return Tokens(
        usage.input_tokens,
        usage.input_cache_read_tokens,
        _sum(usage.input_cache_write_5m_tokens, usage.input_cache_write_1h_tokens),
        usage.output_tokens,
        usage.output_reasoning_tokens,
    )


def _sum(one: int | None, other: int | None) -> int | None:
    if one is None:
        return other
    return one if other is None else one + other
