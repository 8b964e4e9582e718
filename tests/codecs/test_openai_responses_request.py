"""Requests: what each wire form means, what is moved or lost on the way out, and how bad input is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from waypost.chat import (
    Citation,
    CustomTool,
    FileId,
    FunctionTool,
    InlineData,
    Media,
    Message,
    Reasoning,
    ReasoningWish,
    Refusal,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    ServerTool,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
)
from waypost.codecs.openai_chat import codec as chat
from waypost.codecs.openai_responses import codec, needs_storage
from waypost.errors import InvalidRequest

WIRE = "openai_responses"
PNG = Media("image", InlineData(b"\x89PNG", "image/png"))
HELLO = (Message("user", (Text("hello"),)),)
SDK_REQUEST: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)


def decode(**members: Any) -> Request:
    return codec.decode_request(json.dumps({"model": "m", "input": "hello", **members}).encode()).request


def decode_items(*items: Any) -> tuple[Message, ...]:
    return decode(input=list(items)).messages


def encode(*messages: Message, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    """The wire body, and what was lost."""
    encoded = codec.encode_request(Request("m", messages or HELLO, **fields), stream=False)
    return json.loads(encoded.body), [loss.what for loss in encoded.losses]


def own(**data: Any) -> dict[str, dict[str, Any]]:
    return {WIRE: data}


def test_a_string_is_one_message_of_the_user_and_instructions_lead() -> None:
    request = decode(instructions="Be brief.")
    assert request.messages == (Message("system", (Text("Be brief."),)), *HELLO)
    wire, lost = encode(*request.messages)
    assert wire["instructions"] == "Be brief."
    assert wire["input"] == [{"type": "message", "role": "user", "content": "hello"}]
    assert lost == []


def test_a_system_message_in_the_input_stays_there() -> None:
    """It is told apart from instructions, also if both are there; a developer's is never instructions."""
    said = {"type": "message", "role": "system", "content": "a"}
    body = [said, {"type": "message", "role": "user", "content": "b"}]
    assert encode(*decode_items(*body))[0]["input"] == body
    both = decode(instructions="i", input=body)
    assert encode(*both.messages)[0] == {"model": "m", "instructions": "i", "input": body}
    assert "instructions" not in encode(Message("developer", (Text("d"),)), *HELLO)[0]
    assert encode(Message("system", (Text("s"),)), *HELLO)[0]["instructions"] == "s"


@pytest.mark.parametrize(
    ("part", "canonical"),
    [
        ({"type": "input_text", "text": "a"}, Text("a")),
        ({"type": "input_text", "text": "a", "x": 1}, Text("a", (), own(x=1))),
        ({"type": "input_image", "image_url": "data:image/png;base64,iVBORw==", "detail": "auto"}, PNG),
        (
            {"type": "input_image", "image_url": "https://h/x", "detail": "high"},
            Media("image", Url("https://h/x"), detail="high"),
        ),
        ({"type": "input_image", "file_id": "file-1"}, Media("image", FileId("file-1"))),
        ({"type": "input_file", "file_id": "file-1"}, Media("document", FileId("file-1"))),
        ({"type": "input_file", "file_url": "https://h/a.pdf"}, Media("document", Url("https://h/a.pdf"))),
        (
            {"type": "input_file", "file_data": "AAE=", "filename": "a.csv"},
            Media("document", InlineData(b"\0\1", "text/csv"), "a.csv"),
        ),
        (
            {"type": "input_file", "file_data": "data:application/pdf;base64,AAE="},
            Media("document", InlineData(b"\0\1", "application/pdf")),
        ),
        ({"type": "x_future", "x": 1}, Unknown(WIRE, {"type": "x_future", "x": 1})),
    ],
)
def test_content_parts_mean(part: dict[str, Any], canonical: Any) -> None:
    assert decode_items({"role": "user", "content": [part]})[0].parts == (canonical,)


