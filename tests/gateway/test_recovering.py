"""gateway/recovering.py through `Gateway.stream`: what a caller gets, whom it is asked of, and what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from waypost.chat import (
    Event,
    Finish,
    FunctionTool,
    Message,
    PartDelta,
    PartEnd,
    PartStart,
    Request,
    ResponseStart,
    Text,
    Usage,
    UsageUpdate,
    collect,
    is_token,
)
from waypost.errors import (
    Attempt,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderError,
    ProviderOverloaded,
    ProviderTimeout,
    RecoveryDiverged,
)
from waypost.gateway.call_record import RequestEnd, begin_record, end_record, note_failure
from waypost.gateway.gateway import Gateway
from waypost.gateway.policy import Policy
from waypost.gateway.recovery import CONTINUE
from waypost.gateway.served import ServedStream
from waypost.providers.answers import Answer, Batch
from waypost.providers.asked import Asked
from waypost.providers.provider import ProviderState
from waypost.settings.references import Target

SENT, REST = "Once upon a time, there was ", "a fox who sat down."
WHOLE = SENT + REST
LOST = ProviderConnectionLost("gone")
KINDS = {"gpt": "openai", "gpt2": "openai", "claude": "anthropic", "local": "llama_cpp"}
MODELS = {"gpt": "m", "gpt2": "m", "claude": "claude-haiku-4-5", "local": "small"}
"""Of these, only Anthropic's is known to take prefill."""


@dataclass
class Play:
    """One call: the text, in pieces, and then an error, silence or a good end. `refusal` comes before anything."""

    text: str = WHOLE
    error: Exception | None = None
    refusal: Exception | None = None
    is_silent: bool = False

    async def batches(self, name: str, raw: bool) -> AsyncIterator[Batch]:
        if self.refusal is not None:
            raise self.refusal
        written: dict[bytes, list[Event]] = {}

        def decode(given: bytes) -> list[Event]:
            """Of one batch or several, as a provider's stream does."""
            return [event for line in given.splitlines() for event in written[line]]

        for events in self._events(name):
            token = any(map(is_token, events))
            if raw:
                line = b"data: " + repr(events).encode()
                written[line] = events
                yield Batch(raw=line + b"\n", token=token, decode=decode)
            else:
                yield Batch(events=events, token=token)
        if self.is_silent:
            await asyncio.Event().wait()

    def _events(self, name: str) -> list[list[Event]]:
        pieces = [self.text[at : at + 5] for at in range(0, len(self.text), 5)]
        begun: list[Event] = [ResponseStart(f"id-{name}", f"model-{name}"), PartStart(0, Text(""))]
        counted: list[Event] = [UsageUpdate(Usage(input_tokens=10, output_tokens=len(pieces)))]
        said: list[list[Event]] = [[PartDelta(0, piece)] for piece in pieces]
        if self.error is None and not self.is_silent:
            return [begun, *said, [PartEnd(0), *counted, Finish("stop")]]
        return [begun, *said]


@dataclass
class Stream:
    """Implements `AnswerStream`."""

    name: str
    play: Play
    raw: bool
    notes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    key_label: str | None = None

    @property
    def usage(self) -> Usage:
        return Usage(input_tokens=10, output_tokens=3)

    @property
    def model(self) -> str:
        return f"model-{self.name}"

    async def __aiter__(self) -> AsyncIterator[Batch]:
        async for batch in self.play.batches(self.name, self.raw):
            yield batch
        if self.play.error is not None:
            raise self.play.error


class Scripted:
    """Implements `Provider`: plays its plays, one a call, and the last one ever after."""

    models: tuple[str, ...] | None = None
    slow_start = False

    def __init__(self, name: str, *plays: Play, raw: bool = False) -> None:
        self.name = name
        self.default_model: str | None = MODELS[name]
        self.asked: list[Asked] = []
        self.open = 0
        self._plays = plays
        self._raw = raw

    async def generate(self, asked: Asked, model: str = "") -> Answer:
        raise ProviderBadRequest("these tests only stream")

    @asynccontextmanager
    async def stream(self, asked: Asked, model: str = "") -> AsyncIterator[Stream]:
        self.asked.append(asked)
        play = self._plays[min(len(self.asked), len(self._plays)) - 1]
        self.open += 1
        try:
            yield Stream(self.name, play, self._raw)
        finally:
            self.open -= 1

    def serves(self, model: str) -> bool | None:
        return None

    def state(self) -> ProviderState:
        return ProviderState("ready")

    async def close(self) -> None:
        """Nothing is open."""


