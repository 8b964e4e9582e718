"""Requests: what each wire form means, what is moved or lost on the way out, and how bad input is refused."""

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
from waypost.codecs.openai_chat import codec, compatible_codec
from waypost.errors import InvalidRequest

PNG = Media("image", InlineData(b"\x89PNG", "image/png"))
HELLO = (Message("user", (Text("hello"),)),)


def decode(**members: Any) -> Request:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **members}
    return codec.decode_request(json.dumps(body).encode()).request


def decode_message(**members: Any) -> Message:
    return decode(messages=[members]).messages[0]


def encode(*messages: Message, compatible: bool = False, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    """The wire body, and what was lost."""
    chosen = compatible_codec if compatible else codec
    encoded = chosen.encode_request(Request("m", messages or HELLO, **fields), stream=False)
    return json.loads(encoded.body), [loss.what for loss in encoded.losses]


@pytest.mark.parametrize(
    ("part", "canonical"),
    [
        ({"type": "text", "text": "a"}, Text("a")),
        (
            {"type": "text", "text": "a", "cache_control": {"x": 1}},
            Text("a", (), {"openai": {"cache_control": {"x": 1}}}),
        ),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}, PNG),
        ({"type": "image_url", "image_url": {"url": "DATA:,a%20b"}}, Media("image", InlineData(b"a b", "text/plain"))),
        (
            {"type": "image_url", "image_url": {"url": "https://h/x", "detail": "high", "fps": 2}},
            Media("image", Url("https://h/x"), detail="high", opaque={"openai": {"image_url": {"fps": 2}}}),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAE=", "format": "mp3"}},
            Media("audio", InlineData(b"\0\1", "audio/mpeg")),
        ),
        ({"type": "file", "file": {"file_id": "file-1"}}, Media("document", FileId("file-1"))),
        (
            {"type": "file", "file": {"file_data": "AAE=", "filename": "a.csv"}},
            Media("document", InlineData(b"\0\1", "text/csv"), "a.csv"),
        ),
        ({"type": "file", "file": {"file_data": "https://h/a.pdf"}}, Media("document", Url("https://h/a.pdf"))),
        (
            {"type": "video_url", "video_url": {"url": "u"}},
            Unknown("openai_chat", {"type": "video_url", "video_url": {"url": "u"}}),
        ),
    ],
)
def test_content_parts_mean(part: dict[str, Any], canonical: Any) -> None:
    assert decode_message(role="user", content=[part]).parts == (canonical,)


def test_an_assistant_message_has_reasoning_content_refusal_and_calls_in_this_order() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"g": "s"}}
    future = {"id": "c2", "type": "x_future", "x_future": 1}
    message = decode_message(
        role="assistant",
        content=[{"type": "text", "text": "a"}],
        refusal="no",
        reasoning_content="hm",
        tool_calls=[call, future],
        audio={"id": "audio_1"},
        name="bot",
    )
    assert message.parts == (
        Reasoning("hm"),
        Text("a"),
        Refusal("no"),
        ToolCall("c1", "f", "{}", opaque={"openai": {"extra_content": {"g": "s"}}}),
        ServerTool("openai_chat", future),
    )
    assert message.name == "bot"
    assert message.opaque == {"openai": {"audio": {"id": "audio_1"}}}
    wire, lost = encode(message)
    assert wire["messages"][0]["tool_calls"] == [call, future]
    assert wire["messages"][0]["audio"] == {"id": "audio_1"}
    assert lost == ["Reasoning"]
    assert encode(message, compatible=True)[0]["messages"][0]["reasoning_content"] == "hm"


def test_reasoning_of_another_name_is_read_once() -> None:
    assert decode_message(role="assistant", content="a", reasoning="hm").parts == (Reasoning("hm"), Text("a"))
    both = decode_message(role="assistant", content="a", reasoning="hm", reasoning_content="hm")
    assert both.parts == (Reasoning("hm"), Text("a"))


def test_empty_content_beside_tool_calls_is_no_text() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert decode_message(role="assistant", content="", tool_calls=[call]).parts == (ToolCall("c1", "f", ""),)