def test_the_items_of_the_models_side_are_one_assistant_message() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    future = {"type": "x_future", "id": "x_1"}
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
        {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "a"}]},
        {"role": "assistant", "content": "b"},
        search,
        future,
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x = 1"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
    ]
    messages = decode_items(*items)
    assert messages == (
        Message(
            "assistant",
            (
                Reasoning("", own(id="rs_1", item={"encrypted_content": "e"})),
                Text("a", (), own(id="msg_1")),
                Text("b"),
                ServerTool(WIRE, search),
                Unknown(WIRE, future),
                ToolCall("c1", "f", "{}"),
                ToolCall("c2", "g", "x = 1", "custom"),
            ),
        ),
        Message("tool", (ToolResult("c1", (Text("1"),)),)),
    )


def test_results_of_custom_tools_are_known_by_their_call() -> None:
    """By the call in the request, whatever format it came from, or by a mark where the call is elsewhere."""
    call = Message("assistant", (ToolCall("c1", "g", "x", "custom"),))
    result = Message("tool", (ToolResult("c1", (Text("1"),)),))
    assert encode(call, result)[0]["input"][1]["type"] == "custom_tool_call_output"
    assert encode(result)[0]["input"][0]["type"] == "function_call_output"
    alone = {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"}
    assert encode(*decode_items(alone))[0]["input"] == [alone]


def test_results_and_words_in_one_message_become_items_in_this_order() -> None:
    """Anthropic's way, parallel results and text in one message of the user."""
    message = Message("user", (ToolResult("a", (Text("18"), PNG)), ToolResult("b", ()), Text("go on")))
    image = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw=="}
    wire, lost = encode(message)
    assert wire["input"] == [
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "18"}, image]},
        {"type": "function_call_output", "call_id": "b", "output": ""},
        {"type": "message", "role": "user", "content": "go on"},
    ]
    assert lost == []


