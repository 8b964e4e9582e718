"""A YAML file as plain values, each with the place it was written at.

Not a general YAML reader: size, depth and number of values are bounded (aliases are counted as often as they
are used), tags make no objects, duplicate keys are refused, keys are text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from waypost.errors import ConfigurationError
from waypost.settings.problems import InvalidSettings, KeyPath, Place, Problem, key_text

MAX_SIZE_BYTES = 1_000_000
MAX_VALUES = 20_000
MAX_DEPTH = 24

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE_TAG = "tag:yaml.org,2002:merge"


@dataclass(slots=True)
class Document:
    """What a file says. `places` knows the line of every key and list entry."""

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place | None:
        """Where the value was written, or else the innermost thing around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path)


def read_document(path: Path) -> Document:
    """Read a settings file. Raises ConfigurationError if it cannot be read or is not YAML at all."""
    return parse_document(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE_BYTES + 1)
        if len(data) > MAX_SIZE_BYTES:
            raise ConfigurationError(f"{path} is over the limit of {MAX_SIZE_BYTES} bytes for a settings file.")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist.", hint="Name another file, or write one with: waypost config init"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text (byte {error.start}).") from error


def parse_document(text: str, source: str) -> Document:
    """The values of a YAML text. `source` is what problems call it. Raises InvalidSettings if it is not YAML."""
    try:
        _check_depth(text, source)
        builder = _Builder(source)
        builder.build(yaml.compose(text, Loader=LOADER))
    except yaml.YAMLError as error:
        raise InvalidSettings([_syntax_problem(error, text, source)]) from error
    return builder.document


def _check_depth(text: str, source: str) -> None:
    """PyYAML composes by recursion in C, without a limit: deep nesting would end the process. Its events come flat."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else None
            raise InvalidSettings([_too_deep(Place(source, line))])


def _too_deep(place: Place) -> Problem:
    return Problem(f"nested deeper than {MAX_DEPTH} levels", place)


def _syntax_problem(error: yaml.YAMLError, text: str, source: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        before = text.encode()[: error.position].decode(errors="replace")
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        return Problem(f"not valid YAML: {error.reason}", Place(source, line + 1, column + 1))
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or "it cannot be read"
    place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
    return Problem(f"not valid YAML: {said}", place)


class _Builder:
    """Turns YAML nodes into values. Stops with InvalidSettings at a limit; other problems are collected."""

    def __init__(self, source: str) -> None:
        self.document = Document()
        self._source = source
        self._values = 0
        self._merges = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, root: yaml.Node | None) -> None:
        if root is None:
            return
        value = self._value(root, ())
        if isinstance(value, dict):
            self.document.data = value
        elif value is not None:
            self._problem(root, "the file must hold keys with values, such as: server: {port: 8000}")

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise InvalidSettings([Problem(f"holds more than {MAX_VALUES} values", Place(self._source))])
        if len(path) > MAX_DEPTH:
            raise InvalidSettings([_too_deep(self._place(node))])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._entry(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _entry(self, node: yaml.Node, path: KeyPath) -> Any:
        self.document.places[path] = self._place(node)
        return self._value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == MERGE_TAG:
                merged.update(self._merged(value_node, path))
                continue
            key = self._key(key_node)
            if key is None:
                continue
            if key in values:
                first = self.document.places[(*path, key)].line
                self._problem(key_node, f"the key {key_text((*path, key))} is there twice; first in line {first}")
                continue
            self.document.places[(*path, key)] = self._place(key_node)
            values[key] = self._value(value_node, (*path, key))
        return {**merged, **values}

    def _merged(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        """What `<<` brings. Of several mappings the earlier wins. One that merges itself would never end."""
        self._merges += 1
        if self._merges > MAX_DEPTH:
            raise InvalidSettings([_too_deep(self._place(node))])
        merged: dict[str, Any] = {}
        for source in reversed(node.value if isinstance(node, yaml.SequenceNode) else [node]):
            if isinstance(source, yaml.MappingNode):
                merged.update(self._value(source, path))
            else:
                self._problem(node, "<< must name a mapping of keys to values")
        self._merges -= 1
        return merged

    def _key(self, node: yaml.Node) -> str | None:
        key = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(key, str):
            return key
        written = f'; write "{node.value}" in quotes' if isinstance(node, yaml.ScalarNode) else ""
        self._problem(node, f"a key must be text{written}")
        return None

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            told = getattr(error, "problem", None) or str(error)
            self._problem(node, f"a value cannot be read: {told}")
            return None

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._source, node.start_mark.line + 1)

    def _problem(self, node: yaml.Node, text: str) -> None:
        self.document.problems.append(Problem(text, self._place(node)))
