"""Writes calls down in the ledger's books before they are made. What became of them, a schedule's trail tells.

Only what happens within a request that the server has accepted is written down: its record holds the entry. The
invariant: no call leaves before its line is in the journal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final

from waypost.catalogue import PriceBook
from waypost.chat import Json
from waypost.codecs.jsonbytes import dump
from waypost.gateway.call_record import CallRecord, current_record
from waypost.gateway.candidate import Candidate
from waypost.gateway.schedule import Schedule
from waypost.gateway.worst_cost import worst_cost_micro_usd
from waypost.ledger.books import Books, Called, Entry, Line
from waypost.providers.answers import AnswerStream, StreamOpening, tells_end
from waypost.providers.asked import Asked
from waypost.providers.inquiry import Inquiry
from waypost.providers.provider import Provider

BYTES_PER_TOKEN: Final = 4
"""Of a body, about: used where nothing depends on the figure but an estimate that is marked as one."""
LONGEST_USER: Final = 200
_USERS: Final = ("safety_identifier", "user")
_LONGEST_ANSWERS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def begin_entry(books: Books, record: CallRecord, asked: Asked | Inquiry[Any], *, keeps_bodies: bool) -> Entry | None:
    """The request's entry, from now on in its record. None: nobody's request, as in a program that uses the library.

    `keeps_bodies`: does the route want what is asked and answered kept? The project may want it too.
    """
    if record.entry is None and record.account is not None:
        record.books = books
        record.entry = Entry(
            record.account,
            record.request_id,
            record.path,
            round(record.started_at * 1000),
            tags=record.tags,
            end_user=end_user_of(asked),
            asked_model=asked.model,
            stream=isinstance(asked, Asked) and asked.stream,
        )
        if keeps_bodies or record.account.store_bodies:
            record.entry.request_body = _body(asked)
    return record.entry


async def write_down(
    schedule: Schedule[Provider],
    candidate: Candidate[Provider],
    kind: str,
    asked: Asked | Inquiry[Any],
    prices: PriceBook,
    *,
    costs: bool = True,
) -> Line | None:
    """A call of this candidate begins. Raises what the books refuse it with; then it must not be sent."""
    record = current_record()
    if record is None or record.entry is None or record.books is None:
        return None
    record.entry.route = record.route
    called = Called(
        candidate.name,
        kind,
        candidate.model,
        prices,
        asked.size_bytes // BYTES_PER_TOKEN + 1,
        lambda: _worst_micro_usd(prices, candidate, kind, asked) if costs else 0,
        costs,
    )
    line = await record.books.open(record.entry, called)
    schedule.write_down(candidate, line)
    return line


def _worst_micro_usd(
    prices: PriceBook, candidate: Candidate[Provider], kind: str, asked: Asked | Inquiry[Any]
) -> int | None:
    """The most that the call can cost; None if that is not known."""
    if isinstance(asked, Inquiry):
        return prices.worst_case_micro_usd(candidate.name, kind, candidate.model or "", asked.size_bytes, 0)
    return worst_cost_micro_usd(prices, candidate.name, kind, candidate.model, asked)


class WrittenStream:
    """A stream's block: its call is written down before it is made, and its end before anybody sees it."""

    __slots__ = ("_block", "_on_end", "_opening", "_write_down")

    def __init__(
        self,
        write_down: Callable[[], Awaitable[Line | None]],
        opening: Callable[[], StreamOpening],
        on_end: Callable[[], None],
    ) -> None:
        self._write_down = write_down
        self._opening = opening
        self._on_end = on_end
        self._block: StreamOpening | None = None

    async def __aenter__(self) -> AnswerStream:
        line = await self._write_down()
        self._block = self._opening()
        stream = await self._block.__aenter__()
        if line is not None:
            line.source = stream
            # Others than those over HTTP tell no end; it is written down when they are over.
            if tells_end(stream):
                stream.on_end = self._on_end
        return stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._block is not None:
            await self._block.__aexit__(kind, error, traceback)


def longest_tokens(asked: Asked | Inquiry[Any]) -> int:
    """About the tokens that a request may come to: its prompt, and the longest answer it asks for."""
    prompt = asked.size_bytes // BYTES_PER_TOKEN + 1
    if isinstance(asked, Inquiry):
        return prompt
    if asked.written is None:
        return prompt + (asked.request.sampling.max_tokens or 0)
    return prompt + longest_answer_tokens(asked.written.seen.members)


def longest_answer_tokens(members: Mapping[str, Json]) -> int:
    """The longest answer that a request asks for, in whatever format; 0: it does not say."""
    settings = members.get("generationConfig")
    nested = settings.get("maxOutputTokens") if isinstance(settings, dict) else None
    return max(_count(value) for value in (nested, *(members.get(name) for name in _LONGEST_ANSWERS)))


def _body(asked: Asked | Inquiry[Any]) -> bytes:
    """As the caller wrote it, or the words of a request that was never written so."""
    if isinstance(asked, Inquiry):
        return asked.body
    if asked.written is not None:
        return asked.written.body
    messages = [{"role": message.role, "content": message.text} for message in asked.request.messages]
    return dump({"model": asked.model, "messages": messages})[0]


def _count(value: Json) -> int:
    return value if type(value) is int and value > 0 else 0


def end_user_of(asked: Asked | Inquiry[Any]) -> str | None:
    """Whom the caller asks for, as he names him."""
    if isinstance(asked, Inquiry):
        return None
    if asked.written is None:
        user: Json = asked.request.end_user_id
    else:
        members = asked.written.seen.members
        metadata = members.get("metadata")
        nested = metadata.get("user_id") if isinstance(metadata, dict) else None
        user = members.get(_USERS[0]) or members.get(_USERS[1]) or nested
    return user[:LONGEST_USER] if isinstance(user, str) and user else None
