"""Calls that are passed through as they are, written down in the ledger's books: what they may cost, and what they did.

Of a call that generates, the request is read as far as its format is known; what it says goes up unread all the same.
The invariant: nothing is reserved too little for what is known, and what cannot be known is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from waypost.catalogue import PriceBook, capabilities_of
from waypost.catalogue.rates import FREE
from waypost.chat import Json, Usage
from waypost.codecs.form_fields import form_field
from waypost.codecs.jsonbytes import JsonError, dump, parse_request
from waypost.codecs.metering import Meter
from waypost.codecs.passing import PASSING, Glance
from waypost.errors import Attempt, PriceUnknown, UnknownPath, UnsupportedFeature
from waypost.gateway.call_record import CallRecord, current_record, note_answer, note_failure, note_served
from waypost.gateway.worst_cost import worst_cost_micro_usd
from waypost.gateway.written_down import BYTES_PER_TOKEN, end_user_of, longest_answer_tokens, longest_tokens
from waypost.ledger.account import Account
from waypost.ledger.books import Books, Called, Entry, Line
from waypost.providers.asked import Asked, Written
from waypost.providers.inquiry import Inquiry
from waypost.providers.provider import Provider
from waypost.providers.raw import RawCall, RawProvider
from waypost.providers.raw_endpoints import COSTLY, Place, place_of

_CONTEXT: Final = ("previous_response_id", "conversation", "prompt", "cachedContent", "cached_content")
"""Members that add to the prompt what the provider keeps."""
_LONGEST_COMPLETIONS: Final = {"openai": 16, "azure_openai": 16}
"""Tokens of a completion where the request does not limit them, by kind. Source: OpenAI's API reference."""
_LONGEST_PATH: Final = 200
NO_BUDGET: Final = (
    "Use a key without a budget for it, or an endpoint that says what it takes; see the guide on budgets."
)

Members = Mapping[str, Json]


@dataclass(slots=True)
class RawQuestion:
    """One call. `place` None: nobody knows what it costs; `asked` and `members` None: its body could not be read."""

    method: str
    path: str
    size_bytes: int
    place: Place | None
    asked: Asked | Inquiry[Any] | None = None
    members: Members | None = None
    model: str | None = None

    @property
    def costs(self) -> bool:
        """May it cost anything?"""
        return self.method in COSTLY and (self.place is None or self.place.endpoint.kind != "free")

    @property
    def tokens(self) -> int:
        """About the tokens that it may come to, for limits on those."""
        if not self.costs:
            return 0
        return self.size_bytes // BYTES_PER_TOKEN + 1 if self.asked is None else longest_tokens(self.asked)

    def meter(self, content_type: str) -> Meter | None:
        """What reads the reply; None: there is nothing in it that would be counted."""
        if self.place is None or not self.costs:
            return None
        choices = self.asked.choices if isinstance(self.asked, Asked) else 1
        return self.place.endpoint.meter(content_type, choices)

    def worst_micro_usd(self, prices: PriceBook, provider: str, kind: str) -> int | None:
        """The most that it can cost; None: not known."""
        if not self.costs or prices.price(provider, kind, self.model or "").rates is FREE:
            return 0
        if self.place is None or self.members is None or self.model is None or self.unknown_why():
            return None
        return _WORST[self.place.endpoint.kind](self, prices, provider, kind)

    def unknown_why(self) -> str:
        """Why nobody knows what it may cost, apart from its price; empty: it is known as far as the request goes."""
        if self.place is None:
            return f"What a call of /{self.path} costs, it does not say."
        if self.place.endpoint.kind == "media":
            return f"How much a call of /{self.path} may come to is not told by its request."
        if self.members is None:
            return "Its body could not be read."
        if self.members.get("background") is True:
            return "An answer that is made in the background does not say what it cost."
        return ""


def read_question(place: Place | None, call: RawCall, size_bytes: int) -> RawQuestion:
    """What is known of the call. The body is read if it is whole, in bytes."""
    question = RawQuestion(call.method, call.path.strip("/")[:_LONGEST_PATH], size_bytes, place)
    if place is None or not isinstance(call.body, bytes) or "content-encoding" in call.headers:
        return question
    content_type = call.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/"):
        question.model = form_field(content_type, call.body, "model")
        return question
    try:
        members = parse_request(call.body)
    except JsonError:
        return question
    if isinstance(members, dict):
        question.members = members
        named = members.get("model")
        question.model = place.model or (named if isinstance(named, str) else None)
        question.asked = _asked(question, place, call.body, members)
    return question


def _asked(question: RawQuestion, place: Place, body: bytes, members: dict[str, Json]) -> Asked | Inquiry[Any] | None:
    endpoint, model = place.endpoint, question.model or ""
    if endpoint.codec is not None:
        codec, stream = endpoint.codec, place.stream or members.get("stream") is True
        choices = PASSING[codec.name].choices(members)
        seen = Glance(members, model, stream, choices=choices if type(choices) is int and choices > 0 else 1)
        # Where the path names the model, the body need not.
        named = (
            body if "model" in members or not PASSING[codec.name].names_model else dump({**members, "model": model})[0]
        )
        written = Written(codec.name, body, seen)
        return Asked(model, written=written, decode=lambda: codec.decode_request(named).request, stream=stream)
    if endpoint.embedding_codec is not None:
        embedding = endpoint.embedding_codec
        return Inquiry(model, embedding.name, body, lambda: embedding.decode_request(body))
    return None


