"""What a call that is passed through may cost at most, by its request: enough of what is known, None for the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from waypost.catalogue import PriceBook, PriceRule, capabilities_of
from waypost.catalogue.rates import FREE
from waypost.gateway.raw_call import RawQuestion, read_question
from waypost.providers.raw import RawCall
from waypost.providers.raw_endpoints import place_of

BOOK = PriceBook()
HELLO = {"messages": [{"role": "user", "content": "hello"}]}


def question(kind: str, path: str, body: Any, method: str = "POST", **headers: str) -> RawQuestion:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    call = RawCall(method, f"/{path}", headers={"content-type": "application/json", **headers}, body=written)
    return read_question(place_of(kind, method, path), call, len(written))


def worst(kind: str, path: str, body: Any, book: PriceBook = BOOK, **more: str) -> int | None:
    return question(kind, path, body, **more).worst_micro_usd(book, "p", kind)


BOUNDED: list[tuple[str, str, dict[str, Any], str, int, int]] = [
    ("openai", "chat/completions", {**HELLO, "model": "gpt-5-mini", "max_tokens": 1000}, "gpt-5-mini", 2, 1000),
    ("openai", "responses", {"input": "hello", "model": "gpt-5-mini", "max_output_tokens": 50}, "gpt-5-mini", 2, 50),
    ("anthropic", "v1/messages", {**HELLO, "model": "claude-haiku-4-5", "max_tokens": 7}, "claude-haiku-4-5", 2, 7),
    (
        "gemini",
        "models/gemini-2.5-flash:generateContent",
        {"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 30}},
        "gemini-2.5-flash",
        2,
        30,
    ),
    ("azure_openai", "deployments/gpt-5-mini/chat/completions", {**HELLO, "max_tokens": 9}, "gpt-5-mini", 2, 9),
]


@pytest.mark.parametrize(("kind", "path", "body", "model", "prompt", "answer"), BOUNDED)
def test_a_conversation_may_cost_its_prompt_and_its_longest_answer(
    kind: str, path: str, body: dict[str, Any], model: str, prompt: int, answer: int
) -> None:
    assert worst(kind, path, body) == BOOK.worst_case_micro_usd("p", kind, model, prompt, answer)


def test_each_of_several_answers_may_be_the_longest() -> None:
    body = {**HELLO, "model": "gpt-5-mini", "max_tokens": 9}
    one = worst("openai", "chat/completions", body)
    assert one is not None
    assert worst("openai", "chat/completions", {**body, "n": 3}) == 3 * one


def test_without_a_limit_the_model_s_longest_answer_counts() -> None:
    longest = capabilities_of("openai", "gpt-5-mini").max_output_tokens
    body = {**HELLO, "model": "gpt-5-mini"}
    assert worst("openai", "chat/completions", body) == BOOK.worst_case_micro_usd(
        "p", "openai", "gpt-5-mini", 2, longest
    )


@pytest.mark.parametrize("member", ["previous_response_id", "conversation", "prompt"])
def test_where_the_provider_keeps_the_conversation_its_whole_window_counts(member: str) -> None:
    window = capabilities_of("openai", "gpt-5-mini").context_window_tokens
    assert window is not None
    body = {"model": "gpt-5-mini", "input": "hello", "max_output_tokens": 50, member: "resp_1"}
    assert worst("openai", "responses", body) == BOOK.worst_case_micro_usd("p", "openai", "gpt-5-mini", window, 50)


def test_embeddings_may_cost_a_token_for_each_byte() -> None:
    body = {"model": "text-embedding-3-small", "input": "hello" * 100}
    size = len(json.dumps(body))
    told = BOOK.worst_case_micro_usd("p", "openai", "text-embedding-3-small", size, 0)
    assert worst("openai", "embeddings", body) == told


@pytest.mark.parametrize(
    ("body", "answers", "tokens"),
    [
        ({"prompt": "a", "max_tokens": 5}, 1, 5),
        ({"prompt": "a"}, 1, 16),
        ({"prompt": ["a", "b"], "max_tokens": 5, "n": 3}, 6, 5),
        ({"prompt": [1, 2, 3], "max_tokens": 5, "best_of": 4}, 4, 5),
    ],
)
def test_completions_may_cost_every_answer_to_every_prompt(body: dict[str, Any], answers: int, tokens: int) -> None:
    told = {"model": "gpt-3.5-turbo-instruct", **body}
    size = len(json.dumps(told))
    one = BOOK.worst_case_micro_usd("p", "openai", "gpt-3.5-turbo-instruct", size, tokens)
    assert one is not None
    assert worst("openai", "completions", told) == one * answers


UNKNOWN: list[tuple[str, str, Any, str]] = [
    ("openai", "batches", {"input_file_id": "f"}, "costs, it does not say"),
    ("openai", "images/generations", {"model": "gpt-image-1", "prompt": "a cat"}, "is not told by its request"),
    ("openai", "chat/completions", b"no JSON", "could not be read"),
    ("openai", "responses", {"model": "gpt-5-mini", "input": "a", "background": True}, "in the background"),
]


@pytest.mark.parametrize(("kind", "path", "body", "why"), UNKNOWN)
def test_what_cannot_be_known_is_not_guessed_and_says_why(kind: str, path: str, body: Any, why: str) -> None:
    asked = question(kind, path, body)
    assert asked.worst_micro_usd(BOOK, "p", kind) is None
    assert why in asked.unknown_why()
    assert asked.costs


def test_a_compressed_body_is_not_read() -> None:
    body = {**HELLO, "model": "gpt-5-mini", "max_tokens": 5}
    assert (
        "could not be read"
        in question("openai", "chat/completions", body, **{"content-encoding": "gzip"}).unknown_why()
    )


def test_a_model_without_a_price_is_unknown_for_its_price_alone() -> None:
    asked = question("openai", "chat/completions", {**HELLO, "model": "nobody-knows", "max_tokens": 5})
    assert asked.worst_micro_usd(BOOK, "p", "openai") is None
    assert asked.unknown_why() == ""


def test_at_a_provider_that_is_free_everything_is() -> None:
    free = PriceBook([PriceRule("p", "*", FREE)])
    for kind, path, body, _ in UNKNOWN:
        assert worst(kind, path, body, free) == 0


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_to_look_costs_nothing_and_takes_no_tokens(method: str) -> None:
    asked = question("openai", "files", b"", method)
    assert (asked.costs, asked.tokens, asked.worst_micro_usd(BOOK, "p", "openai")) == (False, 0, 0)
    assert asked.meter("application/json") is None