def test_an_assistants_words_of_another_format_need_no_id() -> None:
    """The long form of a message requires an id, which only the provider can give: the short one takes a string."""
    wire, lost = encode(*HELLO, Message("assistant", (Text("a"), Text("b"), ToolCall("c", "f", ""))), *HELLO)
    assert wire["input"][1:4] == [
        {"type": "message", "role": "assistant", "content": "a"},
        {"type": "message", "role": "assistant", "content": "b"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    assert lost == []
    SDK_REQUEST.validate_python(wire)


SIGNED = {"anthropic": {"signature": "s"}}


@pytest.mark.parametrize(
    ("role", "part", "what"),
    [
        ("user", Text("t", opaque={"anthropic": {"cache_control": {}}}), "opaque.anthropic.cache_control"),
        ("user", Text("t", opaque={"openai": {"cache_control": {}}}), "opaque.openai.cache_control"),
        ("assistant", ToolCall("c", "f", "{}", opaque={"openai": {"extra_content": 1}}), "opaque.openai.extra_content"),
        ("assistant", Reasoning("t", SIGNED), "opaque.anthropic.signature"),
        ("assistant", Reasoning("t"), "Reasoning"),
        ("assistant", Text("t", (Citation("anthropic_messages", {}),)), "Text.citations.anthropic_messages"),
        ("assistant", PNG, "Media in an assistant's message"),
        ("user", Text("t", (Citation(WIRE, {}),)), "Text.citations"),
        ("user", Media("audio", InlineData(b"", "audio/wav")), "Media.audio"),
        ("user", Unknown("anthropic_messages", {"type": "x"}), "Unknown.anthropic_messages"),
        ("assistant", Unknown("openai_chat", {"type": "x"}), "Unknown.openai_chat"),
        ("assistant", ServerTool("anthropic_messages", {}), "ServerTool.anthropic_messages"),
        ("tool", ToolResult("c", (), is_error=True), "ToolResult.is_error"),
        ("tool", ToolResult("c", (), "f"), "ToolResult.name"),
        ("user", ToolCall("c", "f", "{}"), "ToolCall in another role's message"),
    ],
)
def test_what_a_message_cannot_carry_is_listed_once(role: Role, part: Any, what: str) -> None:
    lost = encode(*HELLO, Message(role, (part, part)))[1]
    assert what in lost
    assert len(lost) == len(set(lost))


def test_a_message_of_which_nothing_is_left_is_not_sent() -> None:
    wire, lost = encode(*HELLO, Message("user", (Unknown("gemini", {}),), "ada"))
    assert len(wire["input"]) == 1
    assert lost == ["Message.name", "Unknown.gemini"]


SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("fields", "wire", "lost"),
    [
        ({"sampling": Sampling(50, 0.5, 0.9)}, {"max_output_tokens": 50, "temperature": 0.5, "top_p": 0.9}, []),
        ({"sampling": Sampling(5)}, {"max_output_tokens": 16}, ["max_tokens"]),
        ({"sampling": Sampling(choices=1)}, {}, []),
        (
            {"sampling": Sampling(top_k=5, stop_sequences=("a",), seed=0, presence_penalty=0, choices=2)},
            {},
            ["top_k", "stop_sequences", "seed", "presence_penalty", "choices"],
        ),
        ({"sampling": Sampling(frequency_penalty=1)}, {}, ["frequency_penalty"]),
        ({"reasoning": ReasoningWish(effort="high")}, {"reasoning": {"effort": "high"}}, []),
        (
            {"reasoning": ReasoningWish(budget_tokens=4096)},
            {"reasoning": {"effort": "medium"}},
            ["reasoning.budget_tokens"],
        ),
        ({"reasoning": ReasoningWish(enabled=True)}, {}, ["reasoning.enabled"]),
        ({"tool_choice": ToolChoice("none", parallel=True)}, {"tool_choice": "none", "parallel_tool_calls": True}, []),
        ({"tool_choice": ToolChoice("required")}, {}, ["tool_choice"]),
        ({"tools": (Unknown("anthropic_messages", {}),)}, {}, ["tools.anthropic_messages"]),
        ({"response_format": ResponseFormat("json_object")}, {"text": {"format": {"type": "json_object"}}}, []),
        (
            {"response_format": ResponseFormat("json_schema", SCHEMA)},
            {"text": {"format": {"type": "json_schema", "name": "response", "schema": SCHEMA}}},
            [],
        ),
        ({"end_user_id": "u"}, {"safety_identifier": "u"}, []),
        ({"provider_options": {"openai": {"store": True, "model": "other", "input": "x"}}}, {"store": True}, []),
        ({"provider_options": {WIRE: {"truncation": "auto"}}}, {"truncation": "auto"}, []),
        ({"provider_options": {"openai": {"stream_options": {}}}}, {}, []),
        ({"provider_options": {"anthropic": {"thinking": {}}}}, {}, ["provider_options.anthropic.thinking"]),
        ({"provider_options": {"openai": {"logit_bias": {}}}}, {}, ["provider_options.openai.logit_bias"]),
        (
            {"provider_options": {"openai": {"logprobs": True, "top_logprobs": 2}}},
            {"top_logprobs": 2, "include": ["message.output_text.logprobs"]},
            [],
        ),
        ({"provider_options": {"openai": {"verbosity": "low"}}}, {"text": {"verbosity": "low"}}, []),
    ],
)
def test_settings_are_written_or_listed(fields: dict[str, Any], wire: dict[str, Any], lost: list[str]) -> None:
    body, losses = encode(**fields)
    assert {name: body[name] for name in body if name not in ("model", "input")} == wire
    assert body["model"] == "m"
    assert [what.removeprefix("sampling.") for what in losses] == lost


def test_a_function_of_another_format_stays_unstrict() -> None:
    """Unsaid means strict to this format and not strict to the others: the caller's meaning is written."""
    assert encode(tools=(FunctionTool("f"),))[0]["tools"] == [
        {"type": "function", "name": "f", "parameters": None, "strict": False}
    ]
    unsaid = {"type": "function", "name": "f", "parameters": SCHEMA, "defer_loading": True}
    request = decode(tools=[unsaid])
    assert request.tools == (FunctionTool("f", None, SCHEMA, None, own(defer_loading=True, strict="unsaid")),)
    assert encode(tools=request.tools)[0]["tools"] == [{**unsaid, "strict": None}]


@pytest.mark.parametrize("form", [{"type": "text"}, {"type": "grammar", "syntax": "regex", "definition": "a+"}])
def test_a_custom_tool_reaches_chat_completions_and_comes_back(form: dict[str, Any]) -> None:
    tool = {"type": "custom", "name": "g", "description": "d", "format": form}
    request = decode(tools=[tool])
    encoded = chat.encode_request(request, stream=False)
    assert encoded.losses == ()
    again = chat.decode_request(encoded.body).request
    assert encode(tools=again.tools)[0]["tools"] == [tool]
    only_here = {"type": "custom", "name": "g", "defer_loading": True}
    assert decode(tools=[only_here]).tools == (CustomTool("g", opaque=own(defer_loading=True)),)


def test_choices_of_tools_mean() -> None:
    assert decode(tool_choice="required", parallel_tool_calls=True).tool_choice == ToolChoice("required", parallel=True)
    assert decode(tool_choice={"type": "function", "name": "f"}).tool_choice == ToolChoice("tool", "f")
    assert decode(parallel_tool_calls=False).tool_choice == ToolChoice("auto", parallel=False)
    custom = {"type": "custom", "name": "g"}
    asked = decode(tools=[custom], tool_choice=custom)
    assert asked.tool_choice == ToolChoice("tool", "g")
    assert encode(tools=asked.tools, tool_choice=asked.tool_choice)[0]["tool_choice"] == custom
    for only_here in ({"type": "web_search"}, {"type": "mcp", "server_label": "x"}):
        request = decode(tool_choice=only_here, parallel_tool_calls=False)
        assert request.provider_options == {WIRE: {"tool_choice": only_here}}
        wire, lost = encode(tool_choice=request.tool_choice, provider_options=request.provider_options)
        assert (wire["tool_choice"], wire["parallel_tool_calls"], lost) == (only_here, False, [])


def test_what_is_said_beside_a_known_setting_goes_back() -> None:
    request = decode(
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "x_future"}, "verbosity": "low", "x": 1},
        user="a",
        safety_identifier="b",
    )
    assert request.reasoning == ReasoningWish(effort="low")
    assert request.end_user_id == "b"
    assert request.provider_options == {
        "openai": {"user": "a", "verbosity": "low"},
        WIRE: {"reasoning": {"summary": "auto"}, "text": {"format": {"type": "x_future"}, "x": 1}},
    }
    wire = json.loads(codec.encode_request(request, stream=False).body)
    assert wire["reasoning"] == {"effort": "low", "summary": "auto"}
    assert wire["text"] == {"format": {"type": "x_future"}, "verbosity": "low", "x": 1}
    assert (wire["user"], wire["safety_identifier"]) == ("a", "b")
    assert decode(reasoning={"summary": "auto"}).reasoning is None


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({}, None),
        ({"store": True}, None),
        ({"background": False}, None),
        ({"background": True}, "background"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "item_reference"),
    ],
)
def test_a_request_that_needs_storage_names_the_field(members: dict[str, Any], field: str | None) -> None:
    assert needs_storage(decode(**members)) == field


