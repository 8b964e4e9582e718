"""settings/kinds.py: a kind of analysis is usable as soon as the settings are, and every slip is told with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.settings import InvalidSettings, Settings, load_settings
from waypost.settings.answer_schema import MOST_SCHEMA_DEPTH, schema_problem, validator

SCHEMA = "\n    prompt: x\n    json_schema:"
LINES = "\n      type: object\n      properties:"
OBJECT = "json_schema: {type: object, properties: {total: {type: number}}}"


def load(tmp_path: Path, kinds: str) -> Settings:
    file = tmp_path / "waypost.yaml"
    file.write_text(f"providers: {{openai: {{kind: openai, api_key: any}}}}\nkinds:\n{kinds}\n")
    return load_settings(file, {})


def test_a_kind_has_its_prompt_and_schema(tmp_path: Path) -> None:
    kind = load(
        tmp_path, f"  invoice: {{prompt: 'Total of {{content}}? {{{{literal}}}}', {OBJECT}, model: openai/x}}"
    ).kinds["invoice"]
    assert kind.prompt == "Total of {content}? {{literal}}"
    assert kind.json_schema == {"type": "object", "properties": {"total": {"type": "number"}}}
    assert (kind.model, kind.version, kind.max_output_tokens) == ("openai/x", None, 2048)


def test_a_schema_may_be_a_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "invoice.json").write_text('\ufeff{"type": "object"}', encoding="utf-8")
    kind = load(tmp_path, "  invoice: {prompt: Total?, json_schema_file: schemas/invoice.json}").kinds["invoice"]
    assert kind.json_schema == {"type": "object"}
    assert kind.json_schema_file == tmp_path / "schemas" / "invoice.json"


@pytest.mark.parametrize(
    ("kind", "line", "told"),
    [
        ("{prompt: Total?}", 3, "kinds.invoice needs json_schema or json_schema_file"),
        (f"{{prompt: '', {OBJECT}}}", 3, "kinds.invoice.prompt is empty"),
        (f"{{{OBJECT}}}", 3, "kinds.invoice.prompt is missing"),
        (f"\n    prompt: Total of {{contents}}?\n    {OBJECT}", 4, "did you mean {content}?"),
        (f"\n    prompt: Total of {{invoice}}?\n    {OBJECT}", 4, "{{invoice}} stands for the word in braces"),
        (f"\n    prompt: x\n    promt: y\n    {OBJECT}", 5, "unknown key kinds.invoice.promt; did you mean prompt?"),
        (f"\n    prompt: x\n    {OBJECT}\n    version: a b", 6, "kinds.invoice.version may hold only letters"),
        (f"\n    prompt: x\n    {OBJECT}\n    max_output_tokens: 3", 6, "must be at least 64"),
        (f"\n    prompt: x\n    {OBJECT}\n    model: opnai/x", 6, 'the unknown provider "opnai"; did you mean openai?'),
        (f"{SCHEMA} [1]", 5, "kinds.invoice.json_schema must hold keys with values"),
        (f"{SCHEMA} {{type: array}}", 5, "must describe an object"),
        (f"{SCHEMA}{LINES}\n        a: {{type: strin}}", 8, "at /properties/a/type"),
        (f"{SCHEMA}{LINES}\n        a: {{$ref: https://a.example}}", 8, "may only refer to itself"),
        (f"{SCHEMA} {{type: object, $ref: '#/$defs/a'}}", 5, "'/$defs/a' does not exist"),
        (f"{SCHEMA} {{type: object, properties: {{a: {{pattern: '(?=a)b'}}}}}}", 5, "/properties/a/pattern"),
        (f"{SCHEMA} {{type: object, properties: {{a: {{const: 2026-11-26}}}}}}", 5, "JSON has not"),
        (f"{SCHEMA} {{type: object, minProperties: 2, maxProperties: 1}}", 5, "cannot be met"),
        (f"{SCHEMA}{LINES}\n        a: {{type: integer, minimum: 2, maximum: 1}}", 8, "at /properties/a cannot be met"),
        ("\n    prompt: x\n    json_schema_file: none.json", 5, "cannot be read: No such file"),
        (f"\n    prompt: x\n    json_schema_file: none.json\n    {OBJECT}", 5, "stands beside json_schema"),
    ],
)
def test_every_slip_is_told_with_its_line(tmp_path: Path, kind: str, line: int, told: str) -> None:
    with pytest.raises(InvalidSettings) as raised:
        load(tmp_path, f"  invoice: {kind}")
    [problem] = raised.value.problems
    assert told in problem.text
    assert problem.place is not None
    assert problem.place.line == line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"type": "object",\n "properties": }', "not valid JSON: line 2"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (" " * 100_001, "over the limit"),
        ("[" * 90_000, "nested too deep"),
    ],
)
def test_a_schema_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | bytes, told: str) -> None:
    (tmp_path / "bad.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidSettings) as raised:
        load(tmp_path, "  invoice:\n    prompt: x\n    json_schema_file: bad.json")
    [problem] = raised.value.problems
    assert told in problem.text
    assert str(tmp_path / "bad.json") in problem.text
    assert problem.place is not None
    assert problem.place.line == 5


def test_what_is_wrong_inside_a_schema_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"type": "object", "properties": {"a": {"type": "strin"}}}')
    with pytest.raises(InvalidSettings, match=r"bad\.json: kinds\.invoice\.json_schema at /properties/a/type"):
        load(tmp_path, "  invoice: {prompt: x, json_schema_file: bad.json}")


@pytest.mark.parametrize("name", ["analysis", "a b", "ä"])
def test_a_name_that_cannot_be_used_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidSettings, match="kinds"):
        load(tmp_path, f"  {name}: {{prompt: x, {OBJECT}}}")


def test_settings_made_in_code_are_checked_as_well() -> None:
    with pytest.raises(ValueError, match="cannot be met"):
        Settings.model_validate({"kinds": {"own": {"prompt": "x", "json_schema": {"type": "object", "not": {}}}}})


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_depth_and_size_are_bounded() -> None:
    """However deep it is nested: nothing here recurses before the depth is known."""
    assert schema_problem(nested(MOST_SCHEMA_DEPTH // 2 - 1)) is None
    for levels in (MOST_SCHEMA_DEPTH, 100_000):
        problem = schema_problem(nested(levels))
        assert problem is not None
        assert "nested deeper" in problem[1]
    problem = schema_problem({"type": "object", "description": "x" * 100_001})
    assert problem is not None
    assert "bytes as JSON" in problem[1]


def test_a_schema_may_refer_to_itself() -> None:
    schema = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    assert schema_problem(schema) is None
    assert validator(schema).is_valid({"children": [{"children": []}]})
    assert not validator(schema).is_valid({"children": [{"children": 1}]})


def test_a_pattern_cannot_hold_a_process_up() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    assert schema_problem(schema) is None
    assert not validator(schema).is_valid({"a": "a" * 100_000 + "!"})


KEYWORDS = st.sampled_from(
    ["type", "properties", "items", "required", "minimum", "$ref", "enum", "anyOf", "not", "pattern"]
)
SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["object", "string", "#", "a("]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYWORDS, SCHEMAS, max_size=4))
def test_whatever_the_schema_it_is_told_or_compiles(schema: dict[str, Any]) -> None:
    schema = {**schema, "type": "object"}
    if schema_problem(schema) is None:
        validator(schema).is_valid({})
