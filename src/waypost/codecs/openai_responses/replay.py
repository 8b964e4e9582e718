"""A stored response told as a stream: the events of one that gave each text in one piece.

The invariants: events are numbered from 0, the same ones each time; what a decoder makes of them is what it makes of
the response. Where the response had been streamed before, its events had other pieces and other numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from waypost.chat import Json
from waypost.codecs.jsonbytes import dump
from waypost.codecs.openai_responses.stream_out import BEGUN, INDEX_NAMES, PART_STEMS, STEMS
from waypost.codecs.sse import encode_event

Item = Mapping[str, Json]
Told = tuple[str, dict[str, Json]]
_TEXTS: Final = {"function_call": "arguments", "custom_tool_call": "input", "refusal": "refusal"}
"""The member that grows, by the type of the item or piece; of any other it is its text."""


def replayed(response: Mapping[str, Json], after: int = -1) -> Iterator[bytes]:
    """Its events whose numbers are greater than `after`."""
    for number, (kind, members) in enumerate(events_of(response)):
        if number > after:
            body, _ = dump({"type": kind, "sequence_number": number, **members})
            yield encode_event(body, event=kind)


def events_of(response: Mapping[str, Json]) -> Iterator[Told]:
    """Its events, from the first on, without numbers: types and members."""
    status = response.get("status")
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    if "completed_at" in begun:
        begun["completed_at"] = None
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(response.get("output") or ()):
        yield from _of_item(index, item)
    yield f"response.{status}", {"response": dict(response)}


def _of_item(index: int, item: Item) -> Iterator[Told]:
    kind = item.get("type")
    place = {"item_id": item.get("id"), "output_index": index}
    yield "response.output_item.added", {"output_index": index, "item": _begun(item)}
    if kind in STEMS:
        yield from _growth(str(kind), item, place)
    if kind in BEGUN:
        for name in INDEX_NAMES:
            for number, piece in enumerate(item.get(name) or ()):
                yield from _of_piece(name, piece, {**place, INDEX_NAMES[name]: number})
    yield "response.output_item.done", {"output_index": index, "item": dict(item)}


def _begun(item: Item) -> dict[str, Json]:
    """The item as it begins, without what grows in it."""
    kind = item.get("type")
    if kind not in BEGUN:
        return dict(item)
    empty: dict[str, Json] = {name: [] for name in INDEX_NAMES if name in item}
    if kind in _TEXTS:
        empty[_TEXTS[str(kind)]] = ""
    return {**item, **empty, **({"status": "in_progress"} if "status" in item else {})}


def _of_piece(name: str, piece: Item, place: dict[str, Json]) -> Iterator[Told]:
    kind = str(piece.get("type"))
    begun: dict[str, Any] = dict(piece)
    if kind in STEMS:
        begun[_TEXTS.get(kind, "text")] = ""
    if kind == "output_text":
        begun["annotations"] = []
    yield f"{PART_STEMS[name]}.added", {**place, "part": begun}
    if kind in STEMS:
        yield from _growth(kind, piece, place)
    yield f"{PART_STEMS[name]}.done", {**place, "part": dict(piece)}


def _growth(kind: str, grown: Item, place: dict[str, Json]) -> Iterator[Told]:
    member = _TEXTS.get(kind, "text")
    text = grown.get(member) or ""
    told: dict[str, Json] = {"logprobs": []} if kind == "output_text" else {}
    if text:
        yield f"{STEMS[kind]}.delta", {**place, **told, "delta": text}
    for number, annotation in enumerate(grown.get("annotations") or ()):
        index = {"annotation_index": number, "annotation": annotation}
        yield "response.output_text.annotation.added", {**place, **index}
    if kind == "output_text":
        told = {"logprobs": grown.get("logprobs") or []}
    yield f"{STEMS[kind]}.done", {**place, member: text, **told}
