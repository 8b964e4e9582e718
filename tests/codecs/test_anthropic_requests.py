"""Requests of the Messages format: what is refused and how it is named, what is repaired, what is reported as lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from waypost.chat import (
    Citation,
    FileId,
    FunctionTool,
    InlineData,
    Media,
    Message,
    Part,
    Reasoning,
    ReasoningWish,
    Refusal,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
)
from waypost.codecs.anthropic_messages import codec
from waypost.codecs.anthropic_messages.request import encode_request
from waypost.errors import InvalidRequest

HELLO = Message("user", (Text("Hello"),))
TOOL = FunctionTool("f", parameters={"type": "object", "properties": {}})


def request(*messages: Message, **fields: Any) -> Request:
    return Request("claude-x", messages or (HELLO,), **fields)


def encode(asked: Request) -> tuple[dict[str, Any], list[str]]:
    written = codec.encode_request(asked, stream=False)
    return json.loads(written.body), [loss.what for loss in written.losses]


def content(*messages: Message) -> Any:
    return encode(request(*messages))[0]["messages"]


def body(**changes: Any) -> bytes:
    base: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    return json.dumps({name: value for name, value in {**base, **changes}.items() if value is not ...}).encode()


def user(*blocks: Any) -> bytes:
    return body(messages=[{"role": "user", "content": list(blocks)}])


REFUSED: list[tuple[bytes, str]] = [
    (b"", "The request body is not valid JSON"),
    (b"{", "The request body is not valid JSON"),
    (b"\xff\xfe", "The request body is not valid JSON"),
    (b'{"model":NaN}', "The request body is not valid JSON"),
    (b'{"model":"a","model":"b"}', "The request body is not valid JSON"),
    (b"[" * 100_000, "The request body is not valid JSON"),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "The request body is not valid JSON"),
    (b"[]", "Input should be an object"),
    (body(model=...), "model: Field required"),
    (body(model=1), "model: Input should be a string"),
    (body(model=""), "model: String should have"),
    (body(max_tokens=...), "max_tokens: Field required"),
    (body(max_tokens=True), "max_tokens: Input should be an integer"),
    (body(max_tokens=1.5), "max_tokens: Input should be an integer"),
    (body(max_tokens=-1), "max_tokens: Input should be greater"),
    (body(messages=...), "messages: Field required"),
    (body(messages=[]), "messages: at least one message is required"),
    (body(messages="x"), "messages: Input should be a list"),
    (body(messages=[1]), "messages.0: Input should be an object"),
    (body(messages=[{"content": "x"}]), "messages.0.role: Field required"),
    (body(messages=[{"role": "tool", "content": "x"}]), "messages.0.role: Input should be"),
    (body(messages=[{"role": "user"}]), "messages.0.content: Field required"),
    (body(messages=[{"role": "user", "content": 1}]), "messages.0.content: Input should be a string or a list"),
    (body(messages=[{"role": "user", "content": ""}]), "messages.0: all messages must have non-empty content"),
    (user("x"), "messages.0.content.0: Input should be an object"),
    (user({}), "messages.0.content.0.type: Field required"),
    (user({"type": "text"}), "messages.0.content.0.text: Field required"),
    (user({"type": "text", "text": 1}), "messages.0.content.0.text: Input should be a string"),
    (user({"type": "text", "text": "a", "citations": {}}), "messages.0.content.0.citations: Input should be a list"),
    (user({"type": "image"}), "messages.0.content.0.source: Field required"),
    (user({"type": "image", "source": {}}), "messages.0.content.0.source.type: Field required"),
    (
        user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "é!"}}),
        "messages.0.content.0.source.data: Input should be base64",
    ),
    (user({"type": "tool_result"}), "messages.0.content.0.tool_use_id: Field required"),
    (user({"type": "tool_result", "tool_use_id": "a", "content": 1}), "messages.0.content.0.content: Input should be"),
    (
        user({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text"}]}),
        "messages.0.content.0.content.0.text: Field required",
    ),
    (user({"type": "tool_use", "id": "a", "name": "b", "input": "{}"}), "messages.0.content.0.input: Input should be"),
    (user({"type": "thinking", "thinking": "x", "signature": 5}), "messages.0.content.0.signature: Input should be"),
    (body(system=5), "system: Input should be a string or a list"),
    (body(temperature=1.5), "temperature: Input should be between 0 and 1"),
    (body(temperature="1"), "temperature: Input should be a number"),
    (body(top_k="1"), "top_k: Input should be an integer"),
    (body(stop_sequences=["a", 1]), "stop_sequences.1: Input should be a string"),
    (body(stream="yes"), "stream: Input should be true or false"),
    (body(tools=[{"name": "x"}]), "tools.0.input_schema: Field required"),
    (body(tools=[{"input_schema": {}}]), "tools.0.name: Field required"),
    (body(tool_choice={"type": "all"}), "tool_choice.type: Input should be"),
    (body(tool_choice={"type": "tool"}), "tool_choice.name: Field required"),
    (body(thinking={"type": "enabled"}), "thinking.budget_tokens: Field required"),
    (body(metadata={"user_id": 5}), "metadata.user_id: Input should be a string"),
    (body(output_config={"format": {"type": "json_schema"}}), "output_config.format.schema: Field required"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_a_bad_request_is_refused_by_the_path_of_its_fault(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        codec.decode_request(data)
    assert caught.value.message.startswith(message)


def test_the_error_names_the_field_as_its_param() -> None:
    with pytest.raises(InvalidRequest) as caught:
        codec.decode_request(user({"type": "text"}))
    assert caught.value.param == "messages.0.content.0.text"


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        codec.decode_request(body().replace(b'"x"', rb'"\ud83d"'))


def test_a_lone_surrogate_in_a_canonical_text_is_written_as_utf8_and_reported() -> None:
    asked = request(Message("user", (Text("a\ud83d"), ToolCall("c", "f", '{"a":"\ud83d"}'))))
    written = codec.encode_request(asked, stream=False)
    assert "a\ufffd" in written.body.decode()
    assert written.losses


def test_results_of_one_turn_are_a_tool_message_with_the_users_words_after_it() -> None:
    results = [{"type": "tool_result", "tool_use_id": name, "content": name} for name in ("a", "b")]
    decoded = codec.decode_request(user(*results, {"type": "text", "text": "and?"})).request
    assert [message.role for message in decoded.messages] == ["tool", "user"]
    assert len(decoded.messages[0].parts) == 2


def test_one_result_a_message_becomes_one_turn_results_first() -> None:
    """OpenAI's form of a parallel tool loop, with the user's next words."""
    turns = content(
        HELLO,
        Message("assistant", (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))),
        Message("tool", (ToolResult("a", (Text("1"),)),)),
        Message("tool", (ToolResult("b", (Text("2"),)),)),
        Message("user", (Text("and?"),)),
        Message("user", (Text("well?"),)),
    )
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["type"] for block in turns[2]["content"]] == ["tool_result", "tool_result", "text", "text"]
    assert [block.get("tool_use_id") for block in turns[2]["content"][:2]] == ["a", "b"]


def test_a_result_after_the_users_words_moves_before_them_and_that_is_told() -> None:
    later = Message("tool", (ToolResult("a", (Text("1"),)),))
    wire, losses = encode(request(HELLO, later))
    assert [block["type"] for block in wire["messages"][0]["content"]] == ["tool_result", "text"]
    assert losses == ["messages[1].position"]


def test_system_messages_go_to_the_head_and_only_later_ones_are_told() -> None:
    first, second = Message("system", (Text("A"),)), Message("developer", (Text("B"),))
    wire, losses = encode(request(first, second, HELLO))
    assert [block["text"] for block in wire["system"]] == ["A", "B"]
    assert losses == []
    wire, losses = encode(request(first, HELLO, second))
    assert [block["text"] for block in wire["system"]] == ["A", "B"]
    assert losses == ["messages[2].position"]


def test_a_system_prompt_alone_is_sent_as_the_users_words() -> None:
    """Other formats take such a request; here it would be refused."""
    wire, losses = encode(request(Message("system", (Text("Tell a joke."),))))
    assert wire["messages"] == [{"role": "user", "content": "Tell a joke."}]
    assert "system" not in wire
    assert losses == ["messages"]


def test_prefill_stays_the_last_turn() -> None:
    turns = content(HELLO, Message("assistant", (Text("The answer is ("),)))
    assert turns[-1] == {"role": "assistant", "content": "The answer is ("}


def test_empty_text_is_dropped_silently_and_blank_text_is_told() -> None:
    call = ToolCall("a", "f", "{}")
    wire, losses = encode(request(HELLO, Message("assistant", (Text(""), call))))
    assert [block["type"] for block in wire["messages"][1]["content"]] == ["tool_use"]
    assert losses == []
    wire, losses = encode(request(HELLO, Message("assistant", (Text(" \n"),))))
    assert len(wire["messages"]) == 1
    assert losses == ["messages[1].parts[0]", "messages[1]"]


ARGUMENTS: list[tuple[ToolCall, Any, int]] = [
    (ToolCall("a", "f", ""), {}, 0),
    (ToolCall("a", "f", ' {"x": 1} '), {"x": 1}, 0),
    (ToolCall("a", "f", "[1]"), {"_raw_arguments": "[1]"}, 1),
    (ToolCall("a", "f", '{"x": '), {"_raw_arguments": '{"x": '}, 1),
    (ToolCall("a", "f", '{"x": "\\ud800"}'), {"_raw_arguments": '{"x": "\\ud800"}'}, 1),
    (ToolCall("a", "f", "{}" * 2), {"_raw_arguments": "{}{}"}, 1),
    (ToolCall("a", "f", '{"a":' * 300 + "1" + "}" * 300), ..., 1),
]


@pytest.mark.parametrize(("call", "expected", "lost"), ARGUMENTS)
def test_arguments_that_are_no_object_are_wrapped_told_and_come_back(call: ToolCall, expected: Any, lost: int) -> None:
    asked = request(HELLO, Message("assistant", (call,)))
    wire, losses = encode(asked)
    written = wire["messages"][1]["content"][0]["input"]
    assert written == ({"_raw_arguments": call.arguments} if expected is ... else expected)
    assert len(losses) == lost
    back = codec.decode_request(codec.encode_request(asked, stream=False).body).request.messages[1].parts[0]
    assert isinstance(back, ToolCall)
    assert (back.arguments.strip(), back.kind) == (call.arguments.strip() or "{}", call.kind)


WISHES: list[tuple[ReasoningWish, Any, Any, int]] = [
    (ReasoningWish(budget_tokens=2000), {"type": "enabled", "budget_tokens": 2000}, None, 0),
    (ReasoningWish(budget_tokens=10), {"type": "enabled", "budget_tokens": 1024}, None, 1),
    (ReasoningWish(enabled=False), {"type": "disabled"}, None, 0),
    (ReasoningWish(enabled=True), {"type": "adaptive"}, None, 0),
    (ReasoningWish(effort="high"), {"type": "adaptive"}, {"effort": "high"}, 0),
    (ReasoningWish(effort="minimal"), {"type": "adaptive"}, {"effort": "low"}, 1),
    (ReasoningWish(effort="none"), {"type": "disabled"}, None, 0),
    (ReasoningWish(effort="immense"), {"type": "adaptive"}, None, 1),
    (ReasoningWish(), None, None, 0),
]


@pytest.mark.parametrize(("wish", "thinking", "config", "lost"), WISHES)
def test_wishes_to_think(wish: ReasoningWish, thinking: Any, config: Any, lost: int) -> None:
    wire, losses = encode(request(reasoning=wish))
    assert wire.get("thinking") == thinking
    assert wire.get("output_config") == config
    assert len(losses) == lost


def test_max_tokens_is_always_sent_and_stays_over_the_thinking_budget() -> None:
    assert encode(request())[0]["max_tokens"] == 4096
    assert encode(request(reasoning=ReasoningWish(budget_tokens=8000)))[0]["max_tokens"] == 12096
    assert json.loads(encode_request(request(), stream=False, default_max_tokens=7).body)["max_tokens"] == 7


def test_every_effort_of_the_sdk_passes_through() -> None:
    for effort in ("low", "medium", "high", "xhigh", "max"):
        wire, losses = encode(request(reasoning=ReasoningWish(effort=effort)))
        assert wire["output_config"]["effort"] == effort
        assert losses == []


CHOICES: list[tuple[ToolChoice, dict[str, Any]]] = [
    (ToolChoice(), {"type": "auto"}),
    (ToolChoice("required", parallel=True), {"type": "any", "disable_parallel_tool_use": False}),
    (ToolChoice("tool", "f", parallel=False), {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
    (ToolChoice("none"), {"type": "none"}),
]


@pytest.mark.parametrize(("choice", "expected"), CHOICES)
def test_tool_choices_go_both_ways(choice: ToolChoice, expected: dict[str, Any]) -> None:
    asked = request(tools=(TOOL,), tool_choice=choice, sampling=Sampling(max_tokens=1))
    assert encode(asked)[0]["tool_choice"] == expected
    assert codec.decode_request(codec.encode_request(asked, stream=True).body).request == asked


def test_a_tool_choice_without_tools_is_left_out() -> None:
    assert "tool_choice" not in encode(request(tool_choice=ToolChoice("none")))[0]
    assert encode(request(tool_choice=ToolChoice("required")))[1] == ["tool_choice"]


def test_a_tool_without_a_schema_gets_the_one_that_takes_nothing() -> None:
    wire, losses = encode(request(tools=(FunctionTool("f"), FunctionTool("g", parameters={"properties": {}}))))
    assert [tool["input_schema"] for tool in wire["tools"]] == [{"type": "object", "properties": {}}] * 2
    assert losses == []


LOST: list[tuple[dict[str, Any], str]] = [
    ({"sampling": Sampling(seed=1)}, "sampling.seed"),
    ({"sampling": Sampling(presence_penalty=1.0)}, "sampling.presence_penalty"),
    ({"sampling": Sampling(frequency_penalty=1.0)}, "sampling.frequency_penalty"),
    ({"sampling": Sampling(choices=2)}, "sampling.choices"),
    ({"sampling": Sampling(temperature=1.7)}, "sampling.temperature"),
    ({"sampling": Sampling(temperature=float("nan"))}, "sampling.temperature"),
    ({"sampling": Sampling(stop_sequences=("\n\n",))}, "sampling.stop_sequences"),
    ({"response_format": ResponseFormat("json_object")}, "response_format"),
    ({"response_format": ResponseFormat("json_schema", {}, name="x")}, "response_format.name"),
    ({"response_format": ResponseFormat("json_schema", {}, strict=False)}, "response_format.strict"),
    ({"provider_options": {"openai": {"logprobs": True}}}, "provider_options[openai]"),
    ({"tools": (Unknown("openai_chat", {"type": "custom"}),)}, "tools[0]"),
    ({"tools": (FunctionTool("f", opaque={"openai": {"x": 1}}),)}, "tools[0].opaque[openai]"),
]


@pytest.mark.parametrize(("fields", "what"), LOST, ids=[what for _, what in LOST])
def test_what_this_format_cannot_carry_of_a_request_is_told(fields: dict[str, Any], what: str) -> None:
    assert what in encode(request(**fields))[1]


PARTS_LOST: list[tuple[Part, str]] = [
    (Reasoning("hm"), ""),
    (Reasoning("", {"openai": {"encrypted": "x"}}), ""),
    (Refusal("no"), ""),
    (Text("a", (Citation("openai_chat", {}),)), ".citations"),
    (Text("a", opaque={"openai": {"x": 1}}), ".opaque[openai]"),
    (Media("audio", InlineData(b"x", "audio/wav")), ""),
    (Media("image", Url("https://example.org/x"), detail="low"), ".detail"),
    (Media("image", Url("https://example.org/x"), name="x"), ".name"),
    (Media("document", InlineData(b"# x", "text/markdown")), ".source.media_type"),
    (Unknown("openai_chat", {"type": "input_audio"}), ""),
    (ToolResult("a", (Text("x"),), name="f"), ".name"),
]


@pytest.mark.parametrize(("part", "what"), PARTS_LOST)
def test_what_this_format_cannot_carry_of_a_part_is_told(part: Part, what: str) -> None:
    assert f"messages[1].parts[0]{what}" in encode(request(HELLO, Message("assistant", (part,))))[1]


def test_a_speakers_name_is_told_as_lost() -> None:
    assert encode(request(Message("user", (Text("x"),), name="Ann")))[1] == ["messages[0].name"]


def test_system_prompts_are_text_only() -> None:
    image = Media("image", FileId("f"))
    wire, losses = encode(request(Message("system", (Text("A"), image)), HELLO))
    assert wire["system"] == "A"
    assert losses == ["messages[0].parts[1]"]


def test_options_win_over_what_is_derived_and_none_leaves_a_member_out() -> None:
    options = {"anthropic": {"thinking": None, "service_tier": "auto"}}
    wire, _ = encode(request(reasoning=ReasoningWish(enabled=True), provider_options=options))
    assert "thinking" not in wire
    assert wire["service_tier"] == "auto"


def test_text_documents_that_are_no_utf8_go_as_bytes() -> None:
    source = content(Message("user", (Media("document", InlineData(b"\xff", "text/plain")),)))[0]["content"][0][
        "source"
    ]
    assert source == {"type": "base64", "media_type": "text/plain", "data": "/w=="}
