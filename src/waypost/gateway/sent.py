"""What the caller has of a stream under way, and whether it could be gone on with if the stream broke now.

It makes no request and reads no second stream (`recovery`, `seam`). The invariant: recovery is for one choice of
plain text only, where text can be compared or continued; whatever else was sent or asked for rules it out, with the
reason.

Reasoning that ended before the text is no obstacle: a new start thinks anew, unseen, and only the text is compared.
But no target continues by prefill behind somebody's thinking (its signature is not theirs), nor while it is to think
itself. Reasoning that was cut off has lost its end for good, so such a stream is not recovered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from waypost.chat import (
    CitationDelta,
    Event,
    Finish,
    Json,
    LogprobsDelta,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Request,
    ResponseStart,
    Text,
    ToolResult,
    Unknown,
    Usage,
    UsageUpdate,
)

Way: TypeAlias = Literal["prefill", "user_turn", "restart"]
"""Go on from the text as the assistant's unfinished turn; be asked to by a user's turn; or begin again."""

RECOVERY_LIMIT_BYTES = 1024 * 1024
"""The longest text that is kept for recovery, in UTF-8."""

CHARACTERS_A_TOKEN = 4
"""A usual figure for English; where it is wrong the answer may end somewhat before or after its limit."""

RULED_OUT = frozenset({
    "logprobs", "top_logprobs", "responseLogprobs", "message.output_text.logprobs",
    "audio", "modalities", "responseModalities", "web_search_options", "functions", "mcp_servers", "container",
    "previous_response_id", "conversation", "background", "prompt",
    "response_format", "format", "output_format", "responseMimeType", "responseSchema", "responseJsonSchema",
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "grammar", "json_schema", "structured_outputs",
})  # fmt: skip
"""Options of any provider that make the answer more than plain text, or stand for a state that a second call may find
changed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What the caller has of a stream that may be recovered.

    `index` is the text part's, or the next free one while the part is absent; `ways` are those that are possible
    at all, the best first; `usage` is what the broken attempt had reported.
    """

    start: ResponseStart
    text: str
    index: int
    part: Literal["absent", "open", "ended"]
    ways: tuple[Way, ...]
    usage: Usage

    @property
    def used_tokens(self) -> int:
        """Output tokens of the broken attempt: as reported or, where that came too early, guessed by length."""
        guessed = -(-len(self.text) // CHARACTERS_A_TOKEN)
        return max(guessed, self.usage.output_tokens or 0)


@dataclass(frozen=True, slots=True)
class Unrecoverable:
    """Why a stream cannot be recovered: a clause in plain words, for the log and the request's story."""

    reason: str


