"""Tools that are called with plain text, for formats that know functions only: a function with one text argument.

`as_function` declares it, `CustomCalls` turns the calls in an answer back, by the tools that the request declared; so
a loop of calls and results goes on for a caller who knows nothing of it. What is lost is the grammar of the text. The
invariant: a call whose arguments are not those of such a function stays a custom call, with the arguments as its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from waypost.chat import (
    CustomTool,
    Event,
    FunctionTool,
    Json,
    Message,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Request,
    Response,
    ToolCall,
)
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply

INPUT: Final = "input"
"""The one argument."""
PARAMETERS: Final[Mapping[str, Json]] = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}
NOTE: Final = f"it is sent as a function with one text argument, {INPUT!r}"
NO_GRAMMAR: Final = "a function's argument is held to no grammar"


def as_function(tool: CustomTool, lose: Callable[[str, str], None], what: str) -> FunctionTool:
    """The function that stands for the tool; `lose(what, why)` is told."""
    lose(f"{what}.kind", NOTE)
    if tool.format is not None and tool.format.get("type") != "text":
        lose(f"{what}.format", NO_GRAMMAR)
    return FunctionTool(tool.name, tool.description, PARAMETERS)


def wrapped(text: str) -> dict[str, Json]:
    """A custom call's text as the function's arguments."""
    return {INPUT: text}


def function_call(part: Part) -> Part:
    """A custom call as the function's; any other part as it is."""
    if not isinstance(part, ToolCall) or part.kind != "custom":
        return part
    return replace(part, kind="function", arguments=dump(wrapped(part.arguments))[0].decode())


def functions_only(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation with each custom call as the function's."""
    return tuple(
        replace(message, parts=tuple(map(function_call, message.parts)))
        if any(map(_is_custom, message.parts))
        else message
        for message in messages
    )


def _is_custom(part: object) -> bool:
    return isinstance(part, ToolCall) and part.kind == "custom"


class CustomCalls:
    """Turns calls of the functions that stand for a request's custom tools back. Holds one answer's state."""

    __slots__ = ("_held", "_names")

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._held: dict[tuple[int, int], list[str]] = {}

    def response(self, response: Response) -> Response:
        """The answer with custom calls in it."""
        choices = (replace(choice, parts=tuple(map(self._call, choice.parts))) for choice in response.choices)
        return replace(response, choices=tuple(choices))

    def events(self, event: Event) -> Sequence[Event]:
        """The events that one event of a stream becomes: such a call's text is given whole at its end."""
        match event:
            case PartStart(part=ToolCall() as call) if self._is_ours(call):
                self._held[event.choice, event.index] = [call.arguments]
                return (replace(event, part=replace(call, arguments="", kind="custom")),)
            case PartDelta() if (event.choice, event.index) in self._held:
                self._held[event.choice, event.index].append(event.text)
                return ()
            case PartEnd() if (event.choice, event.index) in self._held:
                text = _unwrapped("".join(self._held.pop((event.choice, event.index))))
                return (PartDelta(event.index, text, event.choice), event) if text else (event,)
            case _:
                return (event,)

    def _is_ours(self, call: ToolCall) -> bool:
        return call.kind == "function" and call.name in self._names

    def _call(self, part: Part) -> Part:
        if not isinstance(part, ToolCall) or not self._is_ours(part):
            return part
        return replace(part, kind="custom", arguments=_unwrapped(part.arguments))


def custom_calls(request: Request) -> CustomCalls | None:
    """What turns the calls in one answer to the request back; None if it declares no custom tool."""
    names = frozenset(tool.name for tool in request.tools if isinstance(tool, CustomTool))
    return CustomCalls(names) if names else None


def _unwrapped(arguments: str) -> str:
    try:
        value = parse_reply(arguments.encode("utf-8", "surrogatepass"))
    except (JsonError, msgspec.DecodeError):
        return arguments
    text = value.get(INPUT) if isinstance(value, dict) and len(value) == 1 else None
    return text if isinstance(text, str) else arguments
