"""gateway/worst_cost.py: a bound where all is known, and no guess where it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from waypost.catalogue import PUBLISHED
from waypost.chat import Media, Message, Request, Sampling, Text, Url
from waypost.errors import InvalidRequest
from waypost.gateway.worst_cost import worst_cost_micro_usd
from waypost.providers.asked import Asked

PRICED = ("openai", "gpt-5.4-mini")


def asked(text: str = "word " * 4000, *, max_tokens: int | None = None, choices: int | None = None) -> Asked:
    return Asked.of(
        Request("r", (Message("user", (Text(text),)),), sampling=Sampling(max_tokens=max_tokens, choices=choices))
    )


def cost(given: Asked, kind: str = PRICED[0], model: str | None = PRICED[1]) -> int:
    worst = worst_cost_micro_usd(PUBLISHED, "any", kind, model, given)
    assert worst is not None
    return worst


def test_it_grows_with_the_prompt_the_longest_answer_and_the_choices() -> None:
    least = cost(asked("hi", max_tokens=10))
    assert 0 < least < cost(asked(max_tokens=10)) < cost(asked(max_tokens=10_000)) < cost(asked())
    assert cost(asked(max_tokens=10, choices=3)) >= 3 * cost(asked(max_tokens=10))


@pytest.mark.parametrize(("kind", "model"), [("openai", "no-such-model"), ("openai_compatible", "m"), ("openai", None)])
def test_without_a_price_it_is_not_known(kind: str, model: str | None) -> None:
    assert worst_cost_micro_usd(PUBLISHED, "any", kind, model, asked()) is None


def test_what_the_prompt_holds_beside_text_and_pictures_has_no_known_length() -> None:
    request = asked().request
    heard = Message("user", (Media("audio", Url("https://example.org/a.wav")),))
    assert worst_cost_micro_usd(PUBLISHED, "any", *PRICED, Asked.of(replace(request, messages=(heard,)))) is None


def test_a_body_that_cannot_be_read_here_has_no_known_cost() -> None:
    def decode() -> Request:
        raise InvalidRequest("not ours to read")

    assert worst_cost_micro_usd(PUBLISHED, "any", *PRICED, Asked("r", decode=decode)) is None