def test_tool_results_in_a_user_message_become_tool_messages_before_it() -> None:
    """Anthropic's way, parallel results and text in one message: the results first, then the pictures and the text."""
    results = (
        ToolResult("a", (Text("18"), PNG)),
        ToolResult("b", (PNG,)),
        Text("go on"),
    )
    wire, lost = encode(Message("user", results))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
    assert wire["messages"] == [
        {"role": "tool", "tool_call_id": "a", "content": "18"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "user", "content": [image, image, {"type": "text", "text": "go on"}]},
    ]
    assert lost == []


def test_pictures_of_tool_messages_wait_for_the_last_result_of_the_turn() -> None:
    """Tool messages must follow their calls without a gap, so the user message with the pictures comes after all."""
    wire, _ = encode(
        Message("tool", (ToolResult("a", (PNG,)),)),
        Message("tool", (ToolResult("b", (Text("x"),)),)),
        Message("assistant", (Text("ok"),)),
    )
    assert [message["role"] for message in wire["messages"]] == ["tool", "tool", "user", "assistant"]
    at_end, _ = encode(Message("tool", (ToolResult("a", (PNG,)),)))
    assert [message["role"] for message in at_end["messages"]] == ["tool", "user"]


SIGNED = {"anthropic": {"signature": "s"}}
CITED = Text("t", (Citation("anthropic_messages", {}),))


@pytest.mark.parametrize(
    ("role", "part", "what"),
    [
        ("user", Text("t", opaque={"anthropic": {"cache_control": {}}}), "opaque.anthropic.cache_control"),
        ("assistant", Reasoning("t", SIGNED), "opaque.anthropic.signature"),
        ("assistant", Reasoning("t"), "Reasoning"),
        ("assistant", CITED, "Text.citations"),
        ("user", Media("image", FileId("f")), "Media.image.FileId"),
        ("user", Media("audio", Url("u")), "Media.audio.Url"),
        ("user", Media("document", Url("u")), "Media.document.Url"),
        ("user", Unknown("anthropic_messages", {"type": "x"}), "Unknown.anthropic_messages"),
        ("assistant", ServerTool("anthropic_messages", {}), "ServerTool.anthropic_messages"),
        ("tool", ToolResult("c", (), is_error=True), "ToolResult.is_error"),
        ("user", ToolCall("c", "f", "{}"), "ToolCall in another role's message"),
    ],
)
def test_what_a_message_cannot_carry_is_listed(role: Role, part: Any, what: str) -> None:
    assert what in encode(Message(role, (part, part)))[1]
    assert len(encode(Message(role, (part, part)))[1]) == len(set(encode(Message(role, (part, part)))[1]))


def test_parts_out_of_the_formats_order_are_listed() -> None:
    message = Message("assistant", (ToolCall("c", "f", "{}"), Text("after")))
    assert encode(message)[1] == ["order of parts"]


@pytest.mark.parametrize(
    ("fields", "wire", "lost"),
    [
        ({"sampling": Sampling(top_k=5)}, {}, ["sampling.top_k"]),
        ({"sampling": Sampling(max_tokens=5)}, {"max_completion_tokens": 5}, []),
        ({"sampling": Sampling(stop_sequences=("a",))}, {"stop": ["a"]}, []),
        ({"reasoning": ReasoningWish(effort="high")}, {"reasoning_effort": "high"}, []),
        ({"reasoning": ReasoningWish(budget_tokens=4096)}, {"reasoning_effort": "medium"}, ["reasoning.budget_tokens"]),
        ({"reasoning": ReasoningWish(budget_tokens=90000)}, {"reasoning_effort": "high"}, ["reasoning.budget_tokens"]),
        ({"reasoning": ReasoningWish(enabled=False)}, {"reasoning_effort": "none"}, ["reasoning.enabled"]),
        ({"reasoning": ReasoningWish(enabled=True)}, {}, ["reasoning.enabled"]),
        ({"tool_choice": ToolChoice("none")}, {}, ["tool_choice"]),
        ({"tools": (Unknown("anthropic_messages", {}),)}, {}, ["tools.anthropic_messages"]),
        ({"response_format": ResponseFormat("text")}, {"response_format": {"type": "text"}}, []),
        (
            {"response_format": ResponseFormat("json_schema", {"type": "object"})},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "response", "schema": {"type": "object"}},
                }
            },
            [],
        ),
        ({"end_user_id": "u"}, {"safety_identifier": "u"}, []),
        ({"provider_options": {"openai": {"store": True, "model": "other"}}}, {"store": True}, []),
        ({"provider_options": {"anthropic": {"thinking": {}}}}, {}, ["provider_options.anthropic.thinking"]),
    ],
)
def test_settings_are_written_or_listed(fields: dict[str, Any], wire: dict[str, Any], lost: list[str]) -> None:
    body, losses = encode(**fields)
    assert {name: body[name] for name in body if name not in ("model", "messages")} == wire
    assert body["model"] == "m"
    assert losses == lost


