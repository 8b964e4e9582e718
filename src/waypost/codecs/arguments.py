"""A tool call's arguments in formats that take only a JSON object for them, and back.

What is no object is wrapped in one, and the loss is reported; a call that comes back wrapped is unwrapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from waypost.chat import Json, ToolCall
from waypost.codecs.custom_tools import NOTE, wrapped
from waypost.codecs.jsonbytes import JsonError, parse_reply

WRAPPED_ARGUMENTS: Final = "_raw_arguments"
"""Member that holds a call's arguments if they are no JSON object, which is all that these formats take."""


def arguments_object(call: ToolCall, lose: Callable[[str, str], None], what: str) -> msgspec.Raw | dict[str, Json]:
    """The arguments as an object: as written if they are one, else wrapped, and `lose(what, why)` is told."""
    if call.kind == "custom":
        lose(f"{what}.kind", NOTE)
        return wrapped(call.arguments)
    text = call.arguments.strip()
    if not text:
        return {}
    if is_json_object(text):
        return msgspec.Raw(text.encode())
    lose(f"{what}.arguments", f"They are no JSON object and are wrapped in one, as {WRAPPED_ARGUMENTS!r}.")
    return {WRAPPED_ARGUMENTS: call.arguments}


def unwrap_arguments(call: ToolCall) -> ToolCall:
    """The call as it was before its arguments were wrapped, for a caller who sends an answer of ours back."""
    if WRAPPED_ARGUMENTS not in call.arguments:
        return call
    members = list(msgspec.json.decode(call.arguments).items())
    if len(members) != 1 or type(members[0][1]) is not str:
        return call
    name, text = members[0]
    return replace(call, arguments=text) if name == WRAPPED_ARGUMENTS else call


def is_json_object(text: str) -> bool:
    """Is the text one JSON object, without lone surrogates?"""
    try:
        data = text.encode()
        value = parse_reply(data)
        # parse_reply mends lone surrogates; the text itself would keep them, so the strict reader decides.
        return type(value) is dict and (b"\\u" not in data or type(msgspec.json.decode(data)) is dict)
    except (UnicodeEncodeError, JsonError, msgspec.DecodeError):
        return False
