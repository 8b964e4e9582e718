"""The answer the simulator thinks of where the script says nothing: made from the request, the same every time.

Results of tools are retold; a tool is called if the caller forces it, or if the last user message names one (or
says "tool"); structured output fits its schema; otherwise the prompt is repeated, with what was shown beside it.
"""

from __future__ import annotations

from typing import TypeAlias

from waypost.chat import (
    CustomTool,
    FunctionTool,
    InlineData,
    Media,
    Part,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
)
from waypost.simulator.dialect import Dialect, Ids, dump
from waypost.simulator.schema import value_for
from waypost.simulator.script import last_user_message, last_user_text
from waypost.simulator.tokens import count_tokens

OfferedTool: TypeAlias = FunctionTool | CustomTool


def invented_parts(request: Request, dialect: Dialect, ids: Ids) -> list[Part]:
    """The parts of an answer made from nothing but the request. Calls have no id yet."""
    thinking: list[Part] = []
    if _thinks(request):
        thought = f"The prompt has {count_tokens(last_user_text(request))} tokens; it is to be repeated."
        thinking = [Reasoning(thought, opaque=dialect.reasoning_opaque(ids))]
    said: list[Part] = [*_calls(request)]
    return [*thinking, *(said or [Text(_text(request))])]


def _thinks(request: Request) -> bool:
    wish = request.reasoning
    if wish is None or wish.enabled is False:
        return False
    return bool(wish.enabled or wish.budget_tokens or wish.effort not in (None, "none"))


def _calls(request: Request) -> list[ToolCall]:
    choice = request.tool_choice
    mode = choice.mode if choice else "auto"
    offered = offered_tools(request)
    if mode == "none" or not offered or (_results(request) and mode == "auto"):
        return []
    if mode == "tool":
        chosen = [tool for tool in offered if choice is not None and tool.name == choice.name]
    else:
        chosen = _asked_for(offered, last_user_text(request)) or (offered[:1] if mode == "required" else [])
    if choice is not None and choice.parallel is False:
        chosen = chosen[:1]
    return [call_of(tool, request) for tool in chosen]


def _asked_for(offered: list[OfferedTool], prompt: str) -> list[OfferedTool]:
    prompt = prompt.casefold()
    named = [
        tool
        for tool in offered
        if tool.name.casefold() in prompt or tool.name.replace("_", " ").replace("-", " ").casefold() in prompt
    ]
    return named or (offered[:1] if "tool" in prompt else [])


def call_of(tool: OfferedTool, request: Request) -> ToolCall:
    """A call of the tool with arguments that fit its schema, or with plain text, without an id."""
    if isinstance(tool, CustomTool):
        return ToolCall("", tool.name, _word(request), kind="custom")
    arguments = value_for(tool.parameters, text=_word(request)) if tool.parameters else {}
    return ToolCall("", tool.name, dump(arguments).decode())


def _text(request: Request) -> str:
    wish = request.response_format
    if wish is not None and wish.kind != "text":
        schema = wish.schema or {"type": "object", "properties": {"text": {"type": "string"}}}
        return dump(value_for(schema, text=_word(request))).decode()
    if results := _results(request):
        return f"The tools answered: {'; '.join(results)}."
    prompt = last_user_text(request)
    return (f"You said: {prompt}" if prompt else "You said nothing.") + _seen_media(request)


def _results(request: Request) -> list[str]:
    """The texts of the tool results that came after the model's last turn."""
    texts: list[str] = []
    for message in reversed(request.messages):
        if message.role == "assistant":
            break
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        told = ["".join(part.text for part in result.parts if isinstance(part, Text)) for result in results]
        texts = told + texts
    return texts


def _seen_media(request: Request) -> str:
    message = last_user_message(request)
    media = [part for part in message.parts if isinstance(part, Media)] if message else []
    told = [f"{part.kind} ({_source(part)})" for part in media]
    return f" I was shown: {', '.join(told)}." if told else ""


def _source(media: Media) -> str:
    if isinstance(media.source, InlineData):
        return f"{media.source.media_type}, {len(media.source.data)} bytes"
    return "by reference"


def _word(request: Request) -> str:
    """What fills the free strings of a generated value: the prompt, shortened."""
    return last_user_text(request)[:40].strip() or "text"


def offered_tools(request: Request) -> list[OfferedTool]:
    """The tools that can be called here: a provider's own tools run there and are left alone."""
    return [tool for tool in request.tools if isinstance(tool, FunctionTool | CustomTool)]