def test_the_compatible_codec_sends_what_official_openai_refuses() -> None:
    body, lost = encode(
        Message("developer", (Text("a"), Text("b"))), compatible=True, sampling=Sampling(max_tokens=5, top_k=3)
    )
    assert body == {"model": "m", "messages": [{"role": "system", "content": "a\nb"}], "max_tokens": 5, "top_k": 3}
    assert lost == ["borders of Text parts", "Message.role.developer"]


def test_a_stream_is_asked_for_with_usage() -> None:
    body = json.loads(codec.encode_request(Request("m", HELLO), stream=True).body)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_tools_and_choices_mean() -> None:
    function = {"type": "function", "function": {"name": "f", "parameters": None}, "defer": True}
    request = decode(tools=[function], tool_choice="required", parallel_tool_calls=True)
    assert request.tools == (FunctionTool("f", opaque={"openai": {"defer": True}}),)
    assert request.tool_choice == ToolChoice("required", parallel=True)
    assert decode(parallel_tool_calls=False).tool_choice == ToolChoice("auto", parallel=False)
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    assert decode(tool_choice=allowed).provider_options == {"openai": {"tool_choice": allowed}}


def test_limits_and_users_of_two_names() -> None:
    assert decode(max_tokens=5).sampling.max_tokens == 5
    assert decode(max_tokens=5, max_completion_tokens=6).sampling.max_tokens == 6
    both = decode(user="a", safety_identifier="b")
    assert both.end_user_id == "b"
    assert both.provider_options == {"openai": {"user": "a"}}


def test_an_unknown_response_format_goes_through() -> None:
    grammar = {"type": "grammar", "grammar": "root ::= x"}
    assert decode(response_format=grammar).provider_options == {"openai": {"response_format": grammar}}
    llama = {"type": "json_object", "schema": {"type": "object"}}
    assert decode(response_format=llama).provider_options == {"openai": {"response_format": llama}}


