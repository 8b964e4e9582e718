"""From one line of JSON, or one text or document, to an item of a batch. What cannot be one is an item with an error.

The invariant: nothing in an item, however broken, is an error of the whole: it has its place, and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from waypost.errors import InvalidRequest, WaypostError
from waypost.jobs.batch import UNUSABLE_ITEM, Item
from waypost.jobs.job import Input, JobError
from waypost.server.analyze_checks import document_input, text_input

CONTENT_FIELDS: Final = ("content", "prompt", "text", "input")
"""Where the content is looked for, if nobody says where it is."""
ID_FIELD: Final = "id"
LONGEST_ID: Final = 200
BESIDE_BYTES: Final = 64 * 1024
"""What a line may have beside its content."""
ESCAPED: Final = 6
"""Bytes that one of a text's may take in JSON at most."""


@dataclass(frozen=True, slots=True)
class LineForm:
    """How lines are to be read: for which type of job, and where in them content and name are. None: the usual."""

    type: str
    most_bytes: int
    content_field: str | None = None
    id_field: str | None = None

    @property
    def longest_line(self) -> int:
        """Bytes of a line at most."""
        return self.most_bytes * ESCAPED + BESIDE_BYTES


def _analyzed(index: int, text: str, name: str | None, most_bytes: int) -> Item:
    return Item(index, text_input(text, "content", most_bytes), name=name)


def _generated(index: int, text: str, name: str | None, most_bytes: int) -> Item:
    # The same checks; the prompt is part of what is asked.
    return Item(index, request={"prompt": text_input(text, "content", most_bytes).data.decode()}, name=name)


MAKERS: Final[Mapping[str, Callable[[int, str, str | None, int], Item]]] = {
    "analyze": _analyzed,
    "generate": _generated,
}
"""Types of jobs that a batch may be of, and how their items are made of a text."""
TYPES: Final = tuple(MAKERS)
ARGUMENTS: Final[Mapping[str, Mapping[str, tuple[type, ...]]]] = {
    "generate": {"system": (str,), "max_tokens": (int,), "temperature": (int, float)},
}
"""What an item may say beside its content, by type of job, and as what."""


def item_of_line(line: bytes, index: int, form: LineForm) -> Item:
    """The item in a line of JSON: an object, or a text by itself."""
    if len(line) > form.longest_line:
        return unusable(index, f"The line has more than {form.longest_line} bytes.")
    try:
        value = msgspec.json.decode(line)
    except UnicodeDecodeError:
        return unusable(index, "The line is not UTF-8.")
    except (msgspec.DecodeError, RecursionError) as error:
        told = "The line is not UTF-8." if not _is_utf8(line) else f"The line is not JSON: {error}."
        return unusable(index, told)
    if isinstance(value, str):
        return item_of_text(value, index, None, form)
    if not isinstance(value, dict):
        return unusable(index, "The line is neither a JSON object nor a text.")
    return item_of_fields(value, index, form)


def item_of_fields(fields: Mapping[str, Any], index: int, form: LineForm) -> Item:
    """The item in an object or in the row of a table."""
    name = _name(fields.get(form.id_field or ID_FIELD))
    wanted = CONTENT_FIELDS if form.content_field is None else (form.content_field,)
    found = next((field for field in wanted if fields.get(field) is not None), None)
    if found is None:
        return unusable(index, f"There is no {' or '.join(wanted)}.", name)
    if not isinstance(fields[found], str):
        return unusable(index, f"{found} is not a text.", name)
    arguments = {field: fields[field] for field in ARGUMENTS.get(form.type, {}) if fields.get(field) is not None}
    for field, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, ARGUMENTS[form.type][field]):
            return unusable(index, f"{field} is not what it should be.", name)
    item = item_of_text(fields[found], index, name, form)
    return item if item.error is not None else replace(item, request={**item.request, **arguments})


def item_of_text(text: str, index: int, name: str | None, form: LineForm) -> Item:
    """The item for a text."""
    try:
        return MAKERS[form.type](index, text, name, form.most_bytes)
    except WaypostError as error:
        return unusable(index, error.message, name)


def item_of_document(data: bytes, file_name: str, index: int, form: LineForm) -> Item:
    """The item for a file. `file_name` is its name, too."""
    if len(data) > form.most_bytes:
        return unusable(index, f"The file has more than {form.most_bytes} bytes.", _name(file_name))
    try:
        document = document_input(Input(data, "application/octet-stream", file_name))
    except WaypostError as error:
        return unusable(index, error.message, _name(file_name))
    return Item(index, document, name=_name(file_name))


def unusable(index: int, message: str, name: str | None = None) -> Item:
    """What stands in the place of an item that cannot be one."""
    return Item(index, name=name, error=JobError(UNUSABLE_ITEM, message))


def demand_type(name: str) -> str:
    """The type, if batches may be of it. Raises InvalidRequest."""
    if name not in MAKERS:
        raise InvalidRequest(f"type must be one of {', '.join(TYPES)}.", param="type")
    return name


def _name(value: Any) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return "".join(character for character in text[:LONGEST_ID] if character.isprintable()) or None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