def test_input_may_be_elsewhere() -> None:
    body = b'{"model":"m","previous_response_id":"resp_1"}'
    assert codec.decode_request(body).request.messages == ()
    assert json.loads(codec.encode_request(codec.decode_request(body).request, stream=True).body) == {
        "model": "m",
        "input": [],
        "previous_response_id": "resp_1",
        "stream": True,
    }


def content(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model must be a string."),
    ({"model": ""}, "model must not be empty."),
    ({"input": None}, "input must be a string or a list."),
    ({"input": 5}, "input must be a string or a list."),
    ({"input": {}, "previous_response_id": "r"}, "input must be a string or a list."),
    ({"input": []}, "input must have at least one item."),
    ({"input": ["hi"]}, "input[0] must be an object."),
    ({"input": [{"content": "a"}]}, "input[0].role must be a string."),
    (
        {"input": [{"role": "robot", "content": "a"}]},
        "input[0].role must be one of user, system, developer, assistant.",
    ),
    ({"input": [{"role": "user"}]}, "input[0].content must be a string or a list."),
    ({"input": [{"role": "assistant", "content": 5}]}, "input[0].content must be a string or a list."),
    (content("a"), "input[0].content[0] must be an object."),
    (content({"type": "input_text"}), "input[0].content[0].text must be a string."),
    (content({"type": "input_image"}), "input[0].content[0] must have image_url or file_id."),
    (
        content({"type": "input_image", "image_url": "data:image/png;base64,&"}),
        "input[0].content[0].image_url must be valid base64.",
    ),
    (content({"type": "input_file"}), "input[0].content[0] must have file_id, file_url or file_data."),
    (content({"type": "input_file", "file_data": "&"}), "input[0].content[0].file_data must be valid base64."),
    ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name must be a string."),
    ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id must be a string."),
    ({"input": [{"type": "function_call_output", "output": ""}]}, "input[0].call_id must be a string."),
    ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output must be a string or a list."),
    ({"input": [{"type": "reasoning", "summary": "a"}]}, "input[0].summary must be a list."),
    ({"input": [{"type": "reasoning", "summary": [{}]}]}, "input[0].summary[0].text must be a string."),
    ({"instructions": 5}, "instructions must be a string."),
    ({"tools": [{"type": "function"}]}, "tools[0].name must be a string."),
    ({"tools": [{"name": "f"}]}, "tools[0].type must be a string."),
    ({"tool_choice": 5}, "tool_choice must be an object."),
    ({"tool_choice": {"type": "function"}}, "tool_choice.name must be a string."),
    ({"temperature": "hot"}, "temperature must be a number."),
    ({"max_output_tokens": 0}, "max_output_tokens must be from 1 to"),
    ({"stream": "yes"}, "stream must be true or false."),
    ({"text": "json"}, "text must be an object."),
    ({"text": {"format": "json"}}, "text.format must be an object."),
    ({"text": {"format": {"type": "json_schema", "schema": 1}}}, "text.format.schema must be an object."),
    ({"reasoning": "high"}, "reasoning must be an object."),
    ({"reasoning": {"effort": 3}}, "reasoning.effort must be a string."),
    ({"user": 3}, "user must be a string."),
]


