"""The page of what is lost between formats says what the encoders do."""

from __future__ import annotations

from itertools import permutations

import pytest
from tools.translation import CODECS, REQUESTS, RESPONSES, encode_request, encode_response, lost, translation_page

PAGE = translation_page("")


@pytest.mark.parametrize("name", REQUESTS)
def test_each_feature_of_a_request_is_carried_whole_by_a_format(name: str) -> None:
    """Else it would stand on no line of the page."""
    assert any(not lost(REQUESTS[name], encode_request, codec) for codec in CODECS)


@pytest.mark.parametrize("name", RESPONSES)
def test_each_feature_of_an_answer_is_carried_whole_by_a_format(name: str) -> None:
    assert any(not lost(RESPONSES[name], encode_response, codec) for codec in CODECS)


def test_every_ordered_pair_has_its_tables() -> None:
    for caller, provider in permutations(CODECS, 2):
        section = PAGE.split(f"## {caller} before {provider}\n")[1].split("\n## ")[0]
        assert "| of a request |" in section
        assert "| of an answer |" in section


def test_a_loss_stands_with_its_pair_and_nowhere_else() -> None:
    section = PAGE.split("## OpenAI Chat Completions before Anthropic Messages\n")[1].split("\n## ")[0]
    assert "| seed | Anthropic has no such setting. |" in section
    assert "| top-k |" not in section, "Chat Completions has none to lose"
    assert "| stop sequences |" not in section, "both have them"
