"""codecs/renaming.py: the model's name is replaced wherever the format repeats it, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.codecs import openai_embeddings
from waypost.codecs.anthropic_messages.count import count_codec as anthropic_count
from waypost.codecs.gemini.count import count_codec as gemini_count
from waypost.codecs.gemini.embeddings import batch, one
from waypost.codecs.openai_responses.count import count_codec as openai_count
from waypost.codecs.renaming import RENAMES, renamed

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def test_every_codec_of_embeddings_and_counts_has_its_rule() -> None:
    codecs = (openai_embeddings.codec, one, batch, anthropic_count, gemini_count, openai_count)
    assert {codec.name for codec in codecs} == set(RENAMES)


@pytest.mark.parametrize(
    ("wire", "body", "changed"),
    [
        ("openai_embeddings", {"model": "a", "input": "x"}, {"model": "new", "input": "x"}),
        ("openai_input_tokens", {"input": "x"}, {"input": "x", "model": "new"}),
        ("anthropic_count_tokens", {"model": "a", "messages": []}, {"model": "new", "messages": []}),
        ("gemini_embed_content", {"content": {}}, {"content": {}}),
        ("gemini_embed_content", {"model": "models/a", "content": {}}, {"model": "models/new", "content": {}}),
        (
            "gemini_batch_embed_contents",
            {"requests": [{"model": "models/a", "content": {"parts": []}}, {"content": {}}], "x": 1},
            {"requests": [{"model": "models/new", "content": {"parts": []}}, {"content": {}}], "x": 1},
        ),
        ("gemini_batch_embed_contents", {"requests": "none"}, {"requests": "none"}),
        ("gemini_batch_embed_contents", {"requests": [1, {}]}, {"requests": [1, {}]}),
        ("gemini_batch_embed_contents", {}, {}),
        ("gemini_count_tokens", {"contents": []}, {"contents": []}),
        (
            "gemini_count_tokens",
            {"generateContentRequest": {"model": "models/a", "contents": []}},
            {"generateContentRequest": {"model": "models/new", "contents": []}},
        ),
        (
            "gemini_count_tokens",
            {"generate_content_request": {"model": "models/a"}},
            {"generate_content_request": {"model": "models/new"}},
        ),
        ("gemini_count_tokens", {"generateContentRequest": 1}, {"generateContentRequest": 1}),
    ],
)
def test_where_each_format_has_the_name(wire: str, body: Any, changed: Any) -> None:
    assert json.loads(renamed(wire, json.dumps(body).encode(), "new")) == changed


@given(st.dictionaries(st.text(), ANY_JSON), st.sampled_from(sorted(RENAMES)))
def test_every_other_member_keeps_its_bytes(members: dict[str, Any], wire: str) -> None:
    members = {name: value for name, value in members.items() if name not in ("model", "requests")}
    written = {name: json.dumps(value, ensure_ascii=True, indent=1) for name, value in members.items()}
    body = "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in written.items()) + "}"
    out = renamed(wire, body.encode(), "new").decode()
    assert all(text in out for text in written.values())
