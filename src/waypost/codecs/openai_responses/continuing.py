"""Going on from stored answers: their items as input of a further request, and references to them put into words.

Ids that a gateway made mean nothing to a provider, and neither does reasoning that is not encrypted: both stay behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from waypost.chat import Json
from waypost.codecs.openai_responses.items_out import ID_PREFIXES
from waypost.codecs.openai_responses.retelling import SEAL
from waypost.codecs.openai_responses.wire import MADE_ID, given_id

REFERENCE: Final = "item_reference"
Item = dict[str, Json]
_PREFIXES: Final = {**ID_PREFIXES, "function_call_output": "fco", "custom_tool_call_output": "ctco"}
_TEXTS: Final = {"assistant": "output_text"}


def items_of(value: Json) -> list[Json]:
    """A request's `input` as a list of items."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [{"role": "user", "content": value}]


def with_ids(items: Sequence[Json], response_id: str) -> list[Json]:
    """The items of a request, each with an id: its own, else one made of the answer's."""
    return [
        {**item, "id": _made_id(item, response_id, number)} if isinstance(item, dict) and not item.get("id") else item
        for number, item in enumerate(items)
    ]


def _made_id(item: Item, response_id: str, number: int) -> str:
    return f"{_PREFIXES.get(_kind(item), 'item')}{MADE_ID}{response_id[-32:]}_in{number}"


def again(items: Sequence[Json]) -> list[Json]:
    """Items of an earlier turn, its input or its output, as input of this one."""
    return [said for item in items if isinstance(item, dict) and (said := _again(item)) is not None]


def _again(item: Item) -> Item | None:
    if _kind(item) == "reasoning" and not item.get(SEAL):
        return None
    if given_id(item.get("id")) is not None or "id" not in item:
        return item
    said = {name: value for name, value in item.items() if name != "id"}
    if _kind(item) == "message" and item.get("role") == "assistant":
        return _easy(said)
    return said


def _easy(message: Item) -> Item:
    """A message of the assistant's without an id: its status would belong to one, and plain text has a short form."""
    said = {name: value for name, value in message.items() if name != "status"}
    content = message.get("content")
    only = content[0] if isinstance(content, list) and len(content) == 1 else None
    if isinstance(only, dict) and only.get("type") == "output_text" and not only.get("annotations"):
        said["content"] = only.get("text", "")
    return said


def seals(items: Sequence[Json]) -> Iterator[str]:
    """The ids of the items that hold encrypted reasoning."""
    thoughts = (item for item in items if isinstance(item, dict) and _kind(item) == "reasoning" and item.get(SEAL))
    for item in thoughts:
        if isinstance(item_id := item.get("id"), str):
            yield item_id


def wanted_ids(items: Sequence[Json]) -> list[str]:
    """The ids of items that this input leans on: references, and reasoning that is sent back without its content."""
    return [item_id for item in items if (item_id := _wanted_id(item)) is not None]


def _wanted_id(item: Json) -> str | None:
    if not isinstance(item, dict) or not isinstance(item_id := item.get("id"), str):
        return None
    if refers(item) or (_kind(item) == "reasoning" and not item.get(SEAL)):
        return item_id
    return None


def completed(items: Sequence[Json], known: Mapping[str, Json], unknown: Callable[[str], None]) -> list[Json]:
    """This turn's input with all that it leans on. `unknown` is told of each reference that leads nowhere."""
    found: list[Json] = []
    for item in items:
        item_id = _wanted_id(item)
        if item_id is None:
            found.append(item)
        elif item_id in known:
            found += again([known[item_id]])
        elif refers(item):
            unknown(item_id)
    return found


def lost_thoughts(items: Sequence[Json], known: Mapping[str, Json]) -> bool:
    """Is there reasoning among this input that cannot be sent on, since nothing encrypted is known of it?"""
    wanted = (item for item in items if _wanted_id(item) is not None and not refers(item))
    return any(not known.get(item["id"], {}).get(SEAL) for item in wanted)


def by_id(items: Sequence[Json]) -> dict[str, Json]:
    """The items that have one, by their ids."""
    return {item["id"]: item for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)}


def listed(item: Json) -> Item:
    """An item of input as a list of them shows it: whole, where a request may be short."""
    shown: dict[str, Any] = dict(item) if isinstance(item, dict) else {"content": item}
    if _kind(shown) != "message":
        return shown
    role, content = shown.get("role"), shown.get("content")
    if isinstance(content, str):
        text = {"type": _TEXTS.get(str(role), "input_text"), "text": content}
        content = [{**text, "annotations": []} if role == "assistant" else text]
    return {"status": "completed", **shown, "type": "message", "content": content}


def refers(item: Json) -> bool:
    """Is it one? `type` may be left out where there is nothing but the id."""
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    return kind == REFERENCE or (kind is None and "id" in item and item.keys() <= {"id", "type"})


def _kind(item: Item) -> str:
    return str(item.get("type") or "message")