@pytest.mark.parametrize(("members", "told"), BAD)
def test_bad_input_is_refused_with_its_place(members: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(**members)
    assert caught.value.message.startswith(told)
    assert caught.value.param == told.split(" ")[0]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"model":"a","model":"b"}', b"[" * 10**5, b'{"a":"\\ud800"}'])
def test_a_body_that_is_no_sound_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="The body is not valid JSON"):
        codec.decode_request(body)


def test_half_a_surrogate_pair_is_sent_as_a_replacement_and_listed() -> None:
    body, lost = encode(Message("user", (Text("a\ud800b"),)))
    assert body["input"][0]["content"] == "a\ufffdb"
    assert lost == ["lone surrogates"]


def test_a_refusal_and_an_unknown_piece_of_a_message_go_back() -> None:
    """A piece of a kind no version knows is kept with a message around it."""
    piece = {"type": "x_piece", "x": 1}
    text = {"type": "output_text", "text": "a", "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text, piece]}
    parts = decode_items(item)[0].parts
    assert parts[0] == Text("a", (), own(id="msg_1", item={"status": "completed"}))
    wire = encode(Message("assistant", (*parts, Refusal("no"))))[0]["input"]
    assert wire == [
        {**item, "content": [text]},
        {"type": "message", "role": "assistant", "content": [piece]},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]