BROKEN = Play(SENT, LOST)
FORMS = pytest.mark.parametrize("raw", [False, True])


def gateway(*providers: Scripted, **policy: Any) -> Gateway:
    """A route "r" over these, in this order."""
    targets = tuple(Target(provider.name, MODELS[provider.name]) for provider in providers)
    named = {provider.name: provider for provider in providers}
    made = Policy(**{"max_retries": 0, **policy})
    return Gateway(named, {name: KINDS[name] for name in named}, {"r": targets}, {"r": made})


def asking(**more: Any) -> Asked:
    request = Request("r", (Message("user", (Text("A story, please."),)),), **more)
    return Asked.of(request, stream=True)


@dataclass
class Told:
    """What the caller got, and what is known afterwards."""

    events: list[Event] = field(default_factory=list)
    error: Exception | None = None
    served: ServedStream | None = None
    failures: tuple[Attempt, ...] = ()
    story: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, PartDelta))


async def told_by(made: Gateway, asked: Asked | None = None) -> Told:
    told = Told()
    record, token = begin_record()
    try:
        async with made.stream(asked or asking()) as served:
            told.served = served
            async for batch in served:
                told.events += batch.events
    except ProviderError as error:
        told.error = error
        note_failure(error)
    finally:
        end_record(token)
    story = record.settled(RequestEnd("id", "failed" if told.error else "answered", 200, 1))()
    told.failures = record.failures()
    told.story = [(each.provider, each.reason_next, each.error_code, each.way) for each in story.attempts]
    return told


CUT = "provider_connection_lost"


@FORMS
async def test_a_target_that_takes_prefill_goes_on_from_the_text(raw: bool) -> None:
    gpt, claude = Scripted("gpt", BROKEN, raw=raw), Scripted("claude", Play(REST), raw=raw)
    told = await told_by(gateway(gpt, claude))
    assert (told.text, told.error) == (WHOLE, None)
    assert told.story == [("gpt", "recovery", CUT, None), ("claude", "answered", None, "prefill")]
    assert [each.provider for each in told.failures] == ["gpt"]
    assert claude.asked[0].request.messages[-1] == Message("assistant", (Text(SENT.rstrip()),))
    assert (gpt.open, claude.open) == (0, 0)


@FORMS
async def test_what_was_begun_keeps_its_id_and_model_and_ends_once(raw: bool) -> None:
    told = await told_by(gateway(Scripted("gpt", BROKEN, raw=raw), Scripted("gpt2", Play(), raw=raw)))
    response = collect(told.events)
    assert (response.id, response.model, response.text) == ("id-gpt", "model-gpt", WHOLE)
    assert told.served is not None
    assert (told.served.model, told.served.provider) == ("model-gpt", "gpt")
    assert "output_tokens" in told.served.incomplete_usage
    assert told.served.cost_micro_usd is None


@FORMS
async def test_a_target_that_begins_again_is_asked_in_the_callers_own_words(raw: bool) -> None:
    gpt2 = Scripted("gpt2", Play(), raw=raw)
    asked = asking()
    told = await told_by(gateway(Scripted("gpt", BROKEN, raw=raw), gpt2), asked)
    assert (told.text, told.error) == (WHOLE, None)
    assert gpt2.asked == [asked]
    assert told.story[1] == ("gpt2", "answered", None, "restart")


@FORMS
async def test_the_only_target_is_asked_again_itself(raw: bool) -> None:
    gpt = Scripted("gpt", BROKEN, Play(), raw=raw)
    told = await told_by(gateway(gpt))
    assert (told.text, told.error) == (WHOLE, None)
    assert told.story == [("gpt", "recovery", CUT, None), ("gpt", "answered", None, "restart")]


async def test_a_users_turn_asks_for_the_rest_only_where_the_route_allows_it() -> None:
    gpt2 = Scripted("gpt2", Play(REST))
    told = await told_by(gateway(Scripted("gpt", BROKEN), gpt2, recover_through_user_turn=True))
    assert (told.text, told.error) == (WHOLE, None)
    assert told.story[1] == ("gpt2", "answered", None, "user_turn")
    assert gpt2.asked[0].request.messages[-1] == Message("user", (Text(CONTINUE),))


