"""gateway/explain.py: a request's story in plain words, and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.chat import Usage
from waypost.errors import Next
from waypost.gateway.explain import MAX_CHARACTERS, MAY_COST, NEXT, sentences, story_json
from waypost.gateway.story import AttemptStory, Outcome, RequestStory

LIMITED = AttemptStory(
    "openai",
    "gpt-x",
    started_ms=0,
    duration_ms=300,
    reason_next="retry",
    error_code="provider_rate_limited",
    error_sentence="answered 429: it had too many requests or tokens from us",
    waited_ms=2000,
    asked_wait_ms=2000,
    wait_limit_ms=10_000,
    key_label="team",
)
BROKEN = AttemptStory(
    "openai",
    "gpt-x",
    started_ms=2300,
    duration_ms=1200,
    first_token_ms=400,
    reason_next="recovery",
    error_code="provider_connection_lost",
    error_sentence="lost the connection",
    way="prefill",
)
ANSWERED = AttemptStory("anthropic", None, 3500, 1500, "answered", first_token_ms=500)
STORY = RequestStory(
    "req_1",
    "fast",
    started_at=1_790_000_000.5,
    duration_ms=5000,
    outcome="answered",
    status=200,
    route="fast",
    attempts=(LIMITED, BROKEN, ANSWERED),
    usage=Usage(input_tokens=24, output_tokens=300),
    incomplete_usage=frozenset({"output_tokens"}),
    cost_micro_usd=1234,
    notes=("top_k was dropped: OpenAI has no such field.",),
)


def test_the_whole_story() -> None:
    assert sentences(STORY) == [
        'Request req_1 of 2026-09-21T14:13:20.500Z asked for "fast", which is the route fast.',
        (
            "1. openai/gpt-x (from 0 ms to 300 ms, with the key team) answered 429: it had too many requests or tokens "
            "from us and asked to wait 2 s; that was within the limit of 10 s, so it was asked again after 2 s."
        ),
        (
            "2. openai/gpt-x (from 2.3 s to 3.5 s) gave its first token after 400 ms, then lost the connection; "
            "the broken stream was gone on with by continuing the text."
        ),
        "3. anthropic (from 3.5 s to 5 s) gave its first token after 500 ms and gave its whole answer.",
        "The request was answered with HTTP status 200, after 5 s and 3 attempts.",
        "Tokens in: 24; tokens out: at least 300; the cost was $0.001234.",
        "top_k was dropped: OpenAI has no such field.",
    ]


LOST = replace(ANSWERED, first_token_ms=None, reason_next="lost")
ENDINGS: list[tuple[AttemptStory, str]] = [
    (replace(LIMITED, asked_wait_ms=None, waited_ms=0), "from us; it was asked again at once."),
    (replace(LIMITED, asked_wait_ms=None), "from us; it was asked again after 2 s."),
    (
        replace(LIMITED, reason_next="next_target", asked_wait_ms=60_000),
        "asked to wait 60 s; that was over the limit of 10 s, so the next target was asked.",
    ),
    (replace(LIMITED, reason_next="next_target"), "asked to wait 2 s; the next target was asked."),
    (replace(LIMITED, reason_next="next_key"), "; it was asked again with the next key."),
    (replace(LIMITED, reason_next="larger_window"), "; the next target with a larger context window was asked."),
    (replace(BROKEN, way=None), "; the broken stream was gone on with."),
    (replace(LIMITED, reason_next="end"), "; nothing else could be tried."),
    (
        replace(ANSWERED, reason_next="hedge", first_token_ms=None),
        f"was under way and was ended, because the call started beside it was faster; {MAY_COST}.",
    ),
    (
        LOST,
        f"was under way beside the one before and was ended, because that was faster; {MAY_COST}.",
    ),
    (
        replace(LIMITED, reason_next="lost", asked_wait_ms=None),
        "had too many requests or tokens from us; it had been started beside the one before.",
    ),
    (replace(LOST, reason_next="caller_left"), "was under way and was ended, because the caller had left."),
    (replace(ANSWERED, first_token_ms=None), "(from 3.5 s to 5 s) gave its whole answer."),
]


@pytest.mark.parametrize(("attempt", "end"), ENDINGS)
def test_what_came_of_an_attempt(attempt: AttemptStory, end: str) -> None:
    assert sentences(replace(STORY, attempts=(attempt,)))[1].endswith(end)


def test_every_way_on_has_words() -> None:
    assert set(NEXT) == set(get_args(Next))


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_every_outcome_has_words_and_what_is_not_known_is_said(outcome: Outcome) -> None:
    untold = replace(STORY, outcome=outcome, usage=Usage(), cost_micro_usd=None, status=None, attempts=(), notes=())
    ending, spending = sentences(untold)[-2:]
    assert ending.endswith("after 5 s and 0 attempts.")
    assert spending == "Tokens in: not reported; tokens out: not reported; the cost is not known."


def test_the_json_is_json_and_unknown_is_null() -> None:
    told = story_json(replace(STORY, cost_micro_usd=None, route=None))
    assert json.loads(json.dumps(told)) == told
    assert (told["cost_micro_usd"], told["route"], told["usage"]["output_reasoning_tokens"]) == (None, None, None)
    assert told["incomplete_usage"] == ["output_tokens"]
    assert told["started_at"] == "2026-09-21T14:13:20.500Z"
    assert told["attempts"][0]["error_code"] == "provider_rate_limited"
    assert told["explanation"] == sentences(replace(STORY, cost_micro_usd=None, route=None))


@given(st.text(max_size=MAX_CHARACTERS * 2))
def test_no_name_from_outside_breaks_a_line_or_is_told_at_length(name: str) -> None:
    attempt = replace(LIMITED, model=name, key_label=name, error_sentence=name)
    story = replace(STORY, request_id=name, asked_model=name, route=name, notes=(name,), attempts=(attempt,))
    told = sentences(story)
    assert len(told) == 5
    assert all(sentence.isprintable() for sentence in told)
    assert max(map(len, told)) < 4 * MAX_CHARACTERS
    assert all(
        len(value) <= MAX_CHARACTERS for value in story_json(story)["attempts"][0].values() if isinstance(value, str)
    )
