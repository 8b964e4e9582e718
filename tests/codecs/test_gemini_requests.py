"""Requests of the Gemini format: what is refused and how it is named, what is repaired, what is reported as lost."""

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
    ServerTool,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
)
from waypost.codecs.gemini import codec
from waypost.errors import InvalidRequest

HELLO = Message("user", (Text("Hello"),))
TOOL = FunctionTool("f", parameters={"type": "object", "properties": {}})
CALL = ToolCall("c1", "f", "{}")


def request(*messages: Message, **fields: Any) -> Request:
    return Request("gemini-x", messages or (HELLO,), **fields)


def encode(asked: Request) -> tuple[dict[str, Any], list[str]]:
    written = codec.encode_request(asked, stream=False)
    return json.loads(written.body), [loss.what for loss in written.losses]


def config(**fields: Any) -> Any:
    return encode(request(**fields))[0].get("generationConfig")


def body(**changes: Any) -> bytes:
    base: dict[str, Any] = {"contents": [{"parts": [{"text": "x"}]}]}
    return json.dumps({name: value for name, value in {**base, **changes}.items() if value is not ...}).encode()


def user(*parts: Any) -> bytes:
    return body(contents=[{"role": "user", "parts": list(parts)}])


def decode(wire: bytes) -> Request:
    return codec.decode_request(wire).request


REFUSED: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b"[]", None),
    (b'{"contents": [], "contents": []}', None),
    (b'{"x": NaN}', None),
    (body(contents=...), "contents"),
    (body(contents=[]), "contents"),
    (body(contents="hi"), "contents"),
    (body(contents=["hi"]), "contents.0"),
    (body(contents=[{"role": "assistant", "parts": [{"text": "x"}]}]), "contents.0.role"),
    (body(contents=[{"role": "user"}]), "contents.0.parts"),
    (body(contents=[{"parts": [{"text": "x"}]}, {"parts": []}]), "contents.1.parts"),
    (user({"text": 5}), "contents.0.parts.0.text"),
    (user({"text": "x", "thought": "yes"}), "contents.0.parts.0.thought"),
    (user({"inlineData": {"data": "AA=="}}), "contents.0.parts.0.inlineData.mimeType"),
    (user({"inlineData": {"mimeType": "image/png", "data": "!"}}), "contents.0.parts.0.inlineData.data"),
    (user({"fileData": {"mimeType": "image/png"}}), "contents.0.parts.0.fileData.fileUri"),
    (user({"functionCall": {"name": "f", "args": "{}"}}), "contents.0.parts.0.functionCall.args"),
    (user({"functionResponse": {"response": {}}}), "contents.0.parts.0.functionResponse.name"),
    (user({"functionResponse": {"name": "f", "response": "x"}}), "contents.0.parts.0.functionResponse.response"),
    (body(systemInstruction=5), "systemInstruction"),
    (body(systemInstruction={"parts": []}), "systemInstruction.parts"),
    (body(tools=[{"functionDeclarations": [{}]}]), "tools.0.functionDeclarations.0.name"),
    (body(tools=[5]), "tools.0"),
    (body(generationConfig=[]), "generationConfig"),
    (body(generationConfig={"maxOutputTokens": "many"}), "generationConfig.maxOutputTokens"),
    (body(generationConfig={"maxOutputTokens": 1.5}), "generationConfig.maxOutputTokens"),
    (body(generationConfig={"temperature": True}), "generationConfig.temperature"),
    (body(generationConfig={"seed": 10**400}), "generationConfig.seed"),
    (body(generationConfig={"stopSequences": [5]}), "generationConfig.stopSequences.0"),
    (
        body(generationConfig={"thinkingConfig": {"thinkingBudget": "x"}}),
        "generationConfig.thinkingConfig.thinkingBudget",
    ),
    (body(generationConfig={"topP": 1, "top_p": 1}), "generationConfig.topP"),
    (body(toolConfig={"functionCallingConfig": {"mode": 5}}), "toolConfig.functionCallingConfig.mode"),
]