@FORMS
async def test_an_answer_that_differs_is_told_as_what_it_is_with_both_calls(raw: bool) -> None:
    """Nothing of the second answer reaches the caller."""
    other = Play("Once upon a time, there lived a bear.")
    told = await told_by(gateway(Scripted("gpt", BROKEN, raw=raw), Scripted("gpt2", other, raw=raw), max_attempts=2))
    assert (told.text, type(told.error)) == (SENT, RecoveryDiverged)
    assert told.story == [("gpt", "recovery", CUT, None), ("gpt2", "end", "recovery_diverged", "restart")]
    assert [(each.provider, type(each.error)) for each in told.failures] == [
        ("gpt", ProviderConnectionLost),
        ("gpt2", RecoveryDiverged),
    ]


async def test_after_a_divergence_another_may_still_reproduce_what_was_sent() -> None:
    gpt = Scripted("gpt", BROKEN, Play())
    told = await told_by(gateway(gpt, Scripted("gpt2", Play("Something else entirely, sorry."))))
    assert (told.text, told.error) == (WHOLE, None)
    assert [(each[0], each[1]) for each in told.story] == [
        ("gpt", "recovery"),
        ("gpt2", "recovery"),
        ("gpt", "answered"),
    ]


@FORMS
async def test_a_second_break_is_gone_on_with_too(raw: bool) -> None:
    """What the second target gave of the rest counts as sent."""
    gpt2 = Scripted("gpt2", Play(SENT + "a fox ", LOST), raw=raw)
    claude = Scripted("claude", Play(REST.removeprefix("a fox ")), raw=raw)
    told = await told_by(gateway(Scripted("gpt", BROKEN, raw=raw), gpt2, claude))
    assert (told.text, told.error) == (WHOLE, None)
    assert [(each[0], each[1]) for each in told.story] == [
        ("gpt", "recovery"),
        ("gpt2", "recovery"),
        ("claude", "answered"),
    ]
    assert claude.asked[0].request.messages[-1] == Message("assistant", (Text(SENT + "a fox"),))


async def test_who_had_failed_before_the_stream_began_is_asked_after_those_who_had_not() -> None:
    down = Scripted("gpt2", Play(refusal=ProviderOverloaded("busy")))
    claude = Scripted("claude", Play(REST))
    told = await told_by(gateway(down, Scripted("gpt", BROKEN), claude, max_attempts=3))
    assert (told.text, told.error) == (WHOLE, None)
    assert len(down.asked) == 1


async def test_the_budget_of_attempts_ends_it_with_the_last_break() -> None:
    gpt, gpt2 = Scripted("gpt", BROKEN), Scripted("gpt2", BROKEN)
    told = await told_by(gateway(gpt, gpt2, max_attempts=3))
    assert (told.text, type(told.error)) == (SENT, ProviderConnectionLost)
    assert len(gpt.asked) + len(gpt2.asked) == 3
    assert [each[1] for each in told.story] == ["recovery", "recovery", "end"]
    assert told.error is not None
    assert len(told.error.attempts) == 3  # type: ignore[attr-defined]


async def test_the_total_deadline_holds_for_all_of_it() -> None:
    silent = Play(SENT, is_silent=True)
    gpt2 = Scripted("gpt2", Play())
    told = await told_by(gateway(Scripted("gpt", silent), gpt2, total_s=0.1))
    assert isinstance(told.error, ProviderTimeout)
    assert (told.error.phase, told.text, gpt2.asked) == ("total", SENT, [])
    assert told.story == [("gpt", "end", "provider_timeout", None)]


async def test_the_total_deadline_also_ends_the_stream_that_went_on() -> None:
    told = await told_by(gateway(Scripted("gpt", BROKEN), Scripted("gpt2", Play(SENT, is_silent=True)), total_s=0.2))
    assert isinstance(told.error, ProviderTimeout)
    assert [(each[0], each[2]) for each in told.story] == [("gpt", CUT), ("gpt2", "provider_timeout")]


@FORMS
async def test_more_than_is_kept_is_not_gone_on_with(raw: bool) -> None:
    gpt2 = Scripted("gpt2", Play(), raw=raw)
    told = await told_by(gateway(Scripted("gpt", BROKEN, raw=raw), gpt2, recover_buffer_bytes=100))
    assert (told.text, type(told.error), gpt2.asked) == (SENT, ProviderConnectionLost, [])
    assert told.story == [("gpt", "end", CUT, None)]


