"""Requests that are passed on as they came, because caller and provider speak one wire format.

What a gateway must know of such a request is read from its top level; what it must change there is the model and,
where a format tells usage only to those who ask, that wish. The invariant: every other member keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from waypost.chat import Json
from waypost.codecs.jsonbytes import JsonError, parse_request
from waypost.errors import InvalidRequest

Members = dict[str, Json]
THINKING: Final = frozenset({"reasoning_effort", "reasoning", "thinking"})
"""Members by which callers of any format but Gemini's ask for reasoning."""


class Glance(msgspec.Struct, frozen=True):
    """What is known of a request before it is decoded. `members` are the body's own, as JSON values."""

    members: Mapping[str, Json]
    model: str = ""
    stream: bool = False
    include_usage: bool = True
    """Did the caller ask for usage in the stream?"""
    choices: int = 1

    @property
    def thinks(self) -> bool:
        """Is reasoning asked for?"""
        settings = self.members.get("generationConfig")
        nested = isinstance(settings, dict) and bool(settings.get("thinkingConfig"))
        return nested or any(self.members[name] for name in THINKING & self.members.keys())


@dataclass(frozen=True, slots=True)
class Passing:
    """One wire format's rules. `turns` is the member that holds the conversation."""

    turns: tuple[str, ...]
    choices: Callable[[Members], Json]
    names_model: bool = True
    """Do model and stream stand in the body? Gemini has them in the URL."""
    asks_usage: bool = False
    """Is a stream's usage told only to those who ask (`stream_options.include_usage`)?"""
    end_mark: bytes = b""
    """The data of the event that ends a stream after the provider has finished. Empty: the finish is the end."""


def _one(_members: Members) -> Json:
    return 1


def _candidates(members: Members) -> Json:
    settings = members.get("generationConfig") or members.get("generation_config")
    held = settings if isinstance(settings, dict) else {}
    return held.get("candidateCount") or held.get("candidate_count")


PASSING: Final[Mapping[str, Passing]] = {
    "openai_chat": Passing(("messages",), lambda members: members.get("n"), asks_usage=True, end_mark=b"[DONE]"),
    "openai_responses": Passing(("input", "prompt", "previous_response_id", "conversation"), _one),
    "anthropic_messages": Passing(("messages",), _one),
    "gemini": Passing(("contents",), _candidates, names_model=False),
}
"""By the codec's name. A format that is not here is always decoded."""

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def glance(wire: str, body: bytes) -> Glance:
    """The request at a glance. Raises InvalidRequest: no sound JSON object, no model, a wrong type."""
    passing = PASSING[wire]
    try:
        members = parse_request(body)
    except JsonError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
    if type(members) is not dict:
        raise InvalidRequest("The body must be a JSON object.")
    if not members.get(passing.turns[0]) and not any(members.get(name) for name in passing.turns[1:]):
        name = passing.turns[0]
        raise InvalidRequest(f"{name} must not be empty.", param=name)
    choices = passing.choices(members)
    known = choices if type(choices) is int and choices > 0 else 1
    if not passing.names_model:
        return Glance(members, choices=known)
    return Glance(
        members,
        _model(members),
        _flag(members, "stream"),
        not passing.asks_usage or _asks_usage(members),
        known,
    )


def _model(members: Members) -> str:
    model = members.get("model")
    if type(model) is not str:
        problem = "is missing" if model is None else "must be a string"
        raise InvalidRequest(f"model {problem}.", hint="Name a route or a model.", param="model")
    if not model:
        raise InvalidRequest("model must not be empty.", hint="Name a route or a model.", param="model")
    return model


def _flag(members: Members, name: str) -> bool:
    value = members.get(name)
    if value is not None and type(value) is not bool:
        raise InvalidRequest(f"{name} must be true or false.", param=name)
    return bool(value)


def _asks_usage(members: Members) -> bool:
    options = members.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def passed_on(wire: str, body: bytes, seen: Glance, model: str) -> bytes:
    """The body for a provider that speaks this format too, with its own name of the model."""
    passing = PASSING[wire]
    ask_usage = passing.asks_usage and seen.stream and not seen.include_usage
    if not passing.names_model or (seen.model == model and not ask_usage):
        return body
    members: dict[str, Any] = _MEMBERS.decode(body)
    members["model"] = model
    if ask_usage:
        options = seen.members.get("stream_options")
        members["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return msgspec.json.encode(members)
