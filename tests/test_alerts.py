"""Claims about the shipped alerts and dashboards that need none of the programs; tests/ops has those that do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from waypost.telemetry.metrics.families import FAMILIES

ROOT: Final = Path(__file__).parents[1]
DEPLOY: Final = ROOT / "deploy"
GUIDE: Final = ROOT / "docs" / "guide" / "alerts.md"
DASHBOARDS: Final = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
OTHERS: Final = {"up"}
"""Names that are Prometheus' own."""


def rules() -> list[Mapping[str, Any]]:
    """All rules of all files."""
    files = [yaml.safe_load(path.read_text()) for path in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


ALERTS: Final = [rule for rule in rules() if "alert" in rule]
RECORDED: Final = {rule["record"] for rule in rules() if "record" in rule}


def known_names() -> set[str]:
    """All names that a series may have."""
    suffixes = ("_bucket", "_count", "_sum")
    histograms = {each.name for each in FAMILIES.values() if each.kind == "histogram"}
    return {*FAMILIES, *OTHERS, *RECORDED, *(name + suffix for name in histograms for suffix in suffixes)}


def names_in(expression: str) -> set[str]:
    """The series that it asks for; `waypost…` and `process…` are nobody else's words."""
    return set(re.findall(r"\b(?:waypost|process)[:_][a-zA-Z0-9_:]+|\bup\b", re.sub(r'"[^"]*"', '""', expression)))


def panels(path: Path) -> list[Mapping[str, Any]]:
    """Those of a dashboard, titles of rows too."""
    told: list[Mapping[str, Any]] = json.loads(path.read_text())["panels"]
    return told


def expressions(path: Path) -> Iterator[str]:
    """All that a dashboard asks for."""
    for panel in panels(path):
        yield from (target["expr"] for target in panel.get("targets", ()))


def test_there_is_something_to_look_at() -> None:
    assert len(ALERTS) >= 17
    assert {path.stem for path in DASHBOARDS} == {
        f"waypost-{name}" for name in ("jobs", "ledger", "overview", "providers")
    }


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_how_bad_it_is_what_happened_and_what_to_do(rule: Mapping[str, Any]) -> None:
    name, told = rule["alert"], rule["annotations"]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(told) == {"summary", "description", "runbook_url"}
    assert told["runbook_url"].endswith(f"/docs/guide/alerts.md#{name.lower()}")
    assert f"\n### {name}\n" in GUIDE.read_text()


def test_the_guide_has_no_section_of_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^### (Waypost\w+)$", GUIDE.read_text(), re.MULTILINE)) == {each["alert"] for each in ALERTS}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_ask_for_what_is_told(rule: Mapping[str, Any]) -> None:
    assert names_in(rule["expr"])
    assert names_in(rule["expr"]) <= known_names()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_ask_for_what_is_told(path: Path) -> None:
    for expression in expressions(path):
        assert names_in(expression), expression
        assert names_in(expression) <= known_names(), expression
        assert '{environment=~"$environment"' in expression


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_no_two_panels_lie_on_each_other(path: Path) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in panels(path)]
    for name, place in places:
        assert place["x"] + place["w"] <= 24, name
    for (one_name, one), (other_name, other) in combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one_name, other_name)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_each_panel_has_a_number_of_its_own_and_says_what_it_shows(path: Path) -> None:
    told = panels(path)
    assert len({panel["id"] for panel in told}) == len(told)
    for panel in told:
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["datasource"]["uid"] == "$datasource"


def test_what_follows_from_another_alert_names_alerts_that_there_are() -> None:
    settings = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    names = {each["alert"] for each in ALERTS}
    for rule in settings["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = re.fullmatch(r'alertname!?=~?"(.+)"', matcher)
            assert pattern is not None, matcher
            assert any(re.fullmatch(pattern[1], name) for name in names), matcher
