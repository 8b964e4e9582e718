"""What is sent to vendors fits the schemas that they publish, which the package llm-comply carries as OpenAPI.

The documents are older than the vendors' SDKs; what they do not know yet is listed in NEWER, and no longer than that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]
from tests.codecs.damage import CODECS, FIXTURES
from tests.codecs.strategies import (
    Shape,
    function_tools,
    images,
    names,
    requests,
    response_formats,
    samplings,
    texts,
    tool_arguments,
    tool_choices,
)

from waypost.chat import (
    EmbeddingRequest,
    Message,
    Reasoning,
    ReasoningWish,
    Request,
    Text,
    ToolCall,
    ToolResult,
)
from waypost.codecs.anthropic_messages.count import count_codec
from waypost.codecs.openai_embeddings import codec as embeddings

SCHEMAS = {
    "openai_chat": ("openai_chat.json", "CreateChatCompletionRequest"),
    "openai_responses": ("openresponses.json", "CreateResponseBody"),
    "anthropic_messages": ("anthropic.json", "BetaCreateMessageParams"),
    "anthropic_count_tokens": ("anthropic.json", "CountMessageTokensParams"),
    "openai_embeddings": ("openai_chat.json", "CreateEmbeddingRequest"),
}
FORMATS = ["openai_chat", "openai_responses", "anthropic_messages"]
CASES = [str(path.relative_to(FIXTURES)) for path in sorted(FIXTURES.glob("*/*.request.json"))]


@cache
def validator(name: str) -> Draft202012Validator:
    file, schema = SCHEMAS[name]
    document = json.loads((files("llm_comply.specs") / file).read_bytes())
    components = adapted(document["components"])
    return Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": components})


def adapted(schema: Any) -> Any:
    """OpenAPI's own words in JSON schema's: `nullable`, and kinds told apart by a member, which may overlap here."""
    if isinstance(schema, list):
        return [adapted(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {("anyOf" if name == "oneOf" else name): adapted(item) for name, item in schema.items()}
    return {"anyOf": [inner, {"type": "null"}]} if inner.pop("nullable", None) is True else inner


def complaint(name: str, body: bytes) -> str | None:
    """Where the body does not fit, and why."""
    error = best_match(validator(name).iter_errors(json.loads(body)))
    return None if error is None else f"{error.json_path}: {error.message[:300]}"


NEWER: dict[tuple[str, str], str] = {
    ("openai_chat", "anthropic_messages/effort_only.request.json"): "the effort none",
    ("openai_chat", "openai_chat/images.request.json"): "files in a message",
    ("openai_chat", "openai_chat/structured.request.json"): "a choice of allowed tools",
    ("openai_chat", "openai_chat/tools.request.json"): "custom tools",
    ("openai_chat", "openai_responses/tools.request.json"): "custom tools",
    ("openai_responses", "openai_chat/tools.request.json"): "custom tools, which Open Responses leaves out",
    ("openai_responses", "openai_responses/media.request.json"): "an image's file id, which Open Responses leaves out",
    ("openai_responses", "openai_responses/tools.request.json"): "custom tools, which Open Responses leaves out",
    (
        "anthropic_messages",
        "anthropic_messages/effort_only.request.json",
    ): "a member of metadata that the case makes up",
    ("anthropic_messages", "anthropic_messages/media.request.json"): "a member of an image that the case makes up",
}
"""What no carried schema knows: the format that is written, the case, and what is in it."""

calls = st.builds(ToolCall, names(), names(), tool_arguments())
visible = texts().filter(lambda text: text.strip() != "")


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Turns as an application has them: a system prompt, questions with images, calls with results, a last question."""
    messages = [Message("system", (Text(draw(visible)),))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        messages.append(Message("user", (Text(draw(visible)), *draw(st.lists(images(), max_size=1)))))
        made = draw(st.lists(calls, max_size=2, unique_by=lambda call: call.call_id))
        thought = draw(st.lists(st.builds(Reasoning, visible), max_size=1))
        messages.append(Message("assistant", (*thought, Text(draw(visible)), *made)))
        messages += [Message("tool", (ToolResult(call.call_id, (Text(draw(visible)),)),)) for call in made]
    return (*messages, Message("user", (Text(draw(visible)),)))


@st.composite
def whole_requests(draw: st.DrawFn) -> Request:
    wishes = st.builds(ReasoningWish, effort=st.sampled_from(["low", "medium", "high"]))
    shape = Shape(
        messages=st.just(Message("user", (Text("Hello"),))),
        tools=function_tools(),
        tool_choices=tool_choices(),
        samplings=samplings(
            top_p=st.none() | st.floats(0, 1),
            max_tokens=st.none() | st.integers(1024, 4096),
            choices=st.none() | st.integers(1, 3),
        ),
        reasonings=st.none() | wishes,
        formats=response_formats(),
    )
    request = draw(requests(shape))
    return Request(
        request.model,
        draw(conversations()),
        request.tools,
        request.tool_choice,
        request.sampling,
        request.reasoning,
        request.response_format,
        request.end_user_id,
    )


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(request=whole_requests(), stream=st.booleans())
def test_a_request_fits_the_vendors_schema(name: str, request: Request, stream: bool) -> None:
    form = request.response_format
    if name == "openai_responses" and form is not None and form.kind == "json_object":
        request = replace(request, response_format=None)  # Open Responses leaves it out; OpenAI has it
    assert complaint(name, CODECS[name].encode_request(request, stream=stream).body) is None


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_a_request_from_any_format_fits_the_vendors_schema(case: str, name: str) -> None:
    source = CODECS[Path(case).parent.name]
    request = source.decode_request((FIXTURES / case).read_bytes()).request
    found = complaint(name, CODECS[name].encode_request(request, stream=False).body)
    assert (found is None) is ((name, case) not in NEWER), found


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(request=whole_requests())
def test_a_request_to_count_fits_the_vendors_schema(request: Request) -> None:
    assert complaint("anthropic_count_tokens", count_codec.encode_request(request).body) is None


@settings(max_examples=30, deadline=None)
@given(
    st.lists(visible, min_size=1, max_size=3).map(tuple) | st.just(((1, 2), (3,))),
    st.none() | st.integers(1, 3072),
    st.sampled_from([None, "float", "base64"]),
)
def test_a_request_for_embeddings_fits_the_vendors_schema(inputs: Any, dimensions: Any, encoding: Any) -> None:
    request = EmbeddingRequest("text-embedding-3-small", inputs, dimensions, encoding, "u")
    assert complaint("openai_embeddings", embeddings.encode_request(request).body) is None


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "openai_chat": lambda body: body.pop("messages"),
    "openai_responses": lambda body: body.update(max_output_tokens="many"),
    "anthropic_messages": lambda body: body.pop("max_tokens"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_schema_refuses_what_does_not_fit(name: str) -> None:
    """Else the tests above would say nothing."""
    request = Request("m", (Message("user", (Text("Hello"),)),))
    body = json.loads(CODECS[name].encode_request(request, stream=False).body)
    BROKEN[name](body)
    assert complaint(name, json.dumps(body).encode())