@pytest.mark.parametrize(("wire", "param"), REFUSED)
def test_what_does_not_fit_is_refused_and_named(wire: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(wire)
    assert caught.value.param == param


def test_snake_case_and_single_objects_are_taken_as_google_takes_them() -> None:
    """Names of the caller's own stay as they are."""
    snake = {
        "system_instruction": {"parts": {"text": "Be brief."}},
        "contents": {
            "parts": [
                {"inline_data": {"mime_type": "image/png", "data": "_-A"}},
                {"function_call": {"name": "f", "args": {"my_key": {"in_ner": 1}}}, "thought_signature": "s"},
            ],
        },
        "tools": {"function_declarations": {"name": "f", "parameters_json_schema": {"properties": {"my_key": {}}}}},
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
        "generation_config": {"max_output_tokens": 5.0, "top_k": 2, "response_mime_type": "text/plain"},
        "safety_settings": [],
    }
    asked = decode(json.dumps(snake).encode())
    assert asked.messages[0] == Message("system", (Text("Be brief."),))
    picture, call = asked.messages[1].parts
    assert picture == Media("image", InlineData(b"\xff\xe0", "image/png"))
    assert call == ToolCall(
        "gemini_call_1", "f", '{"my_key":{"in_ner":1}}', opaque={"google": {"thoughtSignature": "s"}}
    )
    assert asked.tools == (FunctionTool("f", parameters={"properties": {"my_key": {}}}),)
    assert asked.tool_choice == ToolChoice("tool", "f")
    assert asked.sampling == Sampling(max_tokens=5, top_k=2)
    assert asked.response_format == ResponseFormat("text")


def test_a_system_instruction_may_be_a_string_and_the_model_in_the_body_is_passed_over() -> None:
    asked = decode(body(systemInstruction="Be brief.", model="models/gemini-x"))
    assert asked.messages[0] == Message("system", (Text("Be brief."),))
    assert asked.model == ""
    assert asked.provider_options == {}


def test_roles_and_runs_of_results_become_messages() -> None:
    result = {"functionResponse": {"name": "f", "response": {"output": "1"}}}
    contents = [
        {"parts": [{"text": "a"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f"}}]},
        {"role": "function", "parts": [result]},
        {"role": "user", "parts": [result, {"text": "b"}]},
    ]
    messages = decode(body(contents=contents)).messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "tool", "user"]


RESULTS: list[tuple[dict[str, Any], tuple[Text, ...], bool]] = [
    ({}, (), False),
    ({"output": "done"}, (Text("done"),), False),
    ({"output": ""}, (Text(""),), False),
    ({"output": 5}, (Text("5"),), False),
    ({"output": None}, (Text("null"),), False),
    ({"output": [1, "a"]}, (Text('[1,"a"]'),), False),
    ({"output": {"output": "x"}}, (Text('{"output":"x"}'),), False),
    ({"output": "1.50"}, (Text("1.50"),), False),
    ({"output": '"quoted"'}, (Text('"quoted"'),), False),
    ({"result": "x"}, (Text('{"result":"x"}'),), False),
    ({"output": 1, "error": 2}, (Text('{"output":1,"error":2}'),), False),
    ({"error": "no"}, (Text("no"),), True),
    ({"error": {"code": 5}}, (Text('{"code":5}'),), True),
    ({"error": ""}, (), True),
]


@pytest.mark.parametrize(("response", "parts", "failed"), RESULTS)
def test_the_object_of_a_result_is_its_text_and_back(
    response: dict[str, Any], parts: tuple[Text, ...], failed: bool
) -> None:
    wire = {"functionResponse": {"id": "c", "name": "f", "response": response}}
    result = decode(user(wire)).messages[0].parts[0]
    assert result == ToolResult("c", parts, "f", failed)
    assert encode(request(Message("tool", (result,))))[0]["contents"][0]["parts"] == [wire]


def test_a_result_names_its_function_by_the_call_it_answers() -> None:
    result = Message("tool", (ToolResult("c1", (Text("1"),)),))
    wire, losses = encode(request(HELLO, Message("assistant", (CALL,)), result))
    assert wire["contents"][2]["parts"][0]["functionResponse"]["name"] == "f"
    assert losses == []
    wire, losses = encode(request(HELLO, result))
    assert wire["contents"][0]["parts"][1]["functionResponse"]["name"] == "c1"
    assert losses == ["messages[1].parts[0].name"]


def test_media_in_a_result_stand_beside_its_text() -> None:
    picture = Media("image", InlineData(b"x", "image/png"))
    parts = (Text("a"), picture, Text("b"), Media("image", Url("https://example.org/a.png")))
    wire, losses = encode(request(HELLO, Message("tool", (ToolResult("c", parts, "f"),))))
    result = wire["contents"][0]["parts"][1]["functionResponse"]
    assert result["response"] == {"output": "a\nb"}
    assert result["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "eA=="}}]
    assert losses == ["messages[1].parts[0].parts", "messages[1].parts[0].parts[1]"]


ARGUMENTS = [("", {}), ("{}", {}), (' {"a": 1.50} ', {"a": 1.5})]


@pytest.mark.parametrize(("text", "args"), ARGUMENTS)
def test_arguments_are_an_object(text: str, args: dict[str, Any]) -> None:
    wire, losses = encode(request(HELLO, Message("assistant", (ToolCall("c", "f", text),))))
    assert wire["contents"][1]["parts"][0]["functionCall"]["args"] == args
    assert losses == []


def test_arguments_that_are_no_object_are_wrapped_told_and_unwrapped() -> None:
    asked = request(HELLO, Message("assistant", (ToolCall("c", "f", "[1"),)))
    written = codec.encode_request(asked, stream=False)
    assert len(written.losses) == 1
    assert decode(written.body).messages == asked.messages


SCHEMAS: list[tuple[Any, Any]] = [
    ({"type": "OBJECT", "properties": {"type": {"type": "STRING"}}}, {"properties": {"type": {"type": "string"}}}),
    ({"type": "STRING", "format": "enum", "enum": ["A"], "nullable": True}, {"enum": ["A", None]}),
    ({"type": "ARRAY", "items": {"type": "NUMBER"}, "min_items": "1"}, {"items": {"type": "number"}, "minItems": 1}),
    ({"any_of": [{"type": "INTEGER", "nullable": False}]}, {"anyOf": [{"type": "integer"}]}),
    ({"type": "object", "$ref": 5, "items": [], "maxLength": "x"}, {"$ref": 5, "items": [], "maxLength": "x"}),
]


@pytest.mark.parametrize(("given", "meant"), SCHEMAS)
def test_a_schema_in_googles_own_form_becomes_json_schema(given: Any, meant: Any) -> None:
    wire = body(
        tools=[{"functionDeclarations": [{"name": "f", "parameters": given}]}],
        generationConfig={"responseMimeType": "application/json", "responseSchema": given},
    )
    asked = decode(wire)
    tool = asked.tools[0]
    assert isinstance(tool, FunctionTool)
    assert tool.parameters is not None
    kind = {"STRING": ["string", "null"] if given.get("nullable") else "string"}
    expected = {**({"type": kind.get(given["type"], given["type"].lower())} if "type" in given else {}), **meant}
    assert tool.parameters == expected
    assert asked.response_format == ResponseFormat("json_schema", expected)
    assert tool.opaque == asked.provider_options == {}


TOOL_CHOICES: list[tuple[ToolChoice, dict[str, Any]]] = [
    (ToolChoice("auto", parallel=True), {"mode": "AUTO"}),
    (ToolChoice("required"), {"mode": "ANY"}),
    (ToolChoice("none"), {"mode": "NONE"}),
    (ToolChoice("tool", "f"), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
]


@pytest.mark.parametrize(("choice", "wire"), TOOL_CHOICES)
def test_each_choice_of_tools_has_its_mode(choice: ToolChoice, wire: dict[str, Any]) -> None:
    written, losses = encode(request(tools=(TOOL,), tool_choice=choice))
    assert written["toolConfig"] == {"functionCallingConfig": wire}
    assert losses == []
    asked = decode(body(tools=written["tools"], toolConfig=written["toolConfig"]))
    assert asked.tool_choice == ToolChoice(choice.mode, choice.name)


def test_a_choice_without_functions_is_left_out() -> None:
    wire, losses = encode(request(tool_choice=ToolChoice("required", parallel=False)))
    assert "toolConfig" not in wire
    assert losses == ["tool_choice.parallel", "tool_choice"]


WISHES: list[tuple[ReasoningWish, dict[str, Any] | None]] = [
    (ReasoningWish(), None),
    (ReasoningWish(enabled=False), {"thinkingBudget": 0}),
    (ReasoningWish(effort="none"), {"thinkingBudget": 0}),
    (ReasoningWish(enabled=True), {"thinkingBudget": -1, "includeThoughts": True}),
    (ReasoningWish(budget_tokens=128), {"thinkingBudget": 128, "includeThoughts": True}),
    (ReasoningWish(effort="minimal"), {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
    (ReasoningWish(effort="xhigh"), {"thinkingLevel": "HIGH", "includeThoughts": True}),
    (ReasoningWish(effort="x"), None),
]


@pytest.mark.parametrize(("wish", "wire"), WISHES)
def test_each_wish_to_think_has_its_form(wish: ReasoningWish, wire: dict[str, Any] | None) -> None:
    written, losses = encode(request(reasoning=wish))
    assert written.get("generationConfig", {}).get("thinkingConfig") == wire
    assert losses == (["reasoning.effort"] if wish.effort in ("xhigh", "x") else [])


def test_a_changed_setting_wins_over_what_was_kept_of_the_body() -> None:
    """A difference is kept, not a copy: whoever shrinks max_tokens is obeyed."""
    asked = decode(body(generationConfig={"maxOutputTokens": 500, "logprobs": 3}, labels={"a": "b"}))
    assert asked.provider_options == {"google": {"generationConfig": {"logprobs": 3}, "labels": {"a": "b"}}}
    changed = Request("", asked.messages, sampling=Sampling(max_tokens=9), provider_options=asked.provider_options)
    wire, _ = encode(changed)
    assert wire["generationConfig"] == {"maxOutputTokens": 9, "logprobs": 3}
    assert wire["labels"] == {"a": "b"}


def test_options_do_not_replace_the_conversation() -> None:
    options: Any = {"google": {"contents": [], "tools": [], "model": "x", "labels": None}}
    assert encode(request(provider_options=options))[0] == encode(request())[0]


LOST: list[tuple[Part, str]] = [
    (Refusal("no"), "messages[0].parts[0]"),
    (Reasoning("", {"anthropic": {"data": "x"}}), "messages[0].parts[0].opaque[anthropic]"),
    (Text("x", (Citation("openai_chat", {}),)), "messages[0].parts[0].citations"),
    (Media("image", FileId("files/a"), detail="high"), "messages[0].parts[0].detail"),
    (Unknown("openai_chat", {}), "messages[0].parts[0]"),
    (ServerTool("anthropic_messages", {}), "messages[0].parts[0]"),
]


@pytest.mark.parametrize(("part", "what"), LOST)
def test_what_gemini_has_no_place_for_is_told(part: Part, what: str) -> None:
    assert what in encode(request(Message("user", (part,)), HELLO))[1]


def test_settings_gemini_has_no_place_for_are_told() -> None:
    asked = request(
        Message("user", (Text("x"),), name="ann"),
        Message("developer", (Text("y"), Media("image", FileId("files/a")))),
        tools=(FunctionTool("f", strict=True), Unknown("openai_chat", {})),
        response_format=ResponseFormat("json_schema", {}, "n", "d", False),
        end_user_id="u",
        provider_options={"openai": {"store": True}},
    )
    wire, losses = encode(asked)
    assert wire["systemInstruction"] == {"parts": [{"text": "y"}]}
    assert losses == [
        "messages[0].name",
        "messages[1].position",
        "messages[1].parts[1]",
        "provider_options[openai]",
        "end_user_id",
        "response_format.name",
        "response_format.description",
        "response_format.strict",
        "tools[0].strict",
        "tools[1]",
    ]


def test_a_system_prompt_alone_is_the_users_words() -> None:
    wire, losses = encode(request(Message("system", (Text("Do it."),))))
    assert wire == {"contents": [{"role": "user", "parts": [{"text": "Do it."}]}]}
    assert losses == ["messages"]


def test_half_a_surrogate_pair_is_written_as_utf8_and_told() -> None:
    wire, losses = encode(request(Message("user", (Text("a\ud83d"),))))
    assert wire["contents"][0]["parts"][0]["text"] == "a\ufffd"
    assert losses == ["messages"]


def test_json_output_without_a_schema() -> None:
    assert config(response_format=ResponseFormat("json_object")) == {"responseMimeType": "application/json"}
    assert decode(body(generationConfig={"responseMimeType": "application/json"})).response_format == ResponseFormat(
        "json_object"
    )
