"""Fixtures and what can happen to them, for the tests that hold for any bytes of any wire format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from tests.codecs.strategies import json_values

from waypost.codecs import anthropic_messages, gemini, openai_chat, openai_responses
from waypost.codecs.codec import Codec
from waypost.codecs.sse import SseDecoder, SseEvent

FIXTURES = Path(__file__).parents[1] / "fixtures"

CODECS: dict[str, Codec] = {
    chosen.name: chosen
    for chosen in (openai_chat.codec, openai_responses.codec, anthropic_messages.codec, gemini.codec)
}
"""Every wire format, by its name."""


def streams(name: str) -> dict[str, list[SseEvent]]:
    """The events of each stream of a format's fixtures."""
    return {path.name: list(SseDecoder().feed(path.read_bytes())) for path in sorted((FIXTURES / name).glob("*.sse"))}


def bodies(name: str) -> dict[str, bytes]:
    """Each whole reply of a format's fixtures, errors too."""
    paths = sorted((FIXTURES / name).glob("*.json"))
    return {path.name: path.read_bytes() for path in paths if not path.name.endswith(".request.json")}


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [(value, key) for key, _ in pairs] + [place for _, inner in pairs for place in _places(inner)]


def _deep() -> Any:
    value: Any = []
    for _ in range(140):
        value = [value]
    return value


@st.composite
def changed_values(draw: st.DrawFn, body: bytes) -> bytes:
    """The JSON with other values in one to three places, or without them; as it was if it is no JSON."""
    try:
        value = json.loads(body)
    except ValueError:
        return body
    for _ in range(draw(st.integers(1, 3))):
        if places := _places(value):
            container, key = places[draw(st.integers(0, len(places) - 1))]
            if draw(st.integers(0, 4)):
                container[key] = draw(json_values() | st.builds(_deep))
            else:
                del container[key]
    return json.dumps(value).encode()


@st.composite
def cut_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """The bytes with a piece cut out, doubled or written over."""
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 40)))
    piece = draw(st.sampled_from([b"", body[start:end] * 2, b"null", b'"', b"{", b"\\ud800", b"-1", b"[]", b"\xff"]))
    return body[:start] + piece + body[end:]


@st.composite
def damaged_streams(draw: st.DrawFn, name: str) -> list[SseEvent]:
    """A stream of the fixtures in which events are changed, left out, doubled, moved, renamed, or cut off."""
    originals = list(streams(name).values())
    events = list(originals[draw(st.integers(0, len(originals) - 1))])
    for _ in range(draw(st.integers(0, 3))):
        if not events:
            break
        at = draw(st.integers(0, len(events) - 1))
        event = events[at]
        match draw(st.sampled_from(["change", "change", "change", "bytes", "drop", "double", "move", "name", "cut"])):
            case "change":
                events[at] = SseEvent(draw(changed_values(event.data)), event.event, event.id)
            case "bytes":
                data = draw(cut_bytes(event.data)).decode(errors="replace").encode()
                events[at] = SseEvent(data, event.event, event.id)
            case "drop":
                del events[at]
            case "double":
                events.insert(at, event)
            case "move":
                events.insert(draw(st.integers(0, len(events) - 1)), events.pop(at))
            case "name":
                events[at] = SseEvent(event.data, draw(st.sampled_from(["", "error", "ping"])), event.id)
            case "cut":
                del events[at:]
    return events


def damaged_bodies(name: str) -> SearchStrategy[bytes]:
    """A whole reply of the fixtures, changed as JSON or as bytes."""
    originals = list(bodies(name).values())
    body = st.integers(0, len(originals) - 1).map(originals.__getitem__)
    return body.flatmap(lambda chosen: changed_values(chosen) | cut_bytes(chosen) | st.just(chosen))
