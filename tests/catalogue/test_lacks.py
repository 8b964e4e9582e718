"""catalogue/lacks.py: what a target lacks of a request, and the request without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.catalogue.requests import ANSWER, PLAIN, QUESTION, SHOWING, TOOL

from waypost.catalogue import Capabilities, Need, Needs, Size, lacking, needs_of, refusal, without
from waypost.catalogue.lacks import WORDINGS
from waypost.chat import InlineData, Media, Message, Request, Sampling, Text, ToolChoice, ToolResult

PICTURE = Media("image", InlineData(b"\x89PNG", "image/png"))


def no(*names: str) -> Capabilities:
    """A target that is known not to have these."""
    facts: dict[str, Any] = dict.fromkeys(names, False)
    return Capabilities(**facts)


def test_every_need_has_words() -> None:
    assert WORDINGS.keys() == set(Need)


@pytest.mark.parametrize("need", SHOWING)
def test_a_known_no_is_a_lack_and_the_request_can_go_without(need: Need) -> None:
    """The law of dropping: what is left needs it no more, and the question is still asked."""
    request = SHOWING[need]
    lacks = lacking(needs_of(request, stream=False), no(need), "openai/m")
    assert [lack.capability for lack in lacks] == [need]
    assert lacks[0].message.startswith("openai/m cannot ")
    assert lacks[0].hint
    assert lacks[0].without
    kept = without(request, lacks)
    assert need not in needs_of(kept, stream=False).capabilities
    assert "What is this?" in [message.text for message in kept.messages]


@pytest.mark.parametrize("need", SHOWING)
@pytest.mark.parametrize("known", [None, True])
def test_what_is_there_or_unknown_is_no_lack(need: Need, known: bool | None) -> None:
    facts: dict[str, Any] = dict.fromkeys(Need, known)
    assert lacking(needs_of(SHOWING[need], stream=True), Capabilities(**facts), "a/b") == ()


def test_what_is_not_needed_is_no_lack() -> None:
    assert lacking(needs_of(PLAIN, stream=False), no(*Need), "a/b") == ()


def test_a_target_without_prefill_is_told_so_once() -> None:
    needs = needs_of(SHOWING[Need.PREFILL_WITH_REASONING], stream=False)
    lacks = lacking(needs, no("prefill", "prefill_with_reasoning"), "a/b")
    assert [lack.capability for lack in lacks] == ["prefill"]


def test_nothing_lacking_leaves_the_request_as_it_is() -> None:
    assert without(PLAIN, ()) is PLAIN


def test_images_go_and_the_text_around_them_stays() -> None:
    request = Request(
        "m",
        (
            Message("user", (Text("Before."), PICTURE, Text("After."))),
            Message("user", (PICTURE,)),
            Message("tool", (ToolResult("1", (Text("Seen."), PICTURE)),)),
        ),
    )
    kept = without(request, lacking(needs_of(request, stream=False), no("images"), "a/b"))
    assert kept.messages == (
        Message("user", (Text("Before."), Text("After."))),
        Message("tool", (ToolResult("1", (Text("Seen."),)),)),
    )


def test_a_forced_tool_may_still_be_called() -> None:
    request = SHOWING[Need.FORCED_TOOLS]
    kept = without(request, lacking(needs_of(request, stream=False), no("forced_tools"), "a/b"))
    assert (kept.tools, kept.tool_choice) == ((TOOL,), ToolChoice("auto"))


def test_instructions_become_the_users_words() -> None:
    request = SHOWING[Need.SYSTEM_PROMPT]
    kept = without(request, lacking(needs_of(request, stream=False), no("system_prompt"), "a/b"))
    assert [(message.role, message.text) for message in kept.messages] == [
        ("user", "Be brief."),
        ("user", "What is this?"),
    ]


def test_an_assistants_words_that_nothing_precedes_stay() -> None:
    request = replace(PLAIN, messages=(ANSWER,))
    kept = without(request, lacking(needs_of(request, stream=False), no("prefill"), "a/b"))
    assert kept.messages == (ANSWER,)


@pytest.mark.parametrize(
    "options",
    [
        {"openai": {"logprobs": True, "top_logprobs": 2, "user": "u"}},
        {"openai_responses": {"include": ["message.output_text.logprobs", "file_search_call.results"]}},
        {"google": {"generationConfig": {"responseLogprobs": True, "logprobs": 2, "mediaResolution": "LOW"}}},
    ],
)
def test_other_options_stay_where_log_probabilities_go(options: dict[str, Any]) -> None:
    request = replace(PLAIN, provider_options=options)
    kept = without(request, lacking(needs_of(request, stream=False), no("logprobs"), "a/b"))
    left = str(kept.provider_options)
    assert "logprobs" not in left.lower()
    assert any(other in left for other in ("user", "file_search_call.results", "mediaResolution"))
    assert "logprobs" in str(request.provider_options).lower(), "the request itself is not changed"


@pytest.mark.parametrize(
    ("tokens", "lacks"), [(99_000, False), (150_000, False), (200_000, False), (200_001, True), (900_000, True)]
)
def test_a_prompt_is_too_long_only_if_it_surely_is(tokens: int, lacks: bool) -> None:
    """The estimate may be twice the truth."""
    needs = Needs(frozenset(), Size(tokens, whole=True))
    found = lacking(needs, Capabilities(context_window_tokens=100_000), "a/b")
    assert bool(found) is lacks
    if found:
        assert "100000" in found[0].message
        assert without(PLAIN, found) == PLAIN


def test_a_longer_answer_than_the_model_writes_is_cut_to_what_it_does() -> None:
    request = replace(PLAIN, sampling=Sampling(max_tokens=200_000, temperature=0.5))
    found = lacking(needs_of(request, stream=False), Capabilities(max_output_tokens=64_000), "a/b")
    assert [lack.capability for lack in found] == ["max_output_tokens"]
    assert without(request, found).sampling == Sampling(max_tokens=64_000, temperature=0.5)
    assert lacking(needs_of(request, stream=False), Capabilities(max_output_tokens=200_000), "a/b") == ()


def test_several_lacks_at_once_come_in_one_order_and_one_error() -> None:
    request = Request("m", (Message("user", (Text("Look."), PICTURE)), QUESTION), tools=(TOOL,))
    found = lacking(needs_of(request, stream=True), no("images", "tools", "streaming"), "local/small")
    assert [lack.capability for lack in found] == ["tools", "images", "streaming"]
    error = refusal(found)
    assert error.http_status == 422
    assert error.param == "tools"
    assert error.message == (
        "local/small cannot use tools. local/small cannot look at images. local/small cannot stream its answer."
    )
    kept = without(request, found)
    assert needs_of(kept, stream=False).capabilities == frozenset()
