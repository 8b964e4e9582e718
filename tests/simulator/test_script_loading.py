"""Scripts from YAML, JSON and mappings: everything a script can say arrives, every mistake is named."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from waypost.errors import ConfigurationError
from waypost.simulator import (
    CutAfter,
    Delivery,
    Match,
    Pacing,
    Reply,
    Rule,
    Script,
    ScriptedCall,
    StatusFault,
    UsageOverride,
    Window,
    load_script,
    script_from,
)
from waypost.simulator.faults import (
    ANY_MODEL,
    FAULT_KINDS,
    EndAfter,
    Fault,
    ReplyLost,
    ResetBeforeHeaders,
    Silence,
    StallAfter,
    fault_of_model,
    kind_of,
)
from waypost.simulator.limiter import RateLimits
from waypost.simulator.script import BatchRule, DialectName

EVERYTHING = """
seed: 7
models: [gpt-4o, claude-sonnet-4-5]
pacing: {first_token_s: 0.5}
delivery: {line_end: crlf, write_bytes: 1, comments: true}
limits: {requests_per_minute: 60}
rules:
  - match: {model: "gpt-*", contains: weather, format: openai, streamed: true, header: {x-team: "b*"}}
    reply:
      reasoning: Hm.
      text: Rain.
      tool_calls:
        - {name: look, arguments: {where: out}}
        - {name: ask}
        - {name: say, arguments: "{not json"}
    pacing: {first_token_s: 1, token_interval_s: 0.25, tokens_per_chunk: 3}
    delivery: {write_bytes: 5}
    usage: {input_tokens: 1, output_tokens: 2, input_cache_read_tokens: 1}
    finish_reason: length
    times: 2
    every: 3
    fault: {cut_after_events: 3, inside: event}
  - reply: All is well.
  - fault: {status: 429, retry_after_s: 2, retry_after_form: date, error: quota, message: no more, code: c}
  - match: {path: /v1/batches, key: k, method: POST, batched: true}
    fault: {reply_lost: true}
batches:
  - {match: {format: openai}, takes_s: 1, takes_polls: 2, answers: 3, expires_s: 4, cancel_polls: 5, fails: c, times: 6}
  - {}
