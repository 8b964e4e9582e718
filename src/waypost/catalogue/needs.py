"""What a canonical request needs of whoever answers it. Nothing is judged here; `lacks` does that.

The invariant: a need's name is the name of the capability that meets it, and the request shows it plainly. What a
request might need (a tool that may not be called, say) counts only where sending it at all needs the capability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from waypost.chat import Json, Media, Part, Reasoning, Refusal, Request, ServerTool, Text, ToolCall, ToolResult
from waypost.chat.parts import InlineData


class Need(StrEnum):
    """What a request may need, by the name of the field of `Capabilities`."""

    TOOLS = "tools"
    PARALLEL_TOOLS = "parallel_tools"
    FORCED_TOOLS = "forced_tools"
    IMAGES = "images"
    DOCUMENTS = "documents"
    AUDIO_INPUT = "audio_input"
    PREFILL = "prefill"
    PREFILL_WITH_REASONING = "prefill_with_reasoning"
    STRUCTURED_OUTPUT = "structured_output"
    JSON_OBJECT = "json_object"
    REASONING = "reasoning"
    REASONING_BUDGET = "reasoning_budget"
    REASONING_OFF = "reasoning_off"
    SAMPLING = "sampling"
    LOGPROBS = "logprobs"
    SEVERAL_CHOICES = "several_choices"
    SYSTEM_PROMPT = "system_prompt"
    STREAMING = "streaming"
    EMBEDDINGS = "embeddings"
    """Of a request for embeddings, which is no chat request; `needs_of` never finds it."""


MEDIA: Final[Mapping[str, Need]] = {
    "image": Need.IMAGES,
    "document": Need.DOCUMENTS,
    "audio": Need.AUDIO_INPUT,
}
FORMATS: Final[Mapping[str, Need]] = {"json_schema": Need.STRUCTURED_OUTPUT, "json_object": Need.JSON_OBJECT}
LOGPROBS_INCLUDED: Final = "message.output_text.logprobs"
"""How the Responses format asks for log-probabilities, in its list `include`."""
LOGPROBS_OPTIONS: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("openai",): ("logprobs", "top_logprobs"),
    ("openai_responses",): ("top_logprobs",),
    ("google", "generationConfig"): ("responseLogprobs", "logprobs"),
}
"""Where in `provider_options` log-probabilities are asked for: the way to the object, and its members."""

BYTES_PER_TOKEN: Final = 4
"""Of ordinary text; the vendors' own rule of thumb for English. UTF-8, so that other scripts count for more."""
IMAGE_TOKENS: Final = 1_100
"""About what a picture of a megapixel costs with each of the vendors."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long a prompt is, in tokens, as far as that can be told without the model's tokenizer.

    `whole` False: it also holds sound, documents or files by address, which are not in `tokens`.
    """

    tokens: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request needs. `max_tokens` is the longest answer it asks for; None leaves that to the model."""

    capabilities: frozenset[Need]
    size: Size
    max_tokens: int | None = None


def needs_of(request: Request, *, stream: bool) -> Needs:
    """What `request` needs; `stream` says how it is sent."""
    parts = list(all_parts(request))
    needs = {need for need, shows in _SIGNS.items() if shows(request)}
    needs |= {MEDIA[part.kind] for part in parts if isinstance(part, Media)}
    if stream:
        needs.add(Need.STREAMING)
    if needs >= {Need.PREFILL, Need.REASONING}:
        needs.add(Need.PREFILL_WITH_REASONING)
    return Needs(frozenset(needs), _size(request, parts), request.sampling.max_tokens)


def size_of(request: Request) -> Size:
    """The length of the request's prompt, roughly."""
    return _size(request, all_parts(request))


def all_parts(request: Request) -> Iterator[Part]:
    """The parts of every message, and those inside the results of tools."""
    for message in request.messages:
        for part in message.parts:
            yield part
            if isinstance(part, ToolResult):
                yield from part.parts


