"""Which requests to the Responses API ask for encrypted thoughts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from waypost.chat import FunctionTool, Message, ReasoningWish, Request, Text
from waypost.providers.stateless_responses import ENCRYPTED, codec

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
