"""Where a target falls short of a request: what to tell the caller, and the request without it.

The invariant: only a known "no" is a lack. What is unknown is left to the provider, whose own answer is the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from waypost.catalogue.capabilities import Capabilities
from waypost.catalogue.needs import FORMATS, LOGPROBS_INCLUDED, LOGPROBS_OPTIONS, MEDIA, Need, Needs, is_prefill
from waypost.chat import Media, Part, Request, ToolChoice, ToolResult
from waypost.errors import UnsupportedFeature

CONTEXT_WINDOW: Final = "context_window_tokens"
MAX_OUTPUT: Final = "max_output_tokens"
CERTAINTY: Final = 2
"""A prompt is called too long only if it is so at half of its estimate: between the two only the model can tell."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How a need is told: "cannot <what>", what to do, the request's field, and what going without does."""

    what: str
    hint: str
    param: str
    without: str


WORDINGS: Final[Mapping[Need, Wording]] = {
    Need.TOOLS: Wording("use tools", "Send none", "tools", "the tools were left out"),
    Need.PARALLEL_TOOLS: Wording(
        "call several tools at once", "Do not ask for it", "parallel_tool_calls", "it was not asked for it"
    ),
    Need.FORCED_TOOLS: Wording(
        "be made to call a tool", 'Ask with the tool choice "auto"', "tool_choice", 'the tool choice became "auto"'
    ),
    Need.IMAGES: Wording("look at images", "Send none", "messages", "the images were left out"),
    Need.DOCUMENTS: Wording("read documents", "Send their text", "messages", "the documents were left out"),
    Need.AUDIO_INPUT: Wording("listen to sound", "Send a transcript", "messages", "the sound was left out"),
    Need.PREFILL: Wording(
        "go on from an assistant's message",
        "End the messages with the user's",
        "messages",
        "the assistant's last message was left out",
    ),
    Need.PREFILL_WITH_REASONING: Wording(
        "go on from an assistant's message while it reasons",
        "Do not ask for reasoning, or end the messages with the user's",
        "messages",
        "it was not asked to reason",
    ),
    Need.STRUCTURED_OUTPUT: Wording(
        "answer by a JSON schema", "Describe the form in the prompt", "response_format", "the schema was left out"
    ),
    Need.JSON_OBJECT: Wording(
        "be held to JSON",
        "Send a JSON schema, or ask for JSON in the prompt",
        "response_format",
        "it was not held to it",
    ),
    Need.REASONING: Wording("reason on demand", "Do not ask for it", "reasoning", "it was not asked to"),
    Need.REASONING_BUDGET: Wording(
        "keep to a budget for reasoning", "Ask for an effort instead", "reasoning", "the budget was left out"
    ),
    Need.REASONING_OFF: Wording(
        "answer without reasoning", "Ask for a low effort instead", "reasoning", "it was left to reason"
    ),
    Need.SAMPLING: Wording(
        "have its temperature, top_p or top_k set", "Leave them out", "temperature", "they were left out"
    ),
    Need.LOGPROBS: Wording("tell log-probabilities", "Do not ask for them", "logprobs", "they were not asked for"),
    Need.SEVERAL_CHOICES: Wording("give several answers at once", "Ask several times", "n", "one was asked for"),
    Need.SYSTEM_PROMPT: Wording(
        "take a system prompt", "Put it into the user's message", "messages", "it was sent as the user's message"
    ),
    Need.STREAMING: Wording("stream its answer", "Ask for it whole", "stream", "the answer comes whole"),
    Need.EMBEDDINGS: Wording("make embeddings", "Name an embedding model", "model", "nothing could be left out"),
}


_ORDER: Final = {need: place for place, need in enumerate(Need)}


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that a request needs and a target has not, for people: `message` names the target."""

    capability: str
    """The name of the field of `Capabilities`."""
    message: str
    hint: str
    param: str
    without: str = ""
    """What was done, where the request went without it; empty: it cannot go without."""
    limit: int | None = None
    """The target's own, in tokens, where a number is what is lacking."""


def lacking(needs: Needs, capabilities: Capabilities, target: str) -> tuple[Lack, ...]:
    """What `target` ("provider/model") is known to lack of `needs`, in the order of `Need`."""
    missing = sorted(
        (need for need in needs.capabilities if getattr(capabilities, need) is False), key=_ORDER.__getitem__
    )
    if Need.PREFILL in missing and Need.PREFILL_WITH_REASONING in missing:
        missing.remove(Need.PREFILL_WITH_REASONING)
    return (*(_lack(need, target) for need in missing), *_lacking_room(needs, capabilities, target))


def _lack(need: Need, target: str) -> Lack:
    wording = WORDINGS[need]
    hint = f"{wording.hint}, or name another model."
    return Lack(need.value, f"{target} cannot {wording.what}.", hint, wording.param, wording.without)


def _lacking_room(needs: Needs, capabilities: Capabilities, target: str) -> Iterator[Lack]:
    window, longest = capabilities.context_window_tokens, capabilities.max_output_tokens
    if window is not None and needs.size.tokens > window * CERTAINTY:
        yield Lack(
            CONTEXT_WINDOW,
            f"The prompt has about {needs.size.tokens} tokens; {target} reads {window}.",
            "Shorten it, or name a model with a larger context window.",
            "messages",
            limit=window,
        )
    if longest is not None and needs.max_tokens is not None and needs.max_tokens > longest:
        yield Lack(
            MAX_OUTPUT,
            f"{target} writes {longest} tokens at most; {needs.max_tokens} were asked for.",
            f"Ask for {longest} or fewer, or name another model.",
            "max_tokens",
            f"{longest} were asked for",
            longest,
        )


