from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from benchmarks.goals import GOALS, Measured
from benchmarks.report import Report, as_json, markdown

from benchmarks import chart


@pytest.fixture
def report() -> Report:
    return Report(
        taken_at="2026-01-02T03:04+00:00",
        machine={"cores": "2"},
        versions={"waypost": "0.1.0", "ferrogw": "1.5.10", "litellm": "1.108.7"},
        quick=True,
        measured={
            "json": Measured({"waypost": [150, 160], "ferrogw": [300, 320], "litellm": [9_000]}),
            "rss_idle": Measured({"waypost": [96.0], "ferrogw": [35.0]}),
            "workers": Measured(notes=["skipped: there is no such option"]),
        },
    )


def rows(page: str, title: str) -> list[list[str]]:
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return [row for row in table if row[0] == title]


def test_a_row_tells_figures_goal_ratio_and_verdict(report: Report) -> None:
    row = rows(markdown(report), "JSON, same dialect")
    assert row == [["JSON, same dialect", "CPU µs a request", "155", "310", "9,000", "≤ 1 x ferrogw", "0.50", "pass"]]


def test_the_second_goal_of_one_work_stands_under_the_first(report: Report) -> None:
    page = markdown(report)
    assert ["", "", "", "", "", "≥ 60 times less than litellm", "1 / 58.1", "fail"] in rows(page, "")


def test_an_absolute_goal_shows_the_part_of_the_limit(report: Report) -> None:
    assert rows(markdown(report), "RSS, idle")[0][2:] == ["96", "35", "-", "≤ 80 MB", "1.20", "fail"]


def test_what_was_skipped_says_why_and_is_not_a_failure(report: Report) -> None:
    page = markdown(report)
    assert rows(page, "JSON, two workers")[0][-1] == "not measured"
    assert "- workers: skipped: there is no such option" in page


def test_a_partial_run_leaves_out_what_was_not_asked_for(report: Report) -> None:
    page = markdown(replace(report, partial=True))
    assert rows(page, "RSS, idle")
    assert not rows(page, "200 paced streams")


def test_the_json_form_keeps_every_sample_and_every_verdict(report: Report) -> None:
    told = json.loads(json.dumps(as_json(report)))
    assert told["works"]["json"]["samples"]["waypost"] == [150, 160]
    assert len(told["goals"]) == len(GOALS)


def test_the_picture_has_a_dot_for_each_gateway_of_each_measured_goal(report: Report) -> None:
    """Three gateways under each of the two goals for JSON, two under the one for memory; three in the legend."""
    root = ElementTree.fromstring(chart.draw(report))  # noqa: S314 - our own
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == 3 + 3 + 3 + 2


def test_a_gateway_over_the_goal_stands_right_of_its_line(report: Report) -> None:
    low, high = 0.1, 10.0
    assert chart.position(0.5, low, high) < chart.position(1.0, low, high) < chart.position(1.2, low, high)
    assert chart.LEFT <= chart.position(low, low, high) < chart.position(high, low, high) <= chart.WIDTH