def _worst_conversation(question: RawQuestion, prices: PriceBook, provider: str, kind: str) -> int | None:
    asked, model = question.asked, question.model
    if not isinstance(asked, Asked) or model is None or question.members is None:
        return None
    if not any(question.members.get(name) for name in _CONTEXT):
        return worst_cost_micro_usd(prices, provider, kind, model, asked)
    # How long that is the request does not tell: it may fill all that the model can read.
    window = capabilities_of(kind, model).context_window_tokens
    if window is None:
        return None
    longest = longest_answer_tokens(question.members) or None
    return prices.worst_case_micro_usd(provider, kind, model, window, longest)


def _worst_completion(question: RawQuestion, prices: PriceBook, provider: str, kind: str) -> int | None:
    members = question.members or {}
    prompt, longest = members.get("prompt"), members.get("max_tokens")
    texts = len(prompt) if isinstance(prompt, list) and not all(type(each) is int for each in prompt) else 1
    answers = texts * max(1, *(_count(members, name) for name in ("n", "best_of")))
    tokens = longest if type(longest) is int and longest >= 0 else _LONGEST_COMPLETIONS.get(kind)
    worst = prices.worst_case_micro_usd(provider, kind, question.model or "", question.size_bytes, tokens)
    return None if worst is None else worst * answers


def _worst_embedding(question: RawQuestion, prices: PriceBook, provider: str, kind: str) -> int | None:
    return prices.worst_case_micro_usd(provider, kind, question.model or "", question.size_bytes, 0)


def _count(members: Members, name: str) -> int:
    value = members.get(name)
    return value if type(value) is int and value > 0 else 0


_WORST: Final[Mapping[str, Callable[[RawQuestion, PriceBook, str, str], int | None]]] = {
    "conversation": _worst_conversation,
    "completion": _worst_completion,
    "embedding": _worst_embedding,
}


@dataclass(frozen=True, slots=True)
class RawTold:
    """What is told of a call whose reply is metered; see `call_record.Told`."""

    meter: Meter
    attempts: tuple[Attempt, ...]
    kind: str
    prices: PriceBook

    @property
    def usage(self) -> Usage:
        """Counts so far."""
        return self.meter.usage

    @property
    def incomplete_usage(self) -> frozenset[str]:
        """The counts that are lower bounds: none."""
        return frozenset()


class RawCalls:
    """The providers that can be called as they are, by name, and the books in which such calls are written down."""

    def __init__(
        self, providers: Mapping[str, Provider], kinds: Mapping[str, str], prices: PriceBook, books: Books | None
    ) -> None:
        self._providers = providers
        self._kinds = kinds
        self._prices = prices
        self._books = books

    def provider(self, name: str) -> RawProvider:
        """The provider of that name. Raises UnknownPath, UnsupportedFeature."""
        provider = self._providers.get(name)
        if provider is None:
            raise UnknownPath(
                f'There is no provider named "{name[:200]}" here.', hint=f"There are {', '.join(self._providers)}."
            )
        if not isinstance(provider, RawProvider) or not provider.takes_raw:
            raise UnsupportedFeature(f"{name} answers conversations only.", hint="Ask another provider.")
        return provider

    def place(self, name: str, method: str, path: str) -> Place | None:
        """Where a call to that provider leads; None: nobody knows what it costs."""
        return place_of(self._kinds[name], method, path)

    async def write_down(self, name: str, question: RawQuestion) -> Line | None:
        """A call begins; close the line with what became of it.

        Raises what the books refuse it with; then it must not be sent.
        """
        record, books = current_record(), self._books
        if record is not None:
            record.is_stream = isinstance(question.asked, Asked) and question.asked.stream
        if books is None or record is None or record.account is None:
            return None
        record.books, record.asked_model = books, f"{name}/{question.model or ''}"
        record.entry = _entry(record, record.account, question)
        await books.admit(record.entry, question.tokens)
        try:
            return await books.open(record.entry, self._called(name, question))
        except PriceUnknown as error:
            why = question.unknown_why()
            if not why:
                raise
            raise PriceUnknown(f"{error.message} {why}", hint=NO_BUDGET) from error

    def note_answer(self, name: str, question: RawQuestion, meter: Meter | None, duration_ms: int) -> None:
        """The provider answers, or has begun to."""
        record = current_record()
        lines = 0 if record is None or record.entry is None else record.entry.lines
        attempts = (Attempt(name, question.model, None, duration_ms, line=lines),)
        if meter is None:
            note_answer(name, question.model or "", attempts)
        else:
            told = RawTold(meter, attempts, self._kinds[name], self._prices)
            note_served(told, name, question.model or "", ())

    def _called(self, name: str, question: RawQuestion) -> Called:
        kind, prices = self._kinds[name], self._prices
        return Called(
            name,
            kind,
            question.model,
            prices,
            question.size_bytes // BYTES_PER_TOKEN + 1,
            lambda: question.worst_micro_usd(prices, name, kind),
            question.costs,
            question.place is not None and question.place.endpoint.is_estimable and not question.unknown_why(),
        )


def _entry(record: CallRecord, account: Account, question: RawQuestion) -> Entry:
    asked = question.asked
    return Entry(
        account,
        record.request_id,
        record.path,
        round(record.started_at * 1000),
        tags=record.tags,
        end_user=None if asked is None else end_user_of(asked),
        asked_model=record.asked_model or "",
        stream=isinstance(asked, Asked) and asked.stream,
    )


def note_end(meter: Meter) -> None:
    """The reply has come, and tells which model it is of and whether something went wrong within it."""
    record = current_record()
    if record is not None and meter.model:
        record.model = meter.model
    if meter.error is not None:
        note_failure(meter.error)
