"""What the modules of this codec share: arguments as they were written, opaque data, and the list of losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from waypost.chat import Json, Opaque
from waypost.codecs.codec import Loss
from waypost.codecs.reading import rest

NAME: Final = "anthropic_messages"
FAMILY: Final = "anthropic"


class JsonText(str):
    """A JSON object's text as it stood in the body, in place of the decoded object."""

    __slots__ = ()


def keep(data: Mapping[str, Json], *known: str) -> Opaque:
    """What `rest` gives, as opaque data."""
    others = rest(data, *known)
    return {FAMILY: others} if others else {}


def own(opaque: Opaque) -> dict[str, Any]:
    """This family's opaque data."""
    return dict(opaque.get(FAMILY, {}))


class Losses:
    """Collects what could not be carried over; the same loss counts once."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[Loss, None] = {}

    def add(self, what: str, why: str) -> None:
        """Note one loss: the canonical field or part, and a short sentence."""
        self._found[Loss(what, why)] = None

    def foreign(self, what: str, opaque: Mapping[str, Any]) -> None:
        """Note the data of other families in a part's opaque data or a request's options."""
        for family in opaque:
            if family != FAMILY:
                self.add(f"{what}[{family}]", f"Data of the {family} family means nothing to Anthropic.")

    def found(self) -> tuple[Loss, ...]:
        """All of them, in the order noted."""
        return tuple(self._found)


class _InputView(msgspec.Struct, gc=False):
    """A content block of which only the text of `input` is read."""

    input: msgspec.Raw = msgspec.Raw(b"")


class _TurnView(msgspec.Struct, gc=False):
    content: str | list[_InputView] | None = None


class _RequestView(msgspec.Struct, gc=False):
    messages: list[_TurnView] = []


_request_view = msgspec.json.Decoder(_RequestView)
_turn_view = msgspec.json.Decoder(_TurnView)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def keep_request_inputs(tree: Json, body: bytes) -> None:
    """Put the text of each tool_use input in place of the object, so that arguments stay as they were written.

    A body that does not fit is left as it is: reading it will say what is wrong.
    """
    if b'"tool_use"' not in body or type(tree) is not dict or type(tree.get("messages")) is not list:
        return
    try:
        views = _request_view.decode(body).messages
    except _UNREADABLE:
        return
    for turn, view in zip(tree["messages"], views, strict=False):
        _keep_inputs(turn, view)


def keep_response_inputs(tree: Json, body: bytes) -> None:
    """The same for an answer."""
    if b'"tool_use"' not in body:
        return
    try:
        _keep_inputs(tree, _turn_view.decode(body))
    except _UNREADABLE:
        return


def _keep_inputs(turn: Json, view: _TurnView) -> None:
    if type(turn) is dict and type(turn.get("content")) is list and isinstance(view.content, list):
        for block, block_view in zip(turn["content"], view.content, strict=False):
            _keep_input(block, block_view)


def _keep_input(block: Json, view: _InputView) -> None:
    if type(block) is dict and block.get("type") == "tool_use" and type(block.get("input")) is dict:
        block["input"] = JsonText(bytes(view.input).decode())


class _StartView(msgspec.Struct, gc=False):
    content_block: _InputView


_start_view = msgspec.json.Decoder(_StartView)


def keep_start_input(block: Json, data: bytes) -> None:
    """The same for the block of a content_block_start event."""
    try:
        _keep_input(block, _start_view.decode(data).content_block)
    except _UNREADABLE:
        return
