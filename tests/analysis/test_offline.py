"""The offline analyzer: right on real texts, silent where it does not know, and quick on whatever it is given."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema_rs
import pytest
from tests.analysis.asking import FIXTURES

from waypost.analysis.kinds import SCHEMA
from waypost.analysis.offline import analyze_offline
from waypost.analysis.offline.language import LIST_NAMES, language_of
from waypost.analysis.offline.readability import FORMULAS, readability_of
from waypost.analysis.offline.words import sentences_of, words_of

EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))


def check(value: dict[str, Any], text: str, expected: dict[str, Any]) -> None:
    """A result against what a person expects of the text."""
    assert value["language"] == expected["language"]
    assert value["sentiment"]["label"] in expected["sentiment"]
    said = " | ".join([*value["themes"], *value["topics"]]).casefold()
    met = [words for words in expected["themes"] if any(word.casefold() in said for word in words)]
    assert len(met) >= 2, said
    quotes = [each["quote"] for each in value["suggestions"] if each["quote"]]
    assert quotes
    assert all(quote in text for quote in quotes)
    assert any(quote.startswith(expected["quote"]) for quote in quotes), quotes


@pytest.mark.parametrize("name", EXPECTED)
def test_real_texts_are_judged_as_a_person_does(name: str) -> None:
    text = (FIXTURES / name).read_text(encoding="utf-8")
    check(analyze_offline(text), text, EXPECTED[name])


@pytest.mark.parametrize("name", EXPECTED)
def test_a_result_fits_the_schema_of_the_built_in_kind(name: str) -> None:
    result = analyze_offline((FIXTURES / name).read_text(encoding="utf-8"))
    jsonschema_rs.validate(dict(SCHEMA), {field: result[field] for field in SCHEMA["properties"]})
    assert set(result["computed"]) == {*SCHEMA["properties"], "readability"}
    assert json.loads(json.dumps(result, allow_nan=False)) == result


LATE: dict[str, str] = json.loads((FIXTURES / "one_sentence.json").read_text(encoding="utf-8"))
"""One sentence in many languages, by tag."""


@pytest.mark.parametrize("tag", LATE)
def test_a_sentence_is_enough_to_tell_a_language(tag: str) -> None:
    assert language_of(LATE[tag], words_of(LATE[tag])).tag == tag


@pytest.mark.parametrize(
    "text",
    [
        "Great!",
        "4711 0815 12345",
        "Lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor",
        "Pakk saabus kaks nädalat hiljem ja lamp oli katki, aga keegi ei vastanud minu kirjale.",
        "xkcd qwertz asdf yxcv hjkl uiop",
    ],
)
def test_what_is_no_language_known_here_is_not_called_one(text: str) -> None:
    language = language_of(text, words_of(text))
    assert language.tag is None
    assert language.reason


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The food was great. The service was awful.", "mixed"),
        ("I love this camera and use it every day.", "positive"),
        ("It broke after one day and nobody helped me, which is terrible.", "negative"),
        ("The meeting is at nine. Bring the report with you.", "neutral"),
        ("Ich bin sehr zufrieden und empfehle den Laden gerne weiter.", "positive"),
        ("Das Gerät war nach zwei Tagen kaputt. Der Service ist eine Frechheit.", "negative"),
        ("Das ist nicht gut.", "negative"),
        ("Das ist gar nicht schlecht.", "positive"),
        ("Das Essen war hervorragend. Leider war die Bedienung sehr unfreundlich.", "mixed"),
        ("Das Treffen beginnt um neun Uhr. Bringen Sie den Bericht bitte mit.", "neutral"),
        ("Guten Tag, der Bericht liegt bei der Post. Mit freundlichen Grüßen", "neutral"),
    ],
)
def test_sentiment(text: str, label: str) -> None:
    sentiment = analyze_offline(text)["sentiment"]
    assert sentiment["label"] == label
    assert -1 <= sentiment["score"] <= 1


@pytest.mark.parametrize("tag", sorted(set(LATE) - {"en", "de"}))
def test_in_other_languages_sentiment_is_not_guessed(tag: str) -> None:
    result = analyze_offline(LATE[tag])
    assert result["sentiment"] is None
    assert result["notes"]["sentiment"]
    assert (result["readability"] is None) == (tag not in FORMULAS)


def test_simple_words_read_easier_than_long_ones() -> None:
    simple = "The cat sat on the mat. It was warm. The sun was in the sky."
    hard = (
        "Notwithstanding considerable institutional heterogeneity, organizational configurations systematically "
        "necessitate interdepartmental communication."
    )
    easy, heavy = (readability_of(sentences_of(text), "en") for text in (simple, hard))
    assert easy is not None
    assert heavy is not None
    assert easy > 90 > 20 > heavy


def test_numbers_and_abbreviations_do_not_end_sentences() -> None:
    text = "Dr. Weiss came on the 3. November, i.e. late. In 1964 it ended. Am 3. November kam z.B. Herr K. Meier."
    assert [sentence.text for sentence in sentences_of(text)] == [
        "Dr. Weiss came on the 3. November, i.e. late.",
        "In 1964 it ended.",
        "Am 3. November kam z.B. Herr K. Meier.",
    ]


WORDY = (
    "This sentence goes on and on, "
    + "and then it says one more thing that nobody has asked for, " * 5
    + "until it ends."
)
POOR = f"{WORDY} Buy it. THIS IS A SCANDAL!!! Buy it today from us. Buy it today from us."


def test_advice_quotes_what_it_is_about_and_takes_points_off() -> None:
    poor, good = analyze_offline(POOR), analyze_offline((FIXTURES / "article.txt").read_text(encoding="utf-8"))
    assert poor["quality"]["score"] < good["quality"]["score"]
    texts = " ".join(each["text"] for each in poor["suggestions"])
    for advice in ("shorter ones", "Say this once", "calm tone"):
        assert advice in texts
    assert all(each["quote"] is None or each["quote"] in POOR for each in poor["suggestions"])


HOSTILE = {
    "dots": "." * 2_000_000,
    "dots and a letter": ("." * 5_000 + "x ") * 400,
    "one word": "a" * 2_000_000,
    "capitals": "AAAA! " * 330_000,
    "newlines": "\n" * 2_000_000,
    "blank lines": "\n \t" * 660_000,
    "quotes": "\"'" * 1_000_000,
    "passive": "wird geworden " * 140_000,
    "hyphens": "a-" * 1_000_000,
    "digits": "1. " * 660_000,
    "emoji": "😀" * 500_000,
    "han": "字" * 660_000,
    "distinct": " ".join(
        f"w{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676 % 26)}x" for n in range(300_000)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_time_is_bounded_whatever_the_text(name: str) -> None:
    began = time.process_time()
    result = analyze_offline(HOSTILE[name])
    assert time.process_time() - began < 10
    json.dumps(result, allow_nan=False)


def test_of_a_long_text_it_is_said_that_slices_were_read() -> None:
    text = (FIXTURES / "article.txt").read_text(encoding="utf-8") * 1_000
    result = analyze_offline(text)
    assert "slices" in result["notes"]["text"]
    assert result["language"] == "en"
    assert all(each["quote"] is None or each["quote"] in text for each in result["suggestions"])


def test_every_language_with_words_has_its_list() -> None:
    from waypost.analysis.offline.language import stop_words

    assert all(len(stop_words(tag)) > 30 for tag in LIST_NAMES)
