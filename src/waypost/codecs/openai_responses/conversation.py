"""The conversation of a request, both ways: `instructions` and `input`.

The format is a flat list of items where the canonical one has messages of parts. Decoding joins the items of the
model's side that follow one another into one assistant message; each result of a tool is a message of its own.
Encoding writes the parts out again. A leading system message is `instructions`; one that stood in `input` is marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from waypost.chat import Json, Media, Message, Part, Role, ServerTool, Text, ToolCall, ToolResult, Unknown
from waypost.codecs.openai_chat.dialect import graft
from waypost.codecs.openai_chat.fields import Fields, refuse
from waypost.codecs.openai_responses.content import decode_content, encode_content
from waypost.codecs.openai_responses.items import decode_item
from waypost.codecs.openai_responses.items_out import encode_assistant
from waypost.codecs.openai_responses.wire import OWN, WIRE, Losses, keep

PROMPT_ROLES: Final[dict[str, Role]] = {"user": "user", "system": "system", "developer": "developer"}
RESULTS: Final = {"function_call_output": "function", "custom_tool_call_output": "custom"}
INPUT_ELSEWHERE: Final = ("previous_response_id", "conversation", "prompt")
"""Fields that make a request without `input` lawful."""

IN_INPUT: Final = "in_input"
"""Opaque mark of a leading system message that stood in `input`, not in `instructions`."""
CUSTOM_RESULT: Final = "custom_result"
"""Opaque mark of a custom tool's result whose call is not in the request."""


def decode_conversation(body: Fields, *, input_elsewhere: bool) -> tuple[Message, ...]:
    """Raises InvalidRequest, naming the place."""
    instructions = body.text_or_none("instructions")
    head = (Message("system", (Text(instructions),)),) if instructions else ()
    value = body.take("input")
    if isinstance(value, str):
        return (*head, Message("user", (Text(value),)))
    if not isinstance(value, list) and (value is not None or not input_elsewhere):
        refuse("input", "must be a string or a list")
    if not value and not input_elsewhere:
        refuse("input", "must have at least one item")
    reader = _Reader()
    for number, item in enumerate(value or ()):
        reader.add(item, f"input[{number}]")
    messages = reader.finish()
    if not head and messages and _is_instructions(messages[0]):
        messages[0] = Message("system", messages[0].parts, opaque={OWN: {IN_INPUT: True}})
    return (*head, *messages)


class _Reader:
    """Reads items in order. `run` holds the parts of the assistant's turn so far."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._run: list[Part] = []
        self._custom_calls: set[str] = set()

    def finish(self) -> list[Message]:
        if self._run:
            self._messages.append(Message("assistant", tuple(self._run)))
            self._run = []
        return self._messages

    def add(self, value: Json, path: str) -> None:
        item = Fields(value, path)
        kind = item.text_or_none("type") or "message"
        if kind in RESULTS:
            self.finish()
            self._messages.append(self._result(item, kind))
        elif kind == "message" and item.text("role") != "assistant":
            self.finish()
            self._messages.append(_prompt(item))
        else:
            parts = [part for _, part in decode_item(value, path)]
            self._run += parts
            self._custom_calls |= {part.call_id for part in parts if isinstance(part, ToolCall) and _is_custom(part)}

    def _result(self, item: Fields, kind: str) -> Message:
        call_id = item.text("call_id")
        value = item.take("output")
        # A tool that gave nothing back is "" here; other formats refuse an empty text.
        found = decode_content([] if value == "" else value, item.at("output"))
        parts = tuple(
            part if isinstance(part, Text | Media | Unknown) else Unknown(WIRE, value[number])
            for number, part in enumerate(found)
        )
        orphan = RESULTS[kind] == "custom" and call_id not in self._custom_calls
        opaque = keep({**item.rest(), CUSTOM_RESULT: orphan or None})
        return Message("tool", (ToolResult(call_id, parts, opaque=opaque),))


def _prompt(item: Fields) -> Message:
    role = PROMPT_ROLES.get(item.text("role"))
    if role is None:
        refuse(item.at("role"), f"must be one of {', '.join([*PROMPT_ROLES, 'assistant'])}")
    parts = decode_content(item.take("content"), item.at("content"))
    return Message(role, tuple(parts), opaque=keep(item.rest()))


def _is_custom(call: ToolCall) -> bool:
    return call.kind == "custom"


def _is_instructions(message: Message) -> bool:
    """Is it a system message that says no more than one string can? Another family's data in it may be lost."""
    only = message.parts[0] if len(message.parts) == 1 else None
    return (
        message.role == "system"
        and OWN not in message.opaque
        and isinstance(only, Text)
        and bool(only.text)
        and OWN not in only.opaque
    )


def encode_conversation(messages: Sequence[Message], losses: Losses) -> dict[str, Json]:
    """`instructions`, where there are some, and `input`."""
    members: dict[str, Json] = {}
    if len(messages) > 1 and _is_instructions(messages[0]):
        _note_losses(messages[0], losses)
        losses.own(getattr(messages[0].parts[0], "opaque", {}))
        members["instructions"] = messages[0].text
        messages = messages[1:]
    calls = [part for message in messages for part in message.parts if isinstance(part, ToolCall)]
    custom = {call.call_id for call in calls if _is_custom(call)}
    items: list[Json] = []
    for message in messages:
        _note_losses(message, losses)
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        others = [part for part in message.parts if not isinstance(part, ToolResult)]
        items += [_encode_result(result, custom, losses) for result in results]
        if message.role == "assistant":
            items += encode_assistant(others, losses)
        elif others or not results:
            items += _encode_prompt(message, others, losses)
    return {**members, "input": items}


def _note_losses(message: Message, losses: Losses) -> None:
    losses.own(message.opaque)
    if message.name is not None:
        losses.add("Message.name", "the format's messages carry no name of the speaker")


def _encode_prompt(message: Message, parts: Sequence[Part], losses: Losses) -> list[Json]:
    items = [dict(part.data) for part in parts if isinstance(part, ServerTool) and part.wire == WIRE]
    said = [part for part in parts if not isinstance(part, ServerTool) or part.wire != WIRE]
    if not said and parts:
        return list(items)
    content = encode_content(said, losses)
    if said and content == []:
        return list(items)  # every part was lost, and said so: an empty message would only be refused
    role = "user" if message.role == "tool" else message.role
    others = {name: value for name, value in message.opaque.get(OWN, {}).items() if name != IN_INPUT}
    return [{"type": "message", "role": role, "content": content, **others}, *items]


def _encode_result(result: ToolResult, custom: set[str], losses: Losses) -> dict[str, Json]:
    if result.is_error:
        losses.add("ToolResult.is_error", "an output says so only in its text")
    if result.name is not None:
        losses.add("ToolResult.name", "a result is known by the id of its call")
    own = dict(losses.own(result.opaque))
    is_custom = own.pop(CUSTOM_RESULT, False) or result.call_id in custom
    kind = "custom_tool_call_output" if is_custom else "function_call_output"
    output = encode_content(result.parts, losses) if result.parts else ""
    return graft({"type": kind, "call_id": result.call_id, "output": output}, own)
