"""The parts of an analysis: one where the content fits, chunks and reduce parts where it does not, always the same."""

from __future__ import annotations

import json

import pytest
from tests.analysis.asking import PLAIN, STRUCTURED, bench

from waypost.analysis.kinds import Kind, chosen_kinds, kinds_of
from waypost.analysis.limits import Limits, limits_of
from waypost.analysis.plan import (
    MOST_WEAK_PARTS,
    REPAIR_TOKENS,
    USED_SHARE,
    Part,
    part_told,
    parts_of,
    sizes_of,
)
from waypost.analysis.prompts import messages_for_chunk
from waypost.chat import Request
from waypost.codecs.estimate import estimate_input_tokens
from waypost.errors import DocumentTooLarge, EmptyDocument, UnknownKind, UnsupportedFeature
from waypost.settings import Settings

BUILT_IN = kinds_of(Settings())["analysis"]
OWN = Kind("own", "1", "Count the words of {content}", {"type": "object"}, max_output_tokens=256)
SENTENCE = "The harbour office keeps the rolls of paper in its archive. "


def test_a_content_that_fits_is_one_part_of_each_kind() -> None:
    parts = parts_of(SENTENCE, [BUILT_IN, OWN], Limits())
    assert [(part.index, part.kind, part.step, part.text) for part in parts] == [
        (0, "analysis", "chunk", SENTENCE),
        (1, "own", "chunk", SENTENCE),
    ]


@pytest.mark.parametrize("window_tokens", [4096, 8192, 16_385, 128_000, 1_000_000])
def test_parts_fit_into_the_window(window_tokens: int) -> None:
    """The prompt, the answer, and in a repair both answers with the errors, stay within the share that is planned."""
    limits = Limits(window_tokens=window_tokens)
    text = SENTENCE * 33_000
    parts = parts_of(text, [BUILT_IN], limits)
    chunks = [part for part in parts if part.step == "chunk"]
    assert "".join(part.text for part in chunks) == text
    for part in (chunks[0], chunks[-1]):
        where = part_told(part.number, part.count)
        request = Request("m", messages_for_chunk(BUILT_IN, part.text, where, tell_schema=True))
        used = estimate_input_tokens(request) + 2 * part.output_tokens + REPAIR_TOKENS
        assert used <= window_tokens * USED_SHARE + 10


@pytest.mark.parametrize(("window_tokens", "repeats"), [(4096, 60), (4096, 3_000), (8192, 3_000), (16_385, 20_000)])
def test_reduce_parts_join_every_chunk_once(window_tokens: int, repeats: int) -> None:
    """A tree with one root, in which each part is read once and only after it was computed."""
    limits = Limits(window_tokens=window_tokens)
    parts = parts_of(SENTENCE * repeats, [OWN, BUILT_IN], limits)
    assert [part.index for part in parts] == list(range(len(parts)))
    for kind in (OWN, BUILT_IN):
        own = [part for part in parts if part.kind == kind.name]
        read = [index for part in own for index in part.inputs]
        assert sorted(read) == [part.index for part in own[:-1]]
        assert all(index < part.index for part in own for index in part.inputs)
        joined = sizes_of(kind, limits).joined
        assert all(2 <= len(part.inputs) <= joined for part in own if part.step == "reduce")


def test_the_plan_is_the_same_each_time_and_json() -> None:
    plan = [parts_of(SENTENCE * 3_000, [BUILT_IN, OWN], Limits()) for _ in range(2)]
    assert plan[0] == plan[1]
    told = json.loads(json.dumps([part.to_dict() for part in plan[0]]))
    assert [Part.from_dict(each) for each in told] == plan[0]


def test_a_model_on_this_machine_reads_a_few_chunks_from_all_over() -> None:
    text = "".join(f"{SENTENCE}{number}. " for number in range(5_000))
    parts = parts_of(text, [BUILT_IN], Limits(window_tokens=4096, is_weak=True))
    assert len(parts) == MOST_WEAK_PARTS
    assert {part.step for part in parts} == {"chunk"}
    assert (parts[0].start, parts[-1].end) == (0, len(text))
    assert all(part.is_weak and text[part.start : part.end] == part.text for part in parts)