def message(**members: Any) -> dict[str, Any]:
    return {"messages": [members]}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model must be a string."),
    ({"model": ""}, "model must not be empty."),
    ({"messages": "hi"}, "messages must be a list."),
    ({"messages": []}, "messages must be a list with at least one message."),
    ({"messages": ["hi"]}, "messages[0] must be an object."),
    (message(content="a"), "messages[0].role must be a string."),
    (message(role="robot", content="a"), "messages[0].role must be one of system, developer, user, assistant, tool."),
    (message(role="function", name="f", content="a"), "messages[0].role must not be function"),
    (message(role="user", content=5), "messages[0].content must be a string or a list."),
    (message(role="user"), "messages[0].content must be a string or a list."),
    (message(role="tool", tool_call_id="c", content=0), "messages[0].content must be a string or a list."),
    (message(role="tool", content="a"), "messages[0].tool_call_id must be a string."),
    (message(role="user", content=["a"]), "messages[0].content[0] must be an object."),
    (message(role="user", content=[{"type": "text"}]), "messages[0].content[0].text must be a string."),
    (
        message(role="user", content=[{"type": "image_url", "image_url": "u"}]),
        "messages[0].content[0].image_url must be an object.",
    ),
    (
        message(role="user", content=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,&"}}]),
        "messages[0].content[0].image_url.url must be valid base64.",
    ),
    (
        message(role="user", content=[{"type": "image_url", "image_url": {"url": "data:image/png"}}]),
        "messages[0].content[0].image_url.url must be a data: URL with a comma before the data.",
    ),
    (
        message(role="user", content=[{"type": "file", "file": {}}]),
        "messages[0].content[0].file must have file_id or file_data.",
    ),
    (
        message(role="assistant", tool_calls=[{"id": "c", "function": {"arguments": "{}"}}]),
        "messages[0].tool_calls[0].function.name must be a string.",
    ),
    (
        message(role="assistant", tool_calls=[{"function": {"name": "f"}}]),
        "messages[0].tool_calls[0].id must be a string.",
    ),
    (message(role="assistant", function_call={"name": "f"}), "messages[0].function_call is not supported."),
    ({"functions": []}, "functions is not supported."),
    ({"function_call": "auto"}, "function_call is not supported."),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name must be a string."),
    ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type must be a string."),
    ({"tool_choice": 5}, 'tool_choice must be "auto", "none", "required" or an object that names a function.'),
    ({"temperature": "hot"}, "temperature must be a number."),
    ({"temperature": True}, "temperature must be a number."),
    ({"n": 0}, "n must be from 1 to"),
    ({"n": 1.5}, "n must be an integer."),
    ({"max_tokens": -1}, "max_tokens must be from 1 to"),
    ({"max_completion_tokens": 10**40}, "max_completion_tokens must be from 1 to"),
    ({"stop": 5}, "stop must be a string or a list of strings."),
    ({"stop": ["a", 5]}, "stop[1] must be a string."),
    ({"stream": "yes"}, "stream must be true or false."),
    ({"stream_options": True}, "stream_options must be an object."),
    ({"response_format": "json"}, "response_format must be an object."),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema must be an object."),
    ({"reasoning_effort": 3}, "reasoning_effort must be a string."),
    ({"user": 3}, "user must be a string."),
]


@pytest.mark.parametrize(("members", "told"), BAD)
def test_bad_input_is_refused_with_its_place(members: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(**members)
    assert caught.value.message.startswith(told)
    assert caught.value.param == told.split(" ")[0]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "Expecting value (line 1, column 1)"),
        (b"{", "Expecting property name"),
        (b"\xff", "it is not UTF-8 (byte 0)"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        (b'{"a":NaN}', "NaN is not a JSON number"),
        (b'{"a":1e999}', "the number 1e999 is out of range"),
        (b'{"a":%s}' % (b"9" * 5000), "too many digits"),
        (b'{"model":"a","model":"b"}', "the key 'model' is given twice"),
        (b'{"a":"\\ud800"}', "half of a surrogate pair"),
        (b'{"a":"\\uDC00x"}', "half of a surrogate pair"),
        (b"[" * 100_000, "nested deeper than the limit of 128"),
        (b'{"a":' * 129 + b"1" + b"}" * 129, "nested deeper than the limit of 128"),
    ],
)
def test_a_body_that_is_no_sound_json_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest, match="The body is not valid JSON") as caught:
        codec.decode_request(body)
    assert told in caught.value.message


def test_nesting_up_to_the_limit_is_taken_and_written() -> None:
    deep: Any = 1
    for _ in range(126):
        deep = [deep]
    request = decode(metadata=deep)
    assert json.loads(codec.encode_request(request, stream=False).body)["metadata"] == deep


def test_half_a_surrogate_pair_is_sent_as_a_replacement_and_listed() -> None:
    """A program's own strings may hold one; the wire is valid UTF-8 all the same. Two halves that meet are one."""
    body, lost = encode(Message("user", (Text("a\ud800b \ud83d\ude00"),)))
    assert body["messages"][0]["content"] == "a\ufffdb \U0001f600"
    assert lost == ["lone surrogates"]


def test_a_surrogate_pair_in_escapes_is_one_character() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"\\ud83d\\ude00"}]}'
    assert codec.decode_request(body).request.messages[0].text == "\U0001f600"
