"""From `prompt, **kwargs` to a canonical request.

Messages and tools are written as in OpenAI's chat format, which most people know by heart; so its codec checks
them, and its errors name the field.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from waypost.chat import Request
from waypost.codecs.openai_chat import codec
from waypost.errors import InvalidRequest

SETTINGS: Mapping[str, str] = {
    "model": "model",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "response_format": "response_format",
    "reasoning_effort": "reasoning_effort",
    "user": "user",
}
"""Keyword arguments and the wire fields they become."""

NAMES = ("system", "messages", *SETTINGS)


def to_request(prompt: str | None, arguments: Mapping[str, Any], *, default_model: str | None = None) -> Request:
    """The request. Raises InvalidRequest for an unknown argument, a wrong type, or nothing to say.

    `system` goes first, then `messages`, then `prompt` as the user's last message.
    """
    unknown = sorted(set(arguments) - set(NAMES))
    if unknown:
        raise InvalidRequest(
            f'"{unknown[0]}" is not a setting of a request.', hint=_nearest(unknown[0]), param=unknown[0]
        )
    given = {name: value for name, value in arguments.items() if value is not None}
    body = {SETTINGS[name]: value for name, value in given.items() if name in SETTINGS}
    body["messages"] = _messages(prompt, given)
    if isinstance(body.get("tools"), list | tuple):
        body["tools"] = [_tool(tool) for tool in body["tools"]]
    try:
        # The wire format demands a model; here an empty one leaves the choice to the provider.
        encoded = msgspec.json.encode({"model": "default", **body})
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"The request cannot be written as JSON: {error}.") from error
    request = codec.decode_request(encoded).request
    return request if "model" in given else replace(request, model=default_model or "")


def _messages(prompt: str | None, given: Mapping[str, Any]) -> list[Any]:
    messages = given.get("messages") or []
    if not isinstance(messages, list | tuple):
        raise InvalidRequest("messages must be a list.", param="messages")
    system = given.get("system")
    if system is not None and not isinstance(system, str):
        raise InvalidRequest("system must be a string.", param="system")
    if prompt is not None and not isinstance(prompt, str):
        raise InvalidRequest("prompt must be a string.", param="prompt")
    head = [{"role": "system", "content": system}] if system else []
    tail = [{"role": "user", "content": prompt}] if prompt and prompt.strip() else []
    if not messages and not tail:
        raise InvalidRequest("The prompt is empty.", hint="Send a prompt, or messages.", param="prompt")
    return [*head, *messages, *tail]


def _tool(tool: Any) -> Any:
    """Anthropic's form of a tool is taken too: it has `input_schema` where OpenAI's has `function.parameters`."""
    if not isinstance(tool, Mapping) or "input_schema" not in tool:
        return tool
    function = {"name": tool.get("name"), "description": tool.get("description"), "parameters": tool["input_schema"]}
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


def _nearest(name: str) -> str:
    if name == "stream":
        return "Call stream_response to get the answer piece by piece."
    nearest = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.6)
    return f"Did you mean {nearest[0]}?" if nearest else f"Known: {', '.join(NAMES)}."
