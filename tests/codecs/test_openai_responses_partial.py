"""What a broken stream of OpenAI's had told of its output is given as far as it had come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from waypost.codecs.openai_responses.partial import PartialOutput
from waypost.codecs.openai_responses.telling_events import events_in, numbered
from waypost.codecs.sse import SseDecoder

FIXTURES = sorted(Path("tests/fixtures/openai_responses").glob("*.sse"))


def events_of(file: Path) -> list[tuple[str, dict[str, Any]]]:
    return list(events_in(SseDecoder(), file.read_bytes()))


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_a_whole_stream_gives_the_output_of_its_response(file: Path) -> None:
    partial = PartialOutput()
    events = events_of(file)
    for kind, members in events:
        partial.see(kind, members)
    last = events[-1][1].get("response") or {}
    if last.get("status") in ("completed", "incomplete"):
        assert partial.output() == last["output"]


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_a_stream_cut_anywhere_gives_the_texts_of_its_deltas(file: Path) -> None:
    events = events_of(file)
    for end in range(len(events)):
        partial = PartialOutput()
        for kind, members in events[:end]:
            partial.see(kind, members)
        said = "".join(members["delta"] for kind, members in events[:end] if kind == "response.output_text.delta")
        pieces = [piece for item in partial.output() for piece in item.get("content") or ()]
        assert "".join(piece["text"] for piece in pieces if piece.get("type") == "output_text") == said


def test_events_are_numbered_anew() -> None:
    raw = b'event: a.b\ndata: {"type":"a.b","sequence_number":7,"delta":"\\u00e4"}\n\n'
    ((kind, members),) = events_in(SseDecoder(), raw)
    assert (kind, members) == ("a.b", {"type": "a.b", "delta": "ä"})
    (event,) = SseDecoder().feed(numbered(kind, members, 41))
    assert (event.event, msgspec.json.decode(event.data)) == ("a.b", {**members, "sequence_number": 41})