async def test_a_route_that_does_not_recover_asks_nobody() -> None:
    gpt2 = Scripted("gpt2", Play())
    told = await told_by(gateway(Scripted("gpt", BROKEN), gpt2, recover=False))
    assert (told.text, type(told.error), gpt2.asked) == (SENT, ProviderConnectionLost, [])


async def test_an_answer_that_may_call_tools_is_not_gone_on_with() -> None:
    gpt2 = Scripted("gpt2", Play())
    told = await told_by(gateway(Scripted("gpt", BROKEN), gpt2), asking(tools=(FunctionTool("f"),)))
    assert (told.text, type(told.error), gpt2.asked) == (SENT, ProviderConnectionLost, [])


async def test_a_local_model_never_goes_on_with_another_models_text() -> None:
    local = Scripted("local", Play())
    told = await told_by(gateway(Scripted("gpt", BROKEN), local, max_attempts=2))
    assert local.asked == []
    assert [each[0] for each in told.story] == ["gpt", "gpt"]


async def test_a_local_model_begins_its_own_answer_again() -> None:
    told = await told_by(gateway(Scripted("local", BROKEN, Play())))
    assert (told.text, told.error) == (WHOLE, None)


async def test_a_continuation_that_is_refused_is_told_and_the_next_target_is_asked() -> None:
    """The refused words are ours: that they are refused is no fault of the caller's request."""
    claude = Scripted("claude", Play(refusal=ProviderBadRequest("no prefill here", status=400)))
    told = await told_by(gateway(Scripted("gpt", BROKEN), claude, Scripted("gpt2", Play())))
    assert (told.text, told.error) == (WHOLE, None)
    assert told.story == [
        ("gpt", "recovery", CUT, None),
        ("claude", "next_target", "provider_bad_request", "prefill"),
        ("gpt2", "answered", None, "restart"),
    ]


async def test_who_refused_or_answered_otherwise_is_not_asked_again() -> None:
    """Only what broke for no reason of its own is: what the others say would be the same, and be paid for again."""
    claude = Scripted("claude", Play(refusal=ProviderBadRequest("no prefill here", status=400)))
    gpt, gpt2 = Scripted("gpt", BROKEN), Scripted("gpt2", Play("Something else entirely, sorry."))
    told = await told_by(gateway(gpt, claude, gpt2, max_attempts=5))
    assert (told.text, type(told.error)) == (SENT, ProviderConnectionLost)
    assert [each[0] for each in told.story] == ["gpt", "claude", "gpt2", "gpt", "gpt"]


async def test_when_nobody_goes_on_the_break_is_told_with_every_call() -> None:
    claude = Scripted("claude", Play(refusal=ProviderBadRequest("no prefill here", status=400)))
    gpt = Scripted("gpt", BROKEN, Play(refusal=ProviderOverloaded("busy")))
    told = await told_by(gateway(gpt, claude))
    assert (told.text, told.error) == (SENT, LOST)
    assert told.story == [
        ("gpt", "recovery", CUT, None),
        ("claude", "next_target", "provider_bad_request", "prefill"),
        ("gpt", "end", "provider_overloaded", "restart"),
    ]
    assert [each.provider for each in told.failures] == ["gpt", "claude", "gpt"]


async def test_a_refusal_in_the_middle_is_no_break() -> None:
    gpt2 = Scripted("gpt2", Play())
    told = await told_by(gateway(Scripted("gpt", Play(SENT, ProviderBadRequest("enough"))), gpt2))
    assert (type(told.error), gpt2.asked) == (ProviderBadRequest, [])


async def test_a_caller_who_leaves_a_stream_that_went_on_ends_it() -> None:
    gpt, gpt2 = Scripted("gpt", BROKEN), Scripted("gpt2", Play())
    made = gateway(gpt, gpt2)
    async with made.stream(asking()) as served:
        text = ""
        async for batch in served:
            text += "".join(event.text for event in batch.events if isinstance(event, PartDelta))
            if len(text) > len(SENT):
                break
        assert gpt2.open == 1
    assert (gpt.open, gpt2.open) == (0, 0)
    assert [(each.provider, each.next) for each in served.attempts] == [("gpt", "recovery"), ("gpt2", "caller_left")]
