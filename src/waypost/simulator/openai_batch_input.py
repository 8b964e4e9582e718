"""The input file of one of OpenAI's batches: its items, or what is wrong with its lines.

Source: guide to batches, the input format; API reference, batches. What the body of an item holds is checked when the
item is answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from waypost.chat import Json
from waypost.simulator.batches import Item
from waypost.simulator.dialect import dump
from waypost.simulator.exchange import json_in

MAX_REQUESTS: Final = 50_000
MAX_EMBEDDINGS: Final = 50_000
"""Texts in all requests of a batch of embeddings together."""
MAX_ERRORS: Final = 1_000

Problem: TypeAlias = tuple[str, str, str | None]
"""Code, message, parameter."""


@dataclass(slots=True)
class Input:
    """What a file holds. With `errors` there is no batch. `model` is that of every item."""

    items: list[Item] = field(default_factory=list)
    errors: list[Json] = field(default_factory=list)
    model: str | None = None
    custom_ids: set[str] = field(default_factory=set)
    texts: int = 0

    def refuse(self, problem: Problem, line: int | None = None) -> None:
        """Something is wrong, on that line (from 1)."""
        code, message, param = problem
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"code": code, "message": message, "param": param, "line": line})


def read_input(content: bytes, endpoint: str) -> Input:
    """The items of the file, all for that endpoint."""
    found = Input()
    lines = content.splitlines()
    if len(lines) > MAX_REQUESTS:
        told = f"The input file has {len(lines)} requests; the maximum is {MAX_REQUESTS}."
        found.refuse(("too_many_tasks", told, None))
        return found
    for number, line in enumerate(lines, 1):
        if line.strip():
            _read_line(found, line, number, endpoint)
    if not found.items and not found.errors:
        found.refuse(("empty_file", "The input file is empty.", None))
    if found.texts > MAX_EMBEDDINGS:
        told = f"The input file has {found.texts} embedding inputs; the maximum is {MAX_EMBEDDINGS}."
        found.refuse(("too_many_tasks", told, None))
    return found


def _read_line(found: Input, line: bytes, number: int, endpoint: str) -> None:
    request = json_in(line)
    if not isinstance(request, dict):
        found.refuse(("invalid_json_line", "This line is not parseable as valid JSON.", None), number)
        return
    problem = _problem(found, request, endpoint)
    if problem is not None:
        found.refuse(problem, number)
        return
    body = request["body"]
    found.custom_ids.add(request["custom_id"])
    found.model = found.model or body.get("model")
    if endpoint == "/v1/embeddings":
        found.texts += _texts_of(body.get("input"))
    found.items.append(Item(request["custom_id"], endpoint, dump(body)))


_KINDS: Final[Mapping[str, type]] = {"custom_id": str, "method": str, "url": str, "body": dict}


def _problem(found: Input, request: Mapping[str, Any], endpoint: str) -> Problem | None:
    for name, kind in _KINDS.items():
        if request.get(name) in (None, ""):
            return "missing_required_parameter", f"Missing required parameter: '{name}'.", name
        if not isinstance(request[name], kind):
            return "invalid_type", f"Invalid type for '{name}'.", name
    if request["method"] != "POST":
        return "invalid_method", f"The method '{request['method']}' is not supported; it must be 'POST'.", "method"
    if request["url"] != endpoint:
        told = f"The URL '{request['url']}' does not match the endpoint of the batch, '{endpoint}'."
        return "url_mismatch", told, "url"
    if request["custom_id"] in found.custom_ids:
        told = f"The custom_id '{request['custom_id']}' is used by another request; it must be unique in a batch."
        return "duplicate_custom_id", told, "custom_id"
    model = request["body"].get("model")
    if not isinstance(model, str) or not model:
        return "missing_required_parameter", "Missing required parameter: 'body.model'.", "body.model"
    if found.model not in (None, model):
        told = f"The model '{model}' is not that of the other requests, '{found.model}'; a batch has one model."
        return "model_mismatch", told, "body.model"
    return None


def _texts_of(value: Json) -> int:
    """How many texts, or lists of tokens, the input of embeddings is."""
    is_many = isinstance(value, Sequence) and not isinstance(value, str) and value and not isinstance(value[0], int)
    return len(value) if is_many else 1
