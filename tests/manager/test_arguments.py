"""manager/arguments.py: prompt and keyword arguments become a request, or an error that names the argument."""

from __future__ import annotations

from typing import Any

import pytest

from waypost.chat import FunctionTool, InlineData, Media, Message, Text, ToolChoice
from waypost.errors import InvalidRequest
from waypost.manager.arguments import NAMES, to_request

WEATHER = {"name": "weather", "description": "Looks outside", "parameters": {"type": "object", "properties": {}}}


def test_a_prompt_alone_leaves_the_model_to_the_provider() -> None:
    request = to_request("hi", {})
    assert request.model == ""
    assert request.messages == (Message("user", (Text("hi"),)),)
    assert to_request("hi", {}, default_model="m").model == "m"
    assert to_request("hi", {"model": "given"}, default_model="m").model == "given"


def test_system_messages_and_prompt_keep_their_order() -> None:
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    request = to_request("three", {"system": "be kind", "messages": messages})
    assert [(message.role, message.text) for message in request.messages] == [
        ("system", "be kind"),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]


def test_settings_become_sampling() -> None:
    sampling = to_request("hi", {"max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "stop": ["a"], "seed": 1}).sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (5, 0.5, 0.9)
    assert (sampling.stop_sequences, sampling.seed) == (("a",), 1)
    assert to_request("hi", {"max_tokens": None, "tools": None}).sampling.max_tokens is None


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": WEATHER},
        {"name": "weather", "description": "Looks outside", "input_schema": WEATHER["parameters"]},
    ],
)
def test_tools_are_taken_in_either_vendors_form(tool: dict[str, Any]) -> None:
    request = to_request("hi", {"tools": [tool], "tool_choice": "auto"})
    (made,) = request.tools
    assert isinstance(made, FunctionTool)
    assert (made.name, made.description, made.parameters) == ("weather", "Looks outside", WEATHER["parameters"])
    assert request.tool_choice == ToolChoice("auto")


def test_images_come_in_messages() -> None:
    content = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
    ]
    request = to_request(None, {"messages": [{"role": "user", "content": content}]})
    assert request.messages[0].parts == (Text("what?"), Media("image", InlineData(b"hi", "image/png")))


@pytest.mark.parametrize(
    ("prompt", "arguments", "param", "told"),
    [
        ("", {}, "prompt", "The prompt is empty. Send a prompt, or messages."),
        ("  \n", {"messages": []}, "prompt", "The prompt is empty"),
        (5, {}, "prompt", "prompt must be a string"),
        ("hi", {"max_tokns": 5}, "max_tokns", "Did you mean max_tokens?"),
        ("hi", {"stream": True}, "stream", "Call stream_response"),
        ("hi", {"zzz": 5}, "zzz", "Known: system, messages"),
        ("hi", {"messages": "hi"}, "messages", "messages must be a list"),
        ("hi", {"system": 5}, "system", "system must be a string"),
        ("hi", {"temperature": object()}, None, "cannot be written as JSON"),
        ("hi", {"temperature": "warm"}, None, "temperature"),
        ("hi", {"tools": "weather"}, None, "tools"),
        (None, {"messages": [{"role": "wizard", "content": "hi"}]}, None, "messages[0]"),
    ],
)
def test_mistakes_name_the_argument(prompt: Any, arguments: dict[str, Any], param: str | None, told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_request(prompt, arguments)
    assert told in str(caught.value)
    assert param is None or caught.value.param == param


def test_names_are_documented_with_the_provider() -> None:
    from waypost import AIServiceProvider

    for name in ("model", "max_tokens", "system", "temperature", "tools", "messages"):
        assert name in NAMES
        assert name in (AIServiceProvider.__doc__ or "")