"""

EXPECTED = Script(
    seed=7,
    models=("gpt-4o", "claude-sonnet-4-5"),
    pacing=Pacing(first_token_s=0.5),
    delivery=Delivery("crlf", 1, comments=True),
    limits=RateLimits(60),
    rules=(
        Rule(
            match=Match("gpt-*", "weather", "openai", True, {"x-team": "b*"}),
            reply=Reply(
                reasoning="Hm.",
                text="Rain.",
                tool_calls=(
                    ScriptedCall("look", {"where": "out"}),
                    ScriptedCall("ask"),
                    ScriptedCall("say", "{not json"),
                ),
            ),
            pacing=Pacing(1, 0.25, 3),
            delivery=Delivery(write_bytes=5),
            usage=UsageOverride(input_tokens=1, output_tokens=2, input_cache_read_tokens=1),
            finish_reason="length",
            times=2,
            every=3,
            fault=CutAfter(3, "event"),
        ),
        Rule(reply=Reply(text="All is well.")),
        Rule(fault=StatusFault(429, "quota", "no more", "c", 2, "date")),
        Rule(match=Match(path="/v1/batches", key="k", method="POST", batched=True), fault=ReplyLost()),
    ),
    batches=(BatchRule(Match(format="openai"), 1, 2, 3, 4, 5, "c", 6), BatchRule()),
)


def test_a_yaml_file_says_everything(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(EVERYTHING, encoding="utf-8")
    assert load_script(path) == EXPECTED


def test_json_is_read_too_and_an_empty_file_is_an_empty_script(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"rules": [{"reply": "Hello"}]}), encoding="utf-8")
    assert load_script(path) == Script(rules=(Rule(reply=Reply(text="Hello")),))
    path.write_text("", encoding="utf-8")
    assert load_script(path) == Script()


MISTAKES: list[tuple[object, str, str]] = [
    ({"rules": [{"mach": {}}]}, "rule 1, mach: is not a known key", "'match'"),
    ({"rule": []}, "rule: is not a known key", "'rules'"),
    ({"rules": [{}, {"match": {"modle": "x"}}]}, "rule 2, match.modle: is not a known key", "'model'"),
    ({"rules": [{"zzz": 1}]}, "rule 1, zzz: is not a known key", "Known keys: match, reply"),
    ({"rules": [{"pacing": {"first_token_s": "x"}}]}, "rule 1, pacing.first_token_s: expected `float`, got `str`", ""),
    ({"rules": [{"pacing": {"first_token_s": -1}}]}, "rule 1, pacing.first_token_s: must be seconds", ""),
    ({"rules": [{"pacing": {"tokens_per_chunk": 0}}]}, "rule 1, pacing.tokens_per_chunk: must be 1", ""),
    ({"pacing": {"token_interval_s": 9999}}, "pacing.token_interval_s: must be seconds between 0 and 3600", ""),
    ({"delivery": {"write_bytes": -1}}, "delivery.write_bytes: must be 0", ""),
    ({"rules": [{"reply": {"txt": "a"}}]}, "rule 1, reply.txt: is not a known key", "'text'"),
    ({"rules": [{"reply": 3}]}, "rule 1, reply: must be a mapping of keys and values, not int", ""),
    ({"rules": [{"reply": {"tool_calls": [{"nam": "x"}]}}]}, "rule 1, reply.tool_calls.nam: is not", "'name'"),
    ({"rules": [{"reply": {"tool_calls": [{"name": 3}]}}]}, "rule 1, reply.tool_calls[0].name: expected `str`", ""),
    ({"rules": [{"reply": {"tool_calls": {}}}]}, "rule 1, reply.tool_calls: must be a list, not dict", ""),
    ({"rules": [{"reply": {"echo": True, "text": "a"}}]}, "rule 1, reply.echo: cannot go with", ""),
    ({"rules": [{"finish_reason": "stopp"}]}, "rule 1, finish_reason: invalid enum value 'stopp'", "'stop'"),
    ({"rules": [{"match": {"format": "opnai"}}]}, "rule 1, match.format: invalid enum value", "'openai'"),
    ({"rules": [{"times": 0}]}, "rule 1, times: must be 1 or more", ""),
    ({"rules": [{"usage": {"tokens": 1}}]}, "rule 1, usage.tokens: is not a known key", "'input_tokens'"),
    ({"rules": [{"fault": {"stats": 429}}]}, "rule 1, fault: names no kind of fault; use one of status,", "'status'"),
    ({"rules": [{"fault": {"status": 429, "silence": True}}]}, "rule 1, fault: names several kinds of fault", ""),
    ({"rules": [{"fault": {"status": 429, "retry_after": 1}}]}, "rule 1, fault.retry_after: is not", "'retry_after_s'"),
    ({"rules": [{"fault": {"status": 200}}]}, "rule 1, fault.status: must be between 400 and 599, or 200 with", ""),
    ({"rules": [{"fault": {"status": 429, "retry_after_s": -1}}]}, "rule 1, fault.retry_after_s: must be", ""),
    ({"rules": [{"fault": {"status": 429, "error": "quoto"}}]}, "rule 1, fault.error: invalid enum", "'quota'"),
    ({"rules": [{"fault": {"cut_after_events": -1}}]}, "rule 1, fault.cut_after_events: must be 0 or more", ""),
    ({"rules": [{"fault": {"first_token_s": 9999}}]}, "rule 1, fault.first_token_s: must be seconds between 0", ""),
    ({"rules": [{"fault": {"huge_after_events": 1, "size_bytes": 0}}]}, "rule 1, fault.size_bytes: must be bytes", ""),
    ({"rules": [{"fault": {"named_error": "overload"}}]}, "rule 1, fault.named_error: invalid enum", "'overloaded'"),
    ({"rules": [{"window": {"on_s": 0}}]}, "rule 1, window: must be of seconds above 0", ""),
    ({"rules": [{"window": {"off_s": 1}}]}, "rule 1, window: object missing required field `on_s`", ""),
    ({"rules": [{"reply": {"prefill": "go on"}}]}, "rule 1, reply.prefill: invalid enum value", ""),
    ({"delivery": {"events_per_write": 0}}, "delivery.events_per_write: must be 1 or more", ""),
    ({"rules": [{"fault": 3}]}, "rule 1, fault: must be a mapping such as", ""),
    ({"rules": {}}, "rules: must be a list", ""),
    ({"batches": {}}, "batches: must be a list", ""),
    ({"batches": [{}, {"take_s": 1}]}, "batch 2, take_s: is not a known key", "'takes_s'"),
    ({"batches": [{"takes_s": -1}]}, "batch 1, takes_s: must be seconds between 0 and 86400", ""),
    ({"batches": [{"expires_s": 90_000}]}, "batch 1, expires_s: must be seconds between 0 and 86400", ""),
    ({"batches": [{"takes_polls": -1}]}, "batch 1, takes_polls: must be 0 or more", ""),
    ({"batches": [{"answers": 1.5}]}, "batch 1, answers: expected `int`, got `float`", ""),
    ({"batches": [{"times": 0}]}, "batch 1, times: must be 1 or more", ""),
    ({"batches": [{"match": {"modle": "x"}}]}, "batch 1, match.modle: is not a known key", "'model'"),
    ({"rules": [None]}, "rule 1: must be a mapping of keys and values, not nothing", ""),
    ({"models": [1]}, "models[0]: expected `str`, got `int`", ""),
    ({"seed": "x"}, "seed: expected `int`, got `str`", ""),
    ([], "must be a mapping of keys and values, not list", ""),
]


@pytest.mark.parametrize(("content", "problem", "hint"), MISTAKES, ids=[row[1][:40] for row in MISTAKES])
def test_a_mistake_names_the_source_the_rule_the_key_and_the_nearest_right_one(
    content: object, problem: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        script_from(content, source="my.yaml")
    assert caught.value.message.startswith(f"my.yaml: {problem}")
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"rules: [", "line 1: not YAML"), (b"\xff", "not UTF-8"), (b"a: b: c", "not YAML"), (b"!!python/none", "YAML")],
)
def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="broken.yaml") as caught:
        load_script(path)
    assert problem in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml: the script cannot be read: No such file"):
        load_script(tmp_path / "none.yaml")


def test_every_kind_of_fault_is_known_by_the_key_of_its_first_field() -> None:
    """The key in a script, in the header and the name in the ledger are one word; no kind is left out."""
    assert {key: fields(kind)[0].name for key, kind in FAULT_KINDS.items()} == {key: key for key in FAULT_KINDS}
    assert set(FAULT_KINDS.values()) == set(Fault.__args__)
    assert kind_of(CutAfter(1)) == "cut_after_events"


def test_the_guide_names_every_key_of_a_script_every_fault_and_every_dialect() -> None:
    guide = (Path(__file__).parents[2] / "docs/guide/simulator.md").read_text(encoding="utf-8")
    kinds = [Match, Reply, Pacing, Delivery, Rule, BatchRule, Script, Window, RateLimits, *FAULT_KINDS.values()]
    words = {item.name for kind in kinds for item in fields(kind)} | set(get_args(DialectName))
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", guide)] == []
    shown = set(re.findall(r"`([a-z]+-[a-z0-9-]+)`", guide))
    assert [name for name in ANY_MODEL.split(", ") if "-" in name and name not in shown] == []


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("status-429", StatusFault(429)),
        ("html-502", StatusFault(502, body="html")),
        ("reset", ResetBeforeHeaders()),
        ("silence", Silence()),
        ("cut-3", CutAfter(3)),
        ("end-0", EndAfter(0)),
        ("stall-2", StallAfter(2)),
        ("status-200", None),
        ("status-4290", None),
        ("cut-", None),
        ("gpt-4", None),
    ],
)
def test_model_names_that_ask_for_a_fault(model: str, fault: Fault | None) -> None:
    assert fault_of_model(model) == fault
