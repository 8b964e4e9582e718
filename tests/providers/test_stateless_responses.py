"""Which requests to the Responses API ask for encrypted thoughts, and what they say of storing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from waypost.chat import FunctionTool, Message, Part, Reasoning, ReasoningWish, Request, Text
from waypost.codecs.passing import Glance
from waypost.providers.stateless_responses import ENCRYPTED, StoredHere, codec

TOOL = FunctionTool("f")
ASKED: list[tuple[str, dict[str, Any], bool]] = [
    ("tools and a wish to think", {"tools": (TOOL,), "reasoning": ReasoningWish(effort="low")}, True),
    ("tools and a model that is known to think", {"tools": (TOOL,), "model": "gpt-5-mini"}, True),
    ("tools and a model that is known not to", {"tools": (TOOL,), "model": "gpt-4o"}, False),
    ("tools and a model of which nothing is known", {"tools": (TOOL,)}, False),
    ("tools, and no thinking is wished", {"tools": (TOOL,), "reasoning": ReasoningWish(effort="none")}, False),
    ("no tools, whose results would want the thoughts", {"reasoning": ReasoningWish(effort="low")}, False),
]


@pytest.mark.parametrize(("more", "due"), [case[1:] for case in ASKED], ids=[case[0] for case in ASKED])
def test_thoughts_are_asked_for_where_they_are_wanted_again(more: dict[str, Any], due: bool) -> None:
    """A model that does not reason refuses the wish with a 400."""
    assert (ENCRYPTED in included(**more)) is due


def test_other_wishes_stay_and_none_is_doubled() -> None:
    wish: dict[str, Any] = {"tools": (TOOL,), "reasoning": ReasoningWish(effort="low")}
    own = {"openai_responses": {"include": ["file_search_call.results"]}}
    assert included(**wish, provider_options=own) == ["file_search_call.results", ENCRYPTED]
    assert included(**wish, provider_options={"openai_responses": {"include": [ENCRYPTED]}}) == [ENCRYPTED]


def included(model: str = "ours", **more: Any) -> list[str]:
    request = Request(model=model, messages=(Message("user", (Text("hi"),)),), **more)
    return list(json.loads(codec.encode_request(request, stream=False).body).get("include", ()))


# What is stored by whoever asks


THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"}
THEIRS = {**THOUGHT, "id": "rs_2"}


def sent(
    model: str = "ours",
    provider: str = "here",
    sealed_by: dict[str, str] | None = None,
    *,
    there: bool = False,
    **more: Any,
) -> dict[str, Any]:
    members = {"model": "asked", "input": "hi", **more}
    seen = Glance(members, "asked")
    written = StoredHere("openai_responses", json.dumps(members).encode(), seen, {}, sealed_by or {}, there)
    body: dict[str, Any] = json.loads(written.body_for(model, provider))
    return body


def test_the_provider_is_told_to_store_nothing_unless_it_may() -> None:
    assert sent() == {"model": "ours", "input": "hi", "store": False}
    assert sent(there=True)["store"] is True


WISHES: list[tuple[str, dict[str, Any], bool]] = [
    ("a model that is known to think", {"model": "gpt-5-mini"}, True),
    ("a wish to think", {"reasoning": {"effort": "low"}}, True),
    ("a wish for a summary, and a model that thinks", {"model": "gpt-5-mini", "reasoning": {"summary": "auto"}}, True),
    ("no thinking is wished", {"model": "gpt-5-mini", "reasoning": {"effort": "none"}}, False),
    ("a model that is known not to", {"model": "gpt-4o"}, False),
    ("a model of which nothing is known", {}, False),
]


@pytest.mark.parametrize(("more", "due"), [case[1:] for case in WISHES], ids=[case[0] for case in WISHES])
def test_thoughts_that_may_be_gone_on_from_are_asked_for(more: dict[str, Any], due: bool) -> None:
    """Without tools too: what comes after is not known yet. A model that does not think refuses the wish."""
    assert (ENCRYPTED in sent(**more).get("include", ())) is due


def test_other_wishes_of_the_caller_stay() -> None:
    included = sent("gpt-5-mini", include=["file_search_call.results", ENCRYPTED])["include"]
    assert included == ["file_search_call.results", ENCRYPTED]
    assert sent("gpt-4o", include=["file_search_call.results"])["include"] == ["file_search_call.results"]


def test_thoughts_that_another_provider_encrypted_are_not_sent() -> None:
    """It refuses what it cannot read. What nobody knows of is the caller's own."""
    turn = {"role": "user", "content": "hi"}
    asked: dict[str, Any] = {"sealed_by": {"rs_1": "here", "rs_2": "there"}, "input": [THOUGHT, THEIRS, turn]}
    assert sent(provider="here", **asked)["input"] == [THOUGHT, turn]
    assert sent(provider="there", **asked)["input"] == [THEIRS, turn]
    assert sent(provider="elsewhere", **asked)["input"] == [turn]
    assert sent(provider="elsewhere", input=[THOUGHT, turn])["input"] == [THOUGHT, turn]


# What is translated


def translated(*parts: Part, **options: Any) -> dict[str, Any]:
    messages = (Message("user", (Text("hi"),)), Message("assistant", parts), Message("user", (Text("so?"),)))
    request = Request("ours", messages, provider_options=options)
    body: dict[str, Any] = json.loads(codec.encode_request(request, stream=False).body)
    return body


def test_a_translated_request_is_stored_nowhere_unless_its_caller_says_so() -> None:
    """In every other format, that is what saying nothing means."""
    assert translated(Text("yes"))["store"] is False
    assert translated(Text("yes"), openai={"store": True})["store"] is True
    assert translated(Text("yes"), openai={"store": None})["store"] is None


def test_thoughts_that_the_provider_would_look_for_in_vain_are_not_sent() -> None:
    """Those of one item go or stay together, though only its last piece says that it is encrypted."""
    own = "openai_responses"
    first = Reasoning("One.", {own: {"id": "rs_1"}})
    last = Reasoning("Two.", {own: {"id": "rs_1", "item": {"encrypted_content": "c2VhbGVk"}}})
    bare = Reasoning("Three.", {own: {"id": "rs_2"}})
    items = translated(first, last, bare, Text("yes"))["input"]
    assert [item.get("id") for item in items if item["type"] == "reasoning"] == ["rs_1"]
    assert [piece["text"] for piece in items[1]["summary"]] == ["One.", "Two."]
    kept = translated(bare, Text("yes"), openai={"store": True})["input"]
    assert [item.get("id") for item in kept if item["type"] == "reasoning"] == ["rs_2"]