def is_prefill(request: Request) -> bool:
    """Does the conversation end with words of the assistant's, for the model to go on from?

    A turn with calls of tools, the provider's own among them, is sent back for its results and is none.
    """
    if not request.messages or request.messages[-1].role != "assistant":
        return False
    parts = request.messages[-1].parts
    return any(isinstance(part, Text) for part in parts) and not any(
        isinstance(part, ToolCall | ServerTool) for part in parts
    )


def _needs_tools(request: Request) -> bool:
    # With "none" the caller says that no tool is to be called, and none will be.
    mode = request.tool_choice.mode if request.tool_choice else "auto"
    return _forces_tools(request) or (bool(request.tools) and mode != "none")


def _forces_tools(request: Request) -> bool:
    return request.tool_choice is not None and request.tool_choice.mode in ("required", "tool")


def _reasons(request: Request) -> bool:
    wish = request.reasoning
    if wish is None or wish.enabled is False or wish.effort == "none":
        return False
    return bool(wish.effort or wish.budget_tokens or wish.enabled)


def _reasons_not(request: Request) -> bool:
    wish = request.reasoning
    return wish is not None and (wish.enabled is False or wish.effort == "none" or wish.budget_tokens == 0)


def _samples(request: Request) -> bool:
    """1 is every vendor's default, and accepted by models that accept no other."""
    sampling = request.sampling
    return sampling.temperature not in (None, 1) or sampling.top_p not in (None, 1) or sampling.top_k is not None


def _wants_logprobs(request: Request) -> bool:
    for way, names in LOGPROBS_OPTIONS.items():
        options: Any = request.provider_options
        for step in way:
            options = options.get(step) if isinstance(options, Mapping) else None
        if isinstance(options, Mapping) and any(options.get(name) for name in names):
            return True
    included = request.provider_options.get("openai_responses", {}).get("include")
    return isinstance(included, list) and LOGPROBS_INCLUDED in included


def _format_is(kind: str) -> Callable[[Request], bool]:
    return lambda request: request.response_format is not None and request.response_format.kind == kind


_SIGNS: Final[Mapping[Need, Callable[[Request], bool]]] = {
    Need.TOOLS: _needs_tools,
    Need.FORCED_TOOLS: _forces_tools,
    Need.PARALLEL_TOOLS: lambda request: request.tool_choice is not None and request.tool_choice.parallel is True,
    Need.PREFILL: is_prefill,
    **{need: _format_is(kind) for kind, need in FORMATS.items()},
    Need.REASONING: _reasons,
    Need.REASONING_BUDGET: lambda request: bool(request.reasoning and request.reasoning.budget_tokens),
    Need.REASONING_OFF: _reasons_not,
    Need.SAMPLING: _samples,
    Need.LOGPROBS: _wants_logprobs,
    Need.SEVERAL_CHOICES: lambda request: (request.sampling.choices or 1) > 1,
    Need.SYSTEM_PROMPT: lambda request: any(message.role in ("system", "developer") for message in request.messages),
}


def _size(request: Request, parts: Iterable[Part]) -> Size:
    declared = [value for value in (request.tools, request.response_format) if value]
    size_bytes = len(_ENCODER.encode(declared)) if declared else 0
    tokens, whole = 0, True
    for part in parts:
        if isinstance(part, Text | Reasoning | Refusal):
            size_bytes += _utf8_size(part.text)
        elif isinstance(part, ToolCall):
            size_bytes += _utf8_size(part.name) + _utf8_size(part.arguments)
        elif isinstance(part, Media) and part.kind == "image":
            tokens += IMAGE_TOKENS
        elif isinstance(part, Media):
            text = part.source if isinstance(part.source, InlineData) else None
            if text is not None and text.media_type.startswith("text/"):
                size_bytes += len(text.data)
            else:
                whole = False
        elif not isinstance(part, ToolResult):
            size_bytes += len(_ENCODER.encode(part.data))
    return Size(tokens + -(-size_bytes // BYTES_PER_TOKEN), whole)


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _plain(value: Json) -> Json:
    """A mapping of another kind than dict, as JSON can be written from it."""
    return dict(value) if isinstance(value, Mapping) else str(value)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain)
