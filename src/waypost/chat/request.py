"""A request to a model in canonical form. Whether it is streamed is how it is sent, not what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from waypost.chat.parts import Json, Opaque, Part, Text, Unknown

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `name` tells apart several speakers of one role."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    opaque: Opaque = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All Text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function the model may call. `parameters` is a JSON schema (None: no arguments are declared)."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Json] | None = None
    strict: bool | None = None
    opaque: Opaque = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CustomTool:
    """A tool the model may call with plain text. `format` is OpenAI's wish for that text (a grammar), read by no one.

    A format without such tools has a function with one text argument instead; see `codecs.custom_tools`.
    """

    name: str
    description: str | None = None
    format: Mapping[str, Json] | None = None
    opaque: Opaque = field(default_factory=dict)


Tool: TypeAlias = FunctionTool | CustomTool | Unknown
"""Unknown: a tool of the provider's own, or of a kind this version does not know."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools may be called. `name` goes with mode "tool"; `parallel` None leaves it to the provider."""

    mode: Literal["auto", "none", "required", "tool"] = "auto"
    name: str | None = None
    parallel: bool | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of generation; None leaves each to the provider."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    choices: int | None = None
    """How many answers; None and 1 are the same to every provider."""


@dataclass(frozen=True, slots=True)
class ReasoningWish:
    """How much to think. Providers take an effort, a budget in tokens, or off; at most one is set."""

    effort: str | None = None
    budget_tokens: int | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """Structured output: any JSON object, or one that fits `schema`."""

    kind: Literal["text", "json_object", "json_schema"]
    schema: Mapping[str, Json] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a model.

    `tool_choice`, `reasoning` and `response_format` None: the caller said nothing. `provider_options` holds
    the fields that only one wire format knows, as JSON, by its family: `{"openai": {"logit_bias": {…}}}`.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    sampling: Sampling = field(default_factory=Sampling)
    reasoning: ReasoningWish | None = None
    response_format: ResponseFormat | None = None
    end_user_id: str | None = None
    provider_options: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
