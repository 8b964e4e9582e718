"""What the simulator says and when, as values: an ordered list of rules, of which the first that matches answers.

Not the loading of a script from a file (`loading`), nor the making of an answer (`answers`). A script is never
changed by being used: how often a rule has applied is kept in `Playbook`, one for each running simulator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from waypost.chat import FinishReason, Json, Message, Request
from waypost.simulator.faults import Fault
from waypost.simulator.limiter import RateLimits

DialectName = Literal["openai", "openai_responses", "anthropic", "gemini"]
Prefill = Literal["continue", "repeat", "ignore", "refuse"]
"""What a conversation that ends with the assistant's own words leads to; see `Reply`."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a rule is for; what is None or empty matches all.

    `model` is a glob; `contains` is text within the last user message, upper and lower case alike; `path` a glob for
    the URL's path; `key` one for the API key; `header` names headers and a glob for the value of each. `batched`: did
    it come in a batch? Calls about batches and files hold no conversation: only rules that name a `path` match them,
    and none that look into one (`model`, `contains`, `streamed`, `batched`).
    """

    model: str | None = None
    contains: str | None = None
    format: DialectName | None = None
    streamed: bool | None = None
    header: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    key: str | None = None
    method: str | None = None
    batched: bool | None = None


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A tool call to answer with. `arguments` None: made from the tool's schema; a string is sent as written."""

    name: str
    arguments: Mapping[str, Json] | str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. `echo` answers with the last user message and nothing else.

    All empty: the simulator thinks of an answer itself (see `answers`). `prefill` says what is done if the conversation
    ends with the assistant's own words and those begin the text to answer with: only the rest is said (`continue`), or
    they are said again and then the rest (`repeat`); `ignore` answers as if they were not there, `refuse` with an
    error. None: as the provider does. `blocked` is Google's word for why it blocks the prompt: then nothing is said,
    and there is no candidate; other dialects end an answer without content as filtered.
    """

    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ScriptedCall, ...] = ()
    echo: bool = False
    prefill: Prefill | None = None
    blocked: str | None = None


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast an answer comes. One that is not streamed takes as long as its stream would."""

    first_token_s: float = 0.0
    token_interval_s: float = 0.0
    tokens_per_chunk: int = 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a stream's bytes lie on the wire, within what the SSE standard allows.

    `line_end` None: the provider's own. `write_bytes` 0: one write an event; otherwise writes of that many bytes,
    wherever that cuts an event or a character. `events_per_write`: so many events are sent as one. `comments`: a
    comment before every event (a stream that is a JSON array has none).
    """

    line_end: Literal["lf", "crlf"] | None = None
    write_bytes: int = 0
    comments: bool = False
    events_per_write: int = 1


@dataclass(frozen=True, slots=True)
class UsageOverride:
    """Counts to report in place of the real ones."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_cache_read_tokens: int | None = None
    input_cache_write_5m_tokens: int | None = None
    output_reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """When a rule applies, in seconds since the script came into use: from `after_s` for `on_s`.

    With `off_s` it flaps: so long on, so long off, and again. Without, it is on once.
    """

    on_s: float
    off_s: float | None = None
    after_s: float = 0.0

    def is_open(self, elapsed_s: float) -> bool:
        """Does the rule apply at that time?"""
        inside_s = elapsed_s - self.after_s
        if inside_s < 0:
            return False
        return (inside_s if self.off_s is None else inside_s % (self.on_s + self.off_s)) < self.on_s


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the script. `times` is how often it applies at most, then those after it have their turn.

    `every`: of the requests it matches it is for each so manieth, those after it have the others. `window` is when it
    applies; outside of it those after it have their turn. `raw_finish_reason` is the provider's own word for the finish
    reason, where it has several.
    """

    match: Match = field(default_factory=Match)
    reply: Reply = field(default_factory=Reply)
    pacing: Pacing | None = None
    delivery: Delivery | None = None
    usage: UsageOverride | None = None
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    times: int | None = None
    every: int | None = None
    window: Window | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class BatchRule:
    """How a batch goes on. `match` looks at its first item and the call that made it; `times` is as in `Rule`.

    It ends once all is answered, not before `takes_s` seconds, and not before `takes_polls` retrievals said that it
    goes on. `answers`: only so many items are ever answered, in their order; the others wait until the batch is
    cancelled or has expired, which it has after `expires_s` seconds. `cancel_polls`: so many retrievals say that it is
    being cancelled, before it is. `fails`: OpenAI's code for why the batch as a whole is not taken on, told when it is
    validated, such as `token_limit_exceeded`; Anthropic refuses the call instead, which is for a rule's fault.
    """

    match: Match = field(default_factory=Match)
    takes_s: float = 0.0
    takes_polls: int = 0
    answers: int | None = None
    expires_s: float = 86_400.0
    cancel_polls: int = 0
    fails: str | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """All of it. A request no rule matches is answered as by an empty rule.

    `models` empty: any model name is known. `seed` goes into every id. `pacing` and `delivery` hold where a rule
    says nothing. `limits` are those of each key; what is over them gets a 429 with the time to wait. `batches` say how
    batches go on; what is asked in them is for the `rules`.
    """

    rules: tuple[Rule, ...] = ()
    models: tuple[str, ...] = ()
    seed: int = 0
    pacing: Pacing = field(default_factory=Pacing)
    delivery: Delivery = field(default_factory=Delivery)
    limits: RateLimits | None = None
    batches: tuple[BatchRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for one request. `number` is the rule's place in the script from 1, None if none matched."""

    number: int | None
    reply: Reply
    pacing: Pacing
    delivery: Delivery
    usage: UsageOverride | None
    finish_reason: FinishReason | None
    raw_finish_reason: str | None
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What rules look at. Header names are lower-case. `request` None: a call about batches or files."""

    request: Request | None
    dialect: DialectName
    streamed: bool = False
    path: str = ""
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    batched: bool = False


class Playbook:
    """A script in use: picks the rule for each request and counts. `clock` gives seconds."""

    def __init__(self, script: Script, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.script = script
        self._used = [0] * len(script.rules)
        self._met = [0] * len(script.rules)
        self._batches = [0] * len(script.batches)
        self._clock = clock
        self._began_s = clock()

    def plan(self, asked: Asked) -> Plan:
        """The first matching rule that has turns left; this takes one of its turns."""
        elapsed_s = self._clock() - self._began_s
        for index, rule in enumerate(self.script.rules):
            spent = rule.times is not None and self._used[index] >= rule.times
            closed = rule.window is not None and not rule.window.is_open(elapsed_s)
            if not spent and not closed and _matches(rule.match, asked) and self._is_due(index, rule):
                self._used[index] += 1
                return self._planned(index + 1, rule)
        return self._planned(None, Rule())

    def plan_batch(self, asked: Asked) -> BatchRule:
        """As `plan`, for a batch; an empty rule if none matches."""
        for index, rule in enumerate(self.script.batches):
            if (rule.times is None or self._batches[index] < rule.times) and _matches(rule.match, asked):
                self._batches[index] += 1
                return rule
        return BatchRule()

    def _is_due(self, index: int, rule: Rule) -> bool:
        self._met[index] += 1
        return rule.every is None or self._met[index] % rule.every == 0

    def _planned(self, number: int | None, rule: Rule) -> Plan:
        return Plan(
            number=number,
            reply=rule.reply,
            pacing=rule.pacing or self.script.pacing,
            delivery=rule.delivery or self.script.delivery,
            usage=rule.usage,
            finish_reason=rule.finish_reason,
            raw_finish_reason=rule.raw_finish_reason,
            fault=rule.fault,
        )


def last_user_message(request: Request) -> Message | None:
    """The newest message a user wrote."""
    return next((message for message in reversed(request.messages) if message.role == "user"), None)


def last_user_text(request: Request) -> str:
    """Its text; empty if there is none."""
    message = last_user_message(request)
    return message.text if message else ""


def _matches(match: Match, asked: Asked) -> bool:
    globs = ((match.path, asked.path), (match.key, asked.key), (match.method, asked.method))
    return (
        all(pattern is None or fnmatchcase(text, pattern) for pattern, text in globs)
        and match.format in (None, asked.dialect)
        and all(fnmatchcase(asked.headers.get(name.lower(), ""), pattern) for name, pattern in match.header.items())
        and _matches_conversation(match, asked)
    )


def _matches_conversation(match: Match, asked: Asked) -> bool:
    if asked.request is None:
        looks_into_one = (match.model, match.contains, match.streamed, match.batched)
        return match.path is not None and all(wanted is None for wanted in looks_into_one)
    return (
        (match.model is None or fnmatchcase(asked.request.model, match.model))
        and (match.contains is None or match.contains.casefold() in last_user_text(asked.request).casefold())
        and match.streamed in (None, asked.streamed)
        and match.batched in (None, asked.batched)
    )