def test_white_space_alone_is_not_asked_about() -> None:
    parts = parts_of(SENTENCE + "\n" * 500_000 + SENTENCE, [OWN], Limits(window_tokens=4096))
    chunks = [part for part in parts if part.step == "chunk"]
    assert len(chunks) < 10
    assert all(part.text.strip() for part in chunks)


@pytest.mark.parametrize("text", ["", "  \n\t \n"])
def test_an_empty_content_is_refused(text: str) -> None:
    with pytest.raises(EmptyDocument):
        parts_of(text, [BUILT_IN], Limits())


def test_a_content_over_the_limit_is_refused_by_its_bytes() -> None:
    parts_of("ä" * 1_048_576, [OWN], Limits(window_tokens=1_000_000))
    with pytest.raises(DocumentTooLarge, match="2097154"):
        parts_of("ä" * 1_048_577, [OWN], Limits(window_tokens=1_000_000))
    with pytest.raises(DocumentTooLarge, match="100 is the limit"):
        parts_of("a" * 101, [OWN], Limits(), most_bytes=100)


def test_an_analysis_of_too_many_calls_is_refused() -> None:
    with pytest.raises(DocumentTooLarge, match=r"takes \d+ calls"):
        parts_of(SENTENCE * 33_000, [BUILT_IN] * 3, Limits(window_tokens=4096))


@pytest.mark.parametrize("is_weak", [False, True])
def test_a_window_that_is_too_small_is_told(is_weak: bool) -> None:
    with pytest.raises(UnsupportedFeature, match="reads 900 tokens"):
        parts_of(SENTENCE, [BUILT_IN], Limits(window_tokens=900, is_weak=is_weak))


def test_kinds_are_chosen_by_name() -> None:
    kinds = {"analysis": BUILT_IN, "own": OWN}
    assert chosen_kinds(kinds, None) == chosen_kinds(kinds, []) == [BUILT_IN]
    assert chosen_kinds(kinds, ["own", "analysis", "own"]) == [OWN, BUILT_IN]
    with pytest.raises(UnknownKind) as raised:
        chosen_kinds(kinds, ["own", "analisys"])
    assert raised.value.hint == "Did you mean analysis?"


def test_a_version_changes_with_the_wording_and_with_nothing_else() -> None:
    def version(**changes: object) -> str:
        kind = {"prompt": "Count.", "json_schema": {"type": "object"}, **changes}
        return kinds_of(Settings.model_validate({"kinds": {"own": kind}}))["own"].version

    assert version() == version(max_output_tokens=100) == version(model="local")
    assert len({version(), version(prompt="Count!"), version(system="Be exact."), version(json_schema=OBJECT)}) == 4
    assert version(version="2026-11") == "2026-11"


OBJECT = {"type": "object", "properties": {"n": {"type": "integer"}}}


async def test_limits_are_those_of_the_smallest_target() -> None:
    settings = Settings.model_validate(
        {
            "providers": {
                "openai": {"kind": "openai", "api_key": "any"},
                "local": {"kind": "llama_cpp", "context_tokens": 3000},
            },
            "routes": {"both": {"targets": [STRUCTURED, PLAIN]}, "mixed": {"targets": [STRUCTURED, "local"]}},
            "ledger": {"enabled": False},
        }
    )
    async with bench() as built:
        assert limits_of(built.gateway, built.settings, STRUCTURED) == Limits(STRUCTURED, 128_000, 16_384)
        assert limits_of(built.gateway, built.settings, None) == Limits("default", 128_000, 16_384)
    from waypost.app import build

    application = build(settings)
    try:
        assert limits_of(application.gateway, settings, "both").window_tokens == 8192
        assert limits_of(application.gateway, settings, "local") == Limits("local", 3000, is_weak=True)
        assert limits_of(application.gateway, settings, "mixed") == Limits("mixed", 3000, 16_384)
    finally:
        await application.close()
