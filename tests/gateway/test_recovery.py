"""gateway/recovery.py and sent.py: which broken streams may be gone on with, by which way, and what is asked then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.chat import (
    Citation,
    CitationDelta,
    Event,
    Failed,
    FileId,
    Finish,
    FunctionTool,
    LogprobsDelta,
    Media,
    Message,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    ReasoningWish,
    Refusal,
    Request,
    ResponseFormat,
    ResponseStart,
    Sampling,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Usage,
    UsageUpdate,
)
from waypost.errors import ProviderConnectionLost
from waypost.gateway.recovery import CONTINUE, RecoveryTarget, chosen_way, continued_request, recoverable, request_for
from waypost.gateway.sent import Sent, Unrecoverable

REQUEST = Request("m", (Message("user", (Text("Tell me."),)),), sampling=Sampling(max_tokens=100))
START = ResponseStart("id-1", "model-1", 17)
TEXT = (START, PartStart(0, Text("")), PartDelta(0, "Once "), PartDelta(0, "upon"))
BREAK = Failed(ProviderConnectionLost("gone"))


def test_plain_text_may_be_gone_on_with_by_every_way() -> None:
    told = UsageUpdate(Usage(input_tokens=5, output_tokens=1))
    sent = recoverable(REQUEST, [*TEXT, told, BREAK])
    assert sent == Sent(START, "Once upon", 0, "open", ("prefill", "user_turn", "restart"), told.usage)


def asked(**changes: Any) -> Request:
    return replace(REQUEST, **changes)


CITED = {"anthropic": {"citations": {"enabled": True}}}
OBSTACLES_OF_REQUESTS: list[tuple[str, Request]] = [
    ("choice", asked(sampling=Sampling(choices=2))),
    ("tools", asked(tools=(FunctionTool("f"),))),
    ("tools", asked(tools=(Unknown("anthropic", {"type": "web_search"}),))),
    ("structured", asked(response_format=ResponseFormat("json_object"))),
    ("structured", asked(response_format=ResponseFormat("json_schema", {}))),
    ("citations", asked(messages=(Message("user", (Media("document", FileId("f"), opaque=CITED),)),))),
    ("citations", asked(messages=(Message("user", (Unknown("anthropic", CITED["anthropic"]),)),))),
    (
        "citations",
        asked(messages=(Message("tool", (ToolResult("c", (Media("document", FileId("f"), opaque=CITED),)),)),)),
    ),
    ("logprobs", asked(provider_options={"openai": {"logprobs": True}})),
    ("logprobs", asked(provider_options={"openai_responses": {"include": ["message.output_text.logprobs"]}})),
    ("responseLogprobs", asked(provider_options={"google": {"generationConfig": {"responseLogprobs": True}}})),
    ("format", asked(provider_options={"anthropic": {"output_config": {"format": {"type": "json_schema"}}}})),
    ("previous_response_id", asked(provider_options={"openai_responses": {"previous_response_id": "r"}})),
    ("audio", asked(provider_options={"openai": {"modalities": ["text", "audio"]}})),
    ("top_logprobs", asked(provider_options={"openai": {"top_logprobs": 2}})),
    ("guided_regex", asked(provider_options={"openai": {"guided_regex": "a+"}})),
]


@pytest.mark.parametrize(("reason", "request_"), OBSTACLES_OF_REQUESTS)
def test_a_wish_for_more_than_plain_text_rules_recovery_out(reason: str, request_: Request) -> None:
    verdict = recoverable(request_, TEXT)
    assert isinstance(verdict, Unrecoverable)
    assert reason in verdict.reason


ENDED_TEXT = (*TEXT, PartEnd(0))
OBSTACLES_OF_ANSWERS: list[tuple[str, tuple[Event, ...]]] = [
    ("not begun", (BREAK,)),
    ("ToolCall", (START, PartStart(0, ToolCall("c", "f", "")))),
    ("Refusal", (START, PartStart(0, Refusal("")))),
    ("Unknown", (*TEXT, PartStart(1, Unknown("openai", {})))),
    ("more than one text", (*ENDED_TEXT, PartStart(1, Text("")))),
    ("Reasoning", (*TEXT, PartStart(1, Reasoning("")))),
    ("one choice", (*TEXT, PartStart(0, Text(""), choice=1))),
    ("citations", (*TEXT, CitationDelta(0, Citation("openai", {})))),
    ("Text", (START, PartStart(0, Text("", (Citation("openai", {}),))))),
    ("log-probabilities", (*TEXT, LogprobsDelta({"content": []}))),
    ("finished", (*ENDED_TEXT, Finish("stop"))),
    ("thinking", (START, PartStart(0, Reasoning("Let me")))),
]


@pytest.mark.parametrize(("reason", "events"), OBSTACLES_OF_ANSWERS)
def test_an_answer_that_holds_more_than_plain_text_is_not_recovered(reason: str, events: tuple[Event, ...]) -> None:
    verdict = recoverable(REQUEST, [*events, BREAK])
    assert isinstance(verdict, Unrecoverable)
    assert reason in verdict.reason


def test_options_that_are_off_or_harmless_rule_nothing_out() -> None:
    options = {
        "openai": {"logprobs": False, "seed": 1, "metadata": {"a": "logprobs"}, "stream_options": {}},
        "google": {"generationConfig": {"responseMimeType": "text/plain", "responseModalities": ["TEXT"]}},
        "anthropic": {"mcp_servers": [], "thinking": None},
        "openai_responses": {"text": {"format": {"type": "text"}}, "include": []},
    }
    assert isinstance(recoverable(asked(provider_options=options), TEXT), Sent)
    assert isinstance(recoverable(asked(response_format=ResponseFormat("text")), TEXT), Sent)
    off = {"anthropic": {"citations": {"enabled": False}, "cache_control": {"type": "ephemeral"}}}
    document = Media("document", FileId("f"), opaque=off)
    assert isinstance(recoverable(asked(messages=(Message("user", (document,)),)), TEXT), Sent)


@given(st.text(max_size=30), st.integers(0, 60))
def test_the_bound_is_in_bytes_and_the_text_may_just_reach_it(text: str, limit_bytes: int) -> None:
    events: list[Event] = [START, PartStart(0, Text("")), *(PartDelta(0, character) for character in text)]
    fits = len(text.encode()) <= limit_bytes
    assert isinstance(recoverable(REQUEST, events, limit_bytes), Sent) == fits


THOUGHT = (START, PartStart(0, Reasoning("")), PartDelta(0, "Hm."), PartEnd(0))


def test_after_thinking_that_ended_only_the_text_counts_and_no_target_continues_by_prefill() -> None:
    sent = recoverable(REQUEST, [*THOUGHT, PartStart(1, Text("")), PartDelta(1, "Yes")])
    assert isinstance(sent, Sent)
    assert (sent.text, sent.index, sent.part, sent.ways) == ("Yes", 1, "open", ("user_turn", "restart"))


def test_thinking_that_ended_before_any_text_leaves_the_next_free_place_for_it() -> None:
    sent = recoverable(REQUEST, THOUGHT)
    assert isinstance(sent, Sent)
    assert (sent.text, sent.index, sent.part, sent.ways) == ("", 1, "absent", ("restart",))


@pytest.mark.parametrize(
    ("wish", "prefill"),
    [
        (None, True),
        (ReasoningWish(enabled=False), True),
        (ReasoningWish(effort="none"), True),
        (ReasoningWish(budget_tokens=0), True),
        (ReasoningWish(enabled=True), False),
        (ReasoningWish(effort="low"), False),
        (ReasoningWish(budget_tokens=2048), False),
    ],
)
def test_a_target_that_is_to_think_first_is_not_asked_to_prefill(wish: ReasoningWish | None, prefill: bool) -> None:
    sent = recoverable(asked(reasoning=wish), TEXT)
    assert isinstance(sent, Sent)
    assert ("prefill" in sent.ways) == prefill


@pytest.mark.parametrize(
    ("request_", "events"),
    [
        (REQUEST, ENDED_TEXT),
        (REQUEST, (START, PartStart(0, Text(" \n")))),
        (asked(messages=(*REQUEST.messages, Message("assistant", (Text("Once"),)))), TEXT),
    ],
    ids=["the part was ended", "nothing but white space", "the caller's own prefill"],
)
def test_what_cannot_be_continued_can_still_begin_again(request_: Request, events: tuple[Event, ...]) -> None:
    sent = recoverable(request_, events)
    assert isinstance(sent, Sent)
    assert sent.ways == ("restart",)


def test_a_prefill_holds_the_text_without_its_trailing_space_and_the_limit_shrinks() -> None:
    request = continued_request(REQUEST, "Once upon \n", 30)
    assert request.messages == (*REQUEST.messages, Message("assistant", (Text("Once upon"),)))
    assert request == replace(REQUEST, messages=request.messages, sampling=Sampling(max_tokens=70))


def test_a_user_turn_comes_after_the_text_and_asks_to_go_on() -> None:
    last = continued_request(REQUEST, "Once upon", 0, "user_turn").messages[-2:]
    assert last == (Message("assistant", (Text("Once upon"),)), Message("user", (Text(CONTINUE),)))


@given(st.none() | st.integers(1, 50), st.integers(0, 100))
def test_the_limit_is_never_raised_never_zero_and_never_invented(limit: int | None, used: int) -> None:
    request = asked(sampling=Sampling(max_tokens=limit))
    left = continued_request(request, "text", used).sampling.max_tokens
    assert left is None if limit is None else left == max(1, limit - used)


def test_text_of_white_space_only_cannot_be_continued() -> None:
    with pytest.raises(ValueError, match="no text"):
        continued_request(REQUEST, " \n", 1)


def test_a_new_start_asks_the_same_again() -> None:
    sent = recoverable(REQUEST, TEXT)
    assert isinstance(sent, Sent)
    assert request_for("restart", REQUEST, sent) == REQUEST


def test_tokens_are_counted_by_length_where_the_report_came_too_early() -> None:
    """Of 9 characters, at four a token, three tokens; a higher report wins."""
    early, late = (recoverable(REQUEST, [*TEXT, UsageUpdate(Usage(output_tokens=n))]) for n in (1, 50))
    assert isinstance(early, Sent)
    assert isinstance(late, Sent)
    assert (early.used_tokens, late.used_tokens) == (3, 50)
    assert request_for("prefill", REQUEST, early).sampling.max_tokens == 97


CLOUD, OTHER = RecoveryTarget("a", "m", takes_prefill=True), RecoveryTarget("b", "n")
LOCAL, SMALL = (RecoveryTarget("local", model, takes_prefill=True, is_local=True) for model in ("x", "y"))


@pytest.mark.parametrize(
    ("broken", "target", "user_turn", "way"),
    [
        (OTHER, CLOUD, False, "prefill"),
        (CLOUD, OTHER, False, "restart"),
        (CLOUD, OTHER, True, "user_turn"),
        (CLOUD, CLOUD, True, "prefill"),
        (CLOUD, LOCAL, True, None),
        (LOCAL, SMALL, True, None),
        (LOCAL, LOCAL, False, "prefill"),
        (LOCAL, OTHER, False, "restart"),
    ],
)
def test_who_goes_on_and_how(broken: RecoveryTarget, target: RecoveryTarget, user_turn: bool, way: str | None) -> None:
    """Prefill where the target takes it, a user's turn on opt-in, and a local model only behind itself."""
    sent = recoverable(REQUEST, TEXT)
    assert isinstance(sent, Sent)
    assert chosen_way(sent, broken, target, user_turn=user_turn) == way
