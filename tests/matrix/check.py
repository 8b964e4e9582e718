"""Holds what came of a cell against what its row says. Gives sentences, so that a run shows all that is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from tests.matrix.doors import ERRORS, OPENAI_ERRORS
from tests.matrix.house import House, Result
from tests.matrix.report import REPORT
from tests.matrix.rows import TEXT, Cell, Row

SLACK_S = 4.0
"""How much longer than it must a thing may take on a machine that is busy with many cells at once."""


async def check_row(house: House, row: Row) -> None:
    """Run the row's cells side by side and fail with all that is wrong."""
    cells = list(row.cells())
    results = await asyncio.gather(*(house.run(cell) for cell in cells))
    for cell, result in zip(cells, results, strict=True):
        REPORT.add(cell, result)
    told = [f"{cell.name}: {what}" for cell, result in zip(cells, results, strict=True) for what in wrong(cell, result)]
    assert not told, "\n".join(told)


def wrong(cell: Cell, result: Result) -> Iterator[str]:
    """Everything that is not as expected."""
    yield from _what_the_caller_got(cell, result)
    yield from _what_the_providers_saw(cell, result)
    yield from _what_the_record_says(cell, result)
    yield from _what_explain_says(cell, result)
    at_least_s = cell.expected.at_least_s
    if not at_least_s <= result.took_s <= at_least_s + SLACK_S:
        yield f"took {result.took_s:.2f} s, and {at_least_s} s were due"


def _what_the_caller_got(cell: Cell, result: Result) -> Iterator[str]:
    heard, expected = result.heard, cell.expected
    yield from heard.problems
    if any(key.encode() in result.body for which in cell.targets for key in cell.keys(which)):
        yield "a provider's key is in the reply"
    if (told_s := result.headers.get("retry-after")) != expected.retry_after:
        yield f"was told to wait {told_s} s, and {expected.retry_after} were due"
    if heard.filtered is not expected.filtered:
        yield f"got {heard}, and it was {'' if expected.filtered else 'not '}to say that it was filtered"
    if heard.finished and heard.text != TEXT and not expected.filtered:
        yield f"an answer that looks finished and is not: {heard.text!r}"
    if not expected.told:
        finished = heard.finished or expected.filtered
        if (result.status, heard.text, finished, heard.told) != (200, expected.said, True, ""):
            yield f"got {result.status} {heard}, and {expected.said!r} was due"
        return
    status, name = ERRORS[cell.door.name][expected.told]
    if (result.status, heard.told) != (200 if expected.began else status, name):
        yield f"got {result.status} {heard}, and {name} ({status}) was due"
    if expected.began and (not heard.text or not TEXT.startswith(heard.text)):
        yield f"the text before the error is {heard.text!r}"


def _what_the_providers_saw(cell: Cell, result: Result) -> Iterator[str]:
    due = [call.split()[0] for call in cell.expected.calls]
    seen = [which for which, _ in result.calls]
    if seen != due:
        yield f"the providers saw {seen}, and {due} were due"
    for place, (wait_s, due_s) in enumerate(zip(result.waits_s, cell.expected.waits_s, strict=False), 1):
        if not due_s <= wait_s + 0.002 <= due_s + SLACK_S:
            yield f"{wait_s:.3f} s after call {place} came the next, and {due_s} s were due"
    for which, each in result.calls:
        if each.streamed is not None and each.streamed != cell.stream:
            yield f"{which} was asked for another form of answer"
    if (due_last := cell.expected.last_asked_with) and (last := _last_role(result)) != due_last:
        yield f"the last call's conversation ends with the {last}'s words"


def _what_the_record_says(cell: Cell, result: Result) -> Iterator[str]:
    expected, record = cell.expected, result.record
    calls = [tuple(call.split()) for call in expected.calls]
    failures = [call for call in calls if call[1] in OPENAI_ERRORS]
    told = [(provider.rpartition(".")[2], code) for provider, code in result.failures]
    if told != failures:
        yield f"the log tells of the failures {told}, and {failures} were due"
    outcome = ("failed", expected.told) if expected.told else ("completed", None)
    if (record["outcome"], record.get("error_code")) != outcome or record["status"] != result.status:
        yield f"the access log says {record}, and {outcome} was due"
    if record.get("attempts") != len(calls):
        yield f"the access log counts {record.get('attempts')} attempts, and {len(calls)} were due"
    due = len(calls) if expected.header_attempts is None else expected.header_attempts
    if result.headers.get("x-waypost-attempts") != str(due):
        yield f"the header counts {result.headers.get('x-waypost-attempts')} attempts, and {due} were due"
    if not expected.told and result.headers.get("x-waypost-provider") != f"{cell.name}.{_teller(cell)}":
        yield f"the header says that {result.headers.get('x-waypost-provider')} answered"


def _what_explain_says(cell: Cell, result: Result) -> Iterator[str]:
    expected, story = cell.expected, result.story
    due = [tuple(call.split()) for call in expected.calls]
    told = [
        (each["provider"].rpartition(".")[2], each["error_code"] or each["reason_next"]) for each in story["attempts"]
    ]
    if told != due:
        yield f"explain tells of the calls {told}, and {due} were due"
    outcome = "failed" if expected.told else "answered"
    if (story["outcome"], story["status"], story["route"]) != (outcome, result.status, cell.name):
        yield f"explain says {story['outcome']} {story['status']} by {story['route']}, and {outcome} was due"
    broke = expected.began or expected.header_attempts is not None
    if ("output_tokens" in story["incomplete_usage"]) is not (broke and cell.stream):
        yield f"explain says that these counts are lower bounds: {story['incomplete_usage']}"
    # The beginning, a sentence for each call, the end, and what it cost.
    if len(story["explanation"]) < 3 + len(due):
        yield f"explain says no more than {story['explanation']}"


def _last_role(result: Result) -> Any:
    body: Any = result.calls[-1][1].body
    return body["messages"][-1]["role"]


def _teller(cell: Cell) -> str:
    """Who answered; of a recovered stream, who began."""
    return cell.expected.calls[(cell.expected.header_attempts or 0) - 1].split()[0]
