"""What a provider wants back with its tool calls and callers of another dialect do not send, by tenant and call id.

That is the reasoning before a call with its signature or encrypted content, and opaque data of the call itself (such
as Gemini's thoughtSignature and ids of OpenAI's items). Without it a provider that reasons refuses the turn that brings
a tool's result, or forgets what it thought. The invariant: what a caller says is only completed, never changed, and
nothing is put back unless the call is the one that the provider made, by id, name and arguments.

Nothing here reads what is opaque. Reasoning without such data is not kept: it is no signature that it lacks.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from waypost.chat import Message, Opaque, Part, Reasoning, Refusal, Request, Text, ToolCall
from waypost.chat.collect import merge_opaque
from waypost.codecs.jsonbytes import JsonError, parse_reply

_ENTRY_BYTES: Final = 512
_VALUE_BYTES: Final = 64
"""What an entry, and a value of JSON, weigh besides their text, roughly."""


@dataclass(frozen=True, slots=True)
class _Thought:
    """Reasoning that came before a call, and how many texts came before it since the last call."""

    texts: int
    reasoning: Reasoning


@dataclass(frozen=True, slots=True)
class _Kept:
    name: str
    arguments: str
    opaque: Opaque
    thoughts: tuple[_Thought, ...]
    size_bytes: int


_WRITTEN: Final = msgspec.json.Decoder(dict[str, _Kept])


class SignatureStore:
    """At most `max_entries` calls in at most `max_bytes`; the least recently used go first."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.size_bytes = 0
        """What all calls weigh, roughly."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def remember(self, tenant: str, parts: Sequence[Part]) -> None:
        """Keep what belongs to the tool calls of one answer. `parts` are all of one choice, in their order."""
        for before, call in _calls(parts):
            if call is not None:
                self._keep(tenant, call, _thoughts(before))

    def restored(self, tenant: str, request: Request) -> Request:
        """The request with all that is known of its calls and not in it; the same object if that is nothing."""
        if not self._kept:
            return request
        messages = [self._restored_message(tenant, message) for message in request.messages]
        if all(new is old for new, old in zip(messages, request.messages, strict=True)):
            return request
        return replace(request, messages=tuple(messages))

    def written_down(self, tenant: str, call_ids: Iterable[str]) -> str | None:
        """What is known of these calls, as JSON for `put_back`; None if that is nothing."""
        known = {call_id: kept for call_id in call_ids if (kept := self._kept.get((tenant, call_id))) is not None}
        return msgspec.json.encode(known).decode() if known else None

    def put_back(self, tenant: str, written_down: str) -> None:
        """Know again what was written down, after a restart or in another process."""
        try:
            calls = _WRITTEN.decode(written_down)
        except msgspec.ValidationError:
            # Another version's: the conversation goes on without it, as after a restart.
            return
        for call_id, kept in calls.items():
            self._insert((tenant, call_id), kept)

    def _keep(self, tenant: str, call: ToolCall, thoughts: tuple[_Thought, ...]) -> None:
        key = (tenant, call.call_id)
        self._drop(key)
        if not call.opaque and not thoughts:
            return
        size_bytes = _ENTRY_BYTES + len(call.name) + len(call.arguments) + _weight(call.opaque)
        size_bytes += sum(len(each.reasoning.text) + _weight(each.reasoning.opaque) for each in thoughts)
        self._insert(key, _Kept(call.name, call.arguments, call.opaque, thoughts, size_bytes))

    def _insert(self, key: tuple[str, str], kept: _Kept) -> None:
        self._drop(key)
        self._kept[key] = kept
        self.size_bytes += kept.size_bytes
        while len(self._kept) > self._max_entries or self.size_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[str, str]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size_bytes -= kept.size_bytes

    def _restored_message(self, tenant: str, message: Message) -> Message:
        if message.role != "assistant":
            return message
        parts: list[Part] = []
        found = False
        for before, call in _calls(message.parts):
            kept = None if call is None else self._kept_of(tenant, call)
            found = found or kept is not None
            parts += before if kept is None else _with_thoughts(before, kept.thoughts)
            if call is not None:
                parts.append(call if kept is None else replace(call, opaque=merge_opaque(kept.opaque, call.opaque)))
        # Compared, so that a message that has it all stays the same object.
        return replace(message, parts=tuple(parts)) if found and tuple(parts) != message.parts else message

    def _kept_of(self, tenant: str, call: ToolCall) -> _Kept | None:
        key = (tenant, call.call_id)
        kept = self._kept.get(key)
        # Servers without ids of their own get made-up ones, which may come again for another call.
        if kept is None or kept.name != call.name or not _same_arguments(kept.arguments, call.arguments):
            return None
        self._kept.move_to_end(key)
        return kept


def _calls(parts: Sequence[Part]) -> Iterator[tuple[list[Part], ToolCall | None]]:
    """Each call with the parts since the one before it; in the end the parts after the last call, with None."""
    before: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCall):
            yield before, part
            before = []
        else:
            before.append(part)
    yield before, None


def _thoughts(before: Sequence[Part]) -> tuple[_Thought, ...]:
    thoughts: list[_Thought] = []
    texts = 0
    for part in before:
        if isinstance(part, Reasoning) and part.opaque:
            thoughts.append(_Thought(texts, part))
        texts += _says_something(part)
    return tuple(thoughts)


def _says_something(part: Part) -> bool:
    """Is it words for the reader? Those every dialect brings back; other parts only some, and empty texts none."""
    return isinstance(part, Text | Refusal) and bool(part.text)


def _with_thoughts(before: list[Part], thoughts: Sequence[_Thought]) -> list[Part]:
    """The parts before a call with its thoughts back in their places; as they are if the caller sent thoughts back.

    Where a caller sent only what a thought says, the whole of it takes its place.
    """
    if not thoughts or any(isinstance(part, Reasoning) and part.opaque for part in before):
        return before
    placed: list[Part] = []
    waiting = deque(thoughts)
    texts = 0
    for part in before:
        while waiting and waiting[0].texts <= texts:
            placed.append(waiting.popleft().reasoning)
        if not isinstance(part, Reasoning):
            placed.append(part)
            texts += _says_something(part)
    return [*placed, *(thought.reasoning for thought in waiting)]


def _same_arguments(first: str, second: str) -> bool:
    """As text, or as the JSON values they stand for: callers write arguments anew."""
    if first == second:
        return True
    try:
        return bool(_json(first) == _json(second))
    except JsonError:
        return False


def _json(text: str) -> Any:
    # No arguments at all are "{}" in formats that want an object.
    return parse_reply(text.encode("utf-8", "surrogatepass")) if text.strip() else {}


def _weight(value: Any) -> int:
    """Roughly the bytes of a JSON value in memory."""
    if isinstance(value, str):
        return _VALUE_BYTES + len(value)
    if isinstance(value, Mapping):
        return _VALUE_BYTES + sum(_weight(name) + _weight(member) for name, member in value.items())
    if isinstance(value, list | tuple):
        return _VALUE_BYTES + sum(_weight(item) for item in value)
    return _VALUE_BYTES