class SentRecord:
    """Takes the events of one stream as they are sent, and keeps what recovery needs: no more than the bound."""

    def __init__(self, request: Request, limit_bytes: int = RECOVERY_LIMIT_BYTES) -> None:
        self._request = request
        self._obstacle = ""
        self._left_bytes = self._limit_bytes = limit_bytes
        self._start: ResponseStart | None = None
        self._pieces: list[str] = []
        self._text_index: int | None = None
        self._text_ended = False
        self._thinking: set[int] = set()
        self._free_index = 0
        self._usage = Usage()

    def add(self, event: Event) -> None:
        """Take one event, in order."""
        take = self._TAKES.get(type(event))
        if take is not None and not self._obstacle:
            take(self, event)

    def verdict(self) -> Sent | Unrecoverable:
        """What there is to go on from now."""
        # The request is read here, not at the start: most streams never break.
        self._rule_out(self._obstacle or request_obstacle(self._request))
        if self._thinking:
            self._rule_out("the model was still thinking")
        if self._start is None:
            self._rule_out("it had not begun")
        if self._obstacle or self._start is None:
            return Unrecoverable(self._obstacle)
        text = "".join(self._pieces)
        if self._text_index is None:
            return Sent(self._start, text, self._free_index, "absent", ("restart",), self._usage)
        part: Literal["open", "ended"] = "ended" if self._text_ended else "open"
        return Sent(self._start, text, self._text_index, part, self._ways(text), self._usage)

    def _ways(self, text: str) -> tuple[Way, ...]:
        # A part that was ended is whole: there is nothing to continue, only to compare.
        if self._text_ended or not text.strip() or _ends_with_assistant(self._request):
            return ("restart",)
        if self._text_index or _is_to_think(self._request):
            return ("user_turn", "restart")
        return ("prefill", "user_turn", "restart")

    def _begin(self, event: PartStart) -> None:
        self._free_index = max(self._free_index, event.index + 1)
        match event.part:
            case _ if event.choice:
                self._rule_out("there is more than one choice")
            case Text() if self._text_index is not None:
                self._rule_out("the answer has more than one text")
            case Text(citations=()):
                self._text_index = event.index
                self._grow(event.part.text)
            case Reasoning() if self._text_index is None:
                self._thinking.add(event.index)
            case _:
                self._rule_out(f"the answer holds more than text ({type(event.part).__name__})")

    def _set_start(self, event: ResponseStart) -> None:
        self._start = event

    def _append(self, event: PartDelta) -> None:
        if event.index == self._text_index:
            self._grow(event.text)

    def _end(self, event: PartEnd) -> None:
        self._text_ended = self._text_ended or event.index == self._text_index
        self._thinking.discard(event.index)

    def _count(self, event: UsageUpdate) -> None:
        self._usage = self._usage.merge(event.usage)

    def _grow(self, text: str) -> None:
        self._left_bytes -= len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if self._left_bytes < 0:
            self._rule_out(f"the text is longer than the bound of {self._limit_bytes} bytes")
        else:
            self._pieces.append(text)

    def _rule_out(self, reason: str) -> None:
        self._obstacle = self._obstacle or reason
        if self._obstacle:
            self._pieces.clear()

    def _cite(self, _: CitationDelta) -> None:
        self._rule_out("the answer has citations")

    def _weigh(self, _: LogprobsDelta) -> None:
        self._rule_out("the answer has log-probabilities")

    def _finish(self, _: Finish) -> None:
        self._rule_out("the answer was finished")

    _TAKES: ClassVar[Mapping[type, Callable[[SentRecord, Any], None]]] = {
        ResponseStart: _set_start,
        PartStart: _begin,
        PartDelta: _append,
        CitationDelta: _cite,
        LogprobsDelta: _weigh,
        PartEnd: _end,
        UsageUpdate: _count,
        Finish: _finish,
    }
    """Failed is left out: it is the break itself."""


def request_obstacle(request: Request) -> str:
    """Why no answer to this request could be recovered; empty if one could."""
    form = request.response_format
    if (request.sampling.choices or 1) > 1:
        return "more than one choice was asked for"
    if request.tools:
        return "the model may call tools"
    if form is not None and form.kind != "text":
        return "structured output was asked for"
    if any(_asks_for_citations(part) for message in request.messages for part in message.parts):
        return "citations were asked for"
    named = RULED_OUT.intersection(_names(request.provider_options))
    return f"the option {min(named)} was set" if named else ""


def _names(options: Json) -> Iterator[str]:
    """Names of options that are set, at any depth, and the words in their lists."""
    if isinstance(options, Mapping):
        for name, value in options.items():
            if _is_set(value):
                yield name
                yield from _names(value)
    elif isinstance(options, list | tuple):
        for item in options:
            yield from [item] if isinstance(item, str) else _names(item)


def _is_set(value: Json) -> bool:
    """Does it ask for anything but what plain text is by default?"""
    match value:
        case None | False | {"type": "text"}:
            return False
        case str() | Mapping():
            return bool(value) and value not in ("text", "text/plain")
        case [*items]:
            return any(not isinstance(item, str) or item.lower() != "text" for item in items)
        case _:
            return True


def _asks_for_citations(part: Part) -> bool:
    if isinstance(part, ToolResult):
        return any(_asks_for_citations(inner) for inner in part.parts)
    data = [part.data] if isinstance(part, Unknown) else part.opaque.values()
    wishes = [wish.get("citations") for wish in data]
    return any(isinstance(wish, Mapping) and bool(wish.get("enabled")) for wish in wishes)


def _is_to_think(request: Request) -> bool:
    wish = request.reasoning
    return wish is not None and wish.enabled is not False and wish.effort != "none" and wish.budget_tokens != 0


def _ends_with_assistant(request: Request) -> bool:
    """Does the caller himself begin the answer? A target that repeats the prefill would repeat his part of it too."""
    return bool(request.messages) and request.messages[-1].role == "assistant"