def refusal(lacks: Collection[Lack]) -> UnsupportedFeature:
    """The error for a request that is refused for them; there is at least one."""
    first = next(iter(lacks))
    hints = dict.fromkeys(lack.hint for lack in lacks)
    return UnsupportedFeature(" ".join(lack.message for lack in lacks), hint=" ".join(hints), param=first.param)


def without(request: Request, lacks: Collection[Lack]) -> Request:
    """The request without what is lacking, all else as it was.

    What it cannot go without stays in it: a prompt that is too long, and an assistant's message that is the only one.
    How it is sent is not its own matter, so that it says nothing of streaming either.
    """
    for lack in lacks:
        drop = _DROPS.get(lack.capability)
        if drop is not None:
            request = drop(request)
        elif lack.capability == MAX_OUTPUT:
            request = replace(request, sampling=replace(request.sampling, max_tokens=lack.limit))
    return request


def _without_tools(request: Request) -> Request:
    return replace(request, tools=(), tool_choice=None)


def _choosing(**changes: Any) -> Callable[[Request], Request]:
    """The request with a tool choice that differs in these fields."""
    return lambda request: replace(request, tool_choice=replace(request.tool_choice or ToolChoice(), **changes))


def _sampling(**changes: Any) -> Callable[[Request], Request]:
    return lambda request: replace(request, sampling=replace(request.sampling, **changes))


def _unset(name: str) -> Callable[[Request], Request]:
    return lambda request: replace(request, **{name: None})  # type: ignore[arg-type]


def _without_media(kind: str) -> Callable[[Request], Request]:
    """Without the parts of that kind, and without a message that has nothing else."""

    def drop(request: Request) -> Request:
        messages = [replace(message, parts=_kept(message.parts, kind)) for message in request.messages]
        said = [new for new, old in zip(messages, request.messages, strict=True) if new.parts or not old.parts]
        return replace(request, messages=tuple(said or messages))

    return drop


AnyPart = TypeVar("AnyPart", bound=Part)


def _kept(parts: tuple[AnyPart, ...], kind: str) -> tuple[AnyPart, ...]:
    return tuple(_part_kept(part, kind) for part in parts if not (isinstance(part, Media) and part.kind == kind))


def _part_kept(part: AnyPart, kind: str) -> AnyPart:
    return replace(part, parts=_kept(part.parts, kind)) if isinstance(part, ToolResult) else part


def _without_prefill(request: Request) -> Request:
    while is_prefill(request) and any(message.role == "user" for message in request.messages[:-1]):
        request = replace(request, messages=request.messages[:-1])
    return request


def _without_logprobs(request: Request) -> Request:
    options: Mapping[str, Any] = request.provider_options
    for way, names in LOGPROBS_OPTIONS.items():
        options = _less(options, way, names)
    included = options.get("openai_responses", {}).get("include")
    if isinstance(included, list) and LOGPROBS_INCLUDED in included:
        rest = [name for name in included if name != LOGPROBS_INCLUDED]
        options = {**options, "openai_responses": {**options["openai_responses"], "include": rest}}
    return replace(request, provider_options=options)


def _less(options: Mapping[str, Any], way: tuple[str, ...], names: Collection[str]) -> Mapping[str, Any]:
    """The options without the members `names` of the object that `way` leads to."""
    if not way:
        return {name: value for name, value in options.items() if name not in names}
    inner = options.get(way[0])
    return {**options, way[0]: _less(inner, way[1:], names)} if isinstance(inner, Mapping) else options


def _with_instructions_said(request: Request) -> Request:
    """Instructions as the user's words: the text is kept, in its place."""
    roles = {"system", "developer"}
    messages = [replace(message, role="user") if message.role in roles else message for message in request.messages]
    return replace(request, messages=tuple(messages))


def _without_budget(request: Request) -> Request:
    wish = request.reasoning and replace(request.reasoning, budget_tokens=None, enabled=True)
    return replace(request, reasoning=wish)


_DROPS: Final[Mapping[str, Callable[[Request], Request]]] = {
    Need.TOOLS: _without_tools,
    Need.PARALLEL_TOOLS: _choosing(parallel=None),
    Need.FORCED_TOOLS: _choosing(mode="auto", name=None),
    **{need: _without_media(kind) for kind, need in MEDIA.items()},
    Need.PREFILL: _without_prefill,
    Need.PREFILL_WITH_REASONING: _unset("reasoning"),
    **dict.fromkeys(FORMATS.values(), _unset("response_format")),
    Need.REASONING: _unset("reasoning"),
    Need.REASONING_BUDGET: _without_budget,
    Need.REASONING_OFF: _unset("reasoning"),
    Need.SAMPLING: _sampling(temperature=None, top_p=None, top_k=None),
    Need.LOGPROBS: _without_logprobs,
    Need.SEVERAL_CHOICES: _sampling(choices=None),
    Need.SYSTEM_PROMPT: _with_instructions_said,
}
