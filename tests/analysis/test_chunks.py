"""Chunks: joined they are the text, each is within its limit, and cuts are where a reader would make them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.analysis.chunks import LEAST_CHUNK_TOKENS, chunks_of
from waypost.codecs.estimate import estimate_text_tokens

FAMILY = "👩\u200d👩\u200d👧"
PIECES = st.sampled_from(
    ["word ", "Ein Satz. ", "\n\n", "\n", " ", "längeresWort", "日本語。", FAMILY, "e\u0301", "a" * 200, "\t", "1984"]
)
TEXTS = st.one_of(st.text(max_size=600), st.lists(PIECES, max_size=200).map("".join))


@given(TEXTS, st.integers(LEAST_CHUNK_TOKENS, 200))
def test_no_character_is_lost_and_no_chunk_is_over_the_limit(text: str, limit_tokens: int) -> None:
    spans = list(chunks_of(text, limit_tokens))
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(start < end for start, end in spans)
    assert all(estimate_text_tokens(text[start:end]) <= limit_tokens for start, end in spans)
    assert spans == list(chunks_of(text, limit_tokens)), "the same text gives the same chunks"


@given(TEXTS, st.integers(LEAST_CHUNK_TOKENS, 200))
def test_neighbours_would_not_have_fitted_into_half_a_chunk(text: str, limit_tokens: int) -> None:
    """Each cut leaves its chunk about half full at least, but for what a joined emoji may cost."""
    spans = list(chunks_of(text, limit_tokens))
    for (start, _), (_, end) in itertools.pairwise(spans):
        assert estimate_text_tokens(text[start:end]) > limit_tokens // 4


def cut(text: str, limit_tokens: int) -> list[str]:
    return [text[start:end] for start, end in chunks_of(text, limit_tokens)]


def test_a_cut_is_after_a_paragraph_before_it_is_after_a_sentence() -> None:
    text = "One two three four. Five six seven eight nine ten.\n\nEleven twelve. Thirteen fourteen fifteen sixteen."
    assert cut(text, 20)[0] == "One two three four. Five six seven eight nine ten.\n\n"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One two three four five six seven eight nine. Ten eleven twelve thirteen fourteen fifteen.", "nine. "),
        ("one two three four five six seven eight nine\nten eleven twelve thirteen fourteen fifteen", "nine\n"),
        ("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen", " "),
    ],
)
def test_a_cut_is_after_a_sentence_a_line_or_a_word(text: str, first: str) -> None:
    assert cut(text, 16)[0].endswith(first)


def test_a_text_that_fits_is_one_chunk_and_an_empty_one_none() -> None:
    assert cut("Short.", 16) == ["Short."]
    assert cut("", 16) == []


def test_an_accent_stays_with_its_letter() -> None:
    for chunk in cut("e\u0301" * 400, 16):
        assert chunk.startswith("e")


def test_a_limit_that_one_character_may_be_over_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        list(chunks_of("text", 3))
