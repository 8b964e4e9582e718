"""The result of an analysis: what was found, by whom, what is lacking, and what it cost."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from tests.analysis.asking import STRUCTURED, bench
from tests.analysis.test_run import COUNT, GOOD, TEXT, says

from waypost.analysis.combine import combine
from waypost.analysis.kinds import SCHEMA, Kind, kinds_of
from waypost.analysis.results import PartResult
from waypost.settings import Settings

BUILT_IN = kinds_of(Settings())["analysis"]
OWN = Kind("own", "7", "Count.", COUNT["json_schema"])  # type: ignore[arg-type]
FAILED = {"code": "provider_timeout", "message": "It took too long.", "retryable": True, "retry_after_s": None}


def part(index: int = 0, value: Any = None, **known: Any) -> PartResult:
    asked = {"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 10, "output_tokens": 5}}
    given = {
        "kind": "analysis",
        "version": "1",
        "step": "chunk",
        "end": len(TEXT),
        "cost_micro_usd": 3,
        **asked,
        **known,
    }
    return PartResult(index, value=value, **given)


def failed(index: int = 0, **known: Any) -> PartResult:
    return PartResult(index, **{"kind": "analysis", "version": "1", "step": "chunk", "error": FAILED, **known})


def of_analysis(result: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))["results"]["analysis"]
    return told


def test_a_whole_answer_is_the_models() -> None:
    result = combine([BUILT_IN], [part(value=GOOD)], TEXT)
    told = of_analysis(result)
    assert (told["status"], told["value"], told["missing"], told["error"]) == ("complete", GOOD, [], None)
    assert set(told["computed"].values()) == {"model"}
    assert (result["partial"], result["degraded"]) == (False, False)
    assert (result["provider"], result["model"]) == ("openai", "gpt-4o")
    assert (result["usage"], result["cost_micro_usd"]) == ({"input_tokens": 10, "output_tokens": 5}, 3)
    assert result["parts"][0]["origin"] == "model"
    assert "value" not in result["parts"][0]


def test_a_field_that_is_missing_is_filled_in_offline_and_said() -> None:
    value = {name: GOOD[name] for name in GOOD if name not in ("language", "sentiment")}
    told = of_analysis(combine([BUILT_IN], [part(value=value, missing=("language", "sentiment"))], TEXT))
    assert told["status"] == "partial"
    assert told["missing"] == ["sentiment", "language"]
    assert told["value"]["language"] == "en"
    assert (told["computed"]["sentiment"], told["computed"]["language"]) == ("vaderSentiment", "stop-words")
    assert (told["computed"]["themes"], told["value"]["themes"]) == ("model", GOOD["themes"])


def test_without_leave_nothing_is_filled_in() -> None:
    value = {name: GOOD[name] for name in GOOD if name != "language"}
    told = of_analysis(combine([BUILT_IN], [part(value=value)], TEXT, allow_offline=False))
    assert (told["status"], told["missing"], told["value"]["language"]) == ("partial", ["language"], None)
    told = of_analysis(combine([BUILT_IN], [failed()], TEXT, allow_offline=False))
    assert (told["status"], told["value"], told["error"]["code"]) == ("failed", None, "provider_timeout")


def test_when_nobody_answers_the_offline_analyzer_does() -> None:
    result = combine([BUILT_IN], [failed()], TEXT)
    told = of_analysis(result)
    assert (result["degraded"], told["status"], told["error"]["code"]) == (True, "degraded", "provider_timeout")
    assert "model" not in told["computed"].values()
    assert (result["provider"], result["usage"], result["cost_micro_usd"]) == (None, None, None)
    fields = {name: told["value"][name] for name in SCHEMA["properties"]}
    jsonschema_rs.validate(dict(SCHEMA), fields)


def test_a_quote_that_the_content_does_not_have_is_dropped() -> None:
    suggestions = [
        {"text": "a", "quote": "the  GRINDER is\nloud"},
        {"text": "b", "quote": "The grinder is quiet."},
        {"text": "c", "quote": None},
        {"text": "d", "quote": "..."},
    ]
    told = of_analysis(combine([BUILT_IN], [part(value={**GOOD, "suggestions": suggestions})], TEXT))
    assert [each["quote"] for each in told["value"]["suggestions"]] == ["the  GRINDER is\nloud", None, None, None]
    assert told["notes"]["suggestions"].startswith("2 quoted")
    assert told["status"] == "complete"


def test_the_last_reduce_part_has_the_result() -> None:
    results = [
        part(0, GOOD),
        part(1, {**GOOD, "language": "de"}),
        part(2, {**GOOD, "topics": ["x"]}, step="reduce", end=0),
    ]
    told = of_analysis(combine([BUILT_IN], results, TEXT))
    assert (told["status"], told["value"]["topics"]) == ("complete", ["x"])


def test_parts_that_no_model_joined_are_joined_by_rule() -> None:
    other = {
        **GOOD,
        "themes": ["grinder", "noise"],
        "sentiment": {"label": "negative", "score": -0.6},
        "quality": {"score": 50, "reasons": ["Clear and short.", "No headings."]},
    }
    results = [part(0, GOOD), part(1, other), failed(2, step="reduce")]
    told = of_analysis(combine([BUILT_IN], results, TEXT))
    assert (told["status"], told["error"]["code"]) == ("partial", "provider_timeout")
    assert told["value"]["themes"] == ["grinder", "espresso", "noise"]
    assert told["value"]["sentiment"] == {"label": "mixed", "score": -0.2}
    assert told["value"]["quality"] == {"score": 60, "reasons": ["Clear and short.", "No headings."]}
    assert "joined by rule" in told["notes"]["parts"]


def test_a_chunk_that_failed_makes_the_result_partial() -> None:
    results = [part(0, GOOD, end=40), failed(1, start=40, end=79), part(2, GOOD, step="reduce", end=0)]
    told = of_analysis(combine([BUILT_IN], results, TEXT))
    assert (told["status"], told["read_characters"], told["characters"]) == ("partial", 40, len(TEXT))


def test_what_a_small_model_says_counts_if_the_content_says_it_too() -> None:
    said = {"themes": ["Theme 1: Grinder", "espresso espresso espresso", "Coffee and tea", "The report", "Dear Sir"]}
    told = of_analysis(combine([BUILT_IN], [part(value=said, is_weak=True)], TEXT))
    assert told["status"] == "complete"
    assert told["computed"]["themes"] == "model, stop-words"
    assert told["value"]["themes"][0].lower() == "grinder"
    assert not {"tea", "report", "dear"} & set(" ".join(told["value"]["themes"]).lower().split())
    assert told["computed"]["sentiment"] == "vaderSentiment"


def test_what_a_small_model_is_not_asked_for_needs_no_leave() -> None:
    said = {"themes": ["grinder", "espresso"]}
    told = of_analysis(combine([BUILT_IN], [part(value=said, is_weak=True)], TEXT, allow_offline=False))
    assert (told["status"], told["missing"], told["value"]["language"]) == ("complete", [], "en")
    told = of_analysis(combine([BUILT_IN], [failed(is_weak=True)], TEXT, allow_offline=False))
    assert (told["status"], told["value"]) == ("failed", None)


def test_a_small_model_that_says_nothing_of_use_is_not_named() -> None:
    told = of_analysis(combine([BUILT_IN], [part(value={"themes": ["...", "xyzzy"]}, is_weak=True)], TEXT))
    assert (told["status"], told["computed"]["themes"]) == ("complete", "stop-words")
    told = of_analysis(combine([BUILT_IN], [failed(is_weak=True)], TEXT))
    assert told["status"] == "degraded"


def test_a_field_that_nobody_can_tell_is_null_with_the_reason() -> None:
    text = "Paczka przyszła dwa tygodnie za późno, a lampa była zepsuta, ale nikt nie odpowiedział na mój list."
    told = of_analysis(combine([BUILT_IN], [failed()], text))
    assert told["value"]["language"] == "pl"
    assert told["value"]["sentiment"] is None
    assert "pl" in told["notes"]["sentiment"]


def test_costs_add_up_and_an_unknown_one_is_not_nothing() -> None:
    known = combine([BUILT_IN], [part(0, GOOD), part(1, GOOD)], TEXT)
    assert (known["cost_micro_usd"], known["cost_usd"]) == (6, 0.000006)
    assert known["usage"] == {"input_tokens": 20, "output_tokens": 10}
    unknown = combine([BUILT_IN], [part(0, GOOD), part(1, GOOD, cost_micro_usd=None, usage={"input_tokens": 1})], TEXT)
    assert (unknown["cost_micro_usd"], unknown["cost_usd"]) == (None, None)
    assert unknown["usage"] == {"input_tokens": 11, "output_tokens": 5, "incomplete": ["output_tokens"]}


@pytest.mark.parametrize(
    ("results", "status", "value"),
    [
        ([part(0, {"words": 3, "longest": []}, kind="own")], "complete", {"words": 3, "longest": []}),
        ([part(0, {"longest": []}, kind="own", missing=("words",))], "partial", {"longest": []}),
        ([failed(0, kind="own")], "failed", None),
        ([], "failed", None),
        ([part(0, {"words": 1}, kind="own"), failed(1, kind="own", step="reduce")], "partial", None),
    ],
)
def test_a_kind_of_ones_own_is_never_filled_in(results: list[PartResult], status: str, value: Any) -> None:
    told = combine([OWN], results, TEXT)["results"]["own"]
    assert (told["status"], told["value"], told["version"]) == (status, value, "7")
    assert (told["error"] is None) == (value is not None)


async def test_several_kinds_in_one_analysis() -> None:
    async with bench(says(GOOD), says({"words": 3, "longest": []}), kinds={"count": COUNT}) as at:
        kinds = [at.kinds["analysis"], at.kinds["count"]]
        parts = at.parts(TEXT, STRUCTURED)
        parts += [type(each).from_dict({**each.to_dict(), "index": 1}) for each in at.parts(TEXT, STRUCTURED, "count")]
        result = combine(kinds, await at.run(parts), TEXT)
    assert {name: told["status"] for name, told in result["results"].items()} == {
        "analysis": "complete",
        "count": "complete",
    }
