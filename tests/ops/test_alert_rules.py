"""Claims about the shipped rules, settings and dashboards, by the programs and libraries that read them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml
from tests.ops.scaled import ALERTMANAGER, FACTOR, PROMETHEUS, QUICKER, ROOT, RULES, scaled_expression, scaled_rules
from tests.ops.watching import program
from tests.test_alerts import ALERTS, DASHBOARDS, expressions, rules

pytestmark = pytest.mark.ops
UNIT_TESTS: Final = sorted((ROOT / "deploy" / "prometheus" / "tests").glob("*.yml"))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """The program's end, and what it said."""
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def test_the_settings_of_prometheus_and_alertmanager_pass_and_a_mistake_does_not(tmp_path: Path) -> None:
    promtool, amtool = (program("promtool"), "check", "config", "--syntax-only"), (program("amtool"), "check-config")
    for command, path, right, wrong in (
        (promtool, PROMETHEUS, "scrape_interval", "scrape_intervall"),
        (amtool, ALERTMANAGER, "receiver: webhook", "receiver: nobody"),
    ):
        assert run(*command, path).returncode == 0, run(*command, path).stderr
        planted = tmp_path / path.name
        planted.write_text(path.read_text().replace(right, wrong, 1))
        assert run(*command, planted).returncode != 0


def test_each_alert_fires_on_its_series_and_not_on_healthy_ones() -> None:
    said = run(program("promtool"), "test", "rules", *UNIT_TESTS)
    assert said.returncode == 0, said.stdout + said.stderr
    tried = set(re.findall(r'ALERTS\{alertname="(\w+)"', "".join(path.read_text() for path in UNIT_TESTS)))
    assert tried == {each["alert"] for each in ALERTS}


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_each_file_has_a_case_in_which_nothing_is_alerted(path: Path) -> None:
    cases = [case for test in yaml.safe_load(path.read_text())["tests"] for case in test["promql_expr_test"]]
    if path.stem == "money":
        # Beside each series that is alerted there is a healthy one in the same case.
        assert all(len(case["exp_samples"]) == 1 for case in cases)
    else:
        assert any(case["exp_samples"] == [] for case in cases)


@pytest.mark.parametrize("name", sorted(path.name for path in RULES.glob("*.yml") if path.stem != "recording"))
def test_a_rule_that_no_longer_fires_fails_the_unit_tests(name: str, tmp_path: Path) -> None:
    shutil.copytree(RULES, tmp_path / "rules")
    (tmp_path / "tests").mkdir()
    shutil.copy(RULES.parent / "tests" / name, tmp_path / "tests")
    rule_file = tmp_path / "rules" / name
    rule_file.write_text(re.sub(r"^( +for: ).+$", r"\g<1>30d", rule_file.read_text(), flags=re.MULTILINE))
    assert run(program("promtool"), "test", "rules", tmp_path / "tests" / name).returncode == 1


def test_all_expressions_are_read_by_an_independent_parser() -> None:
    # Here and below: of the group ops, and this file is read where only dev is installed, too.
    import promql_parser

    asked = [rule["expr"] for rule in rules()]
    asked += [text for path in DASHBOARDS for text in expressions(path)]
    for text in asked:
        promql_parser.parse(text.replace("$__rate_interval", "1m").replace("$environment", ".*"))
    with pytest.raises(ValueError, match="parenthesis"):
        promql_parser.parse("sum by (x) rate(a[5m]) (")


def test_the_dashboards_are_those_that_their_tables_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools import dashboards

    assert dashboards.main(["--check"]) == 0
    monkeypatch.setattr(dashboards, "FOLDER", tmp_path)
    assert dashboards.main(["--check"]) == 1
    assert dashboards.main([]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in DASHBOARDS}
    assert json.loads((tmp_path / "waypost-jobs.json").read_text())["title"] == "Waypost: jobs"


def test_what_is_made_quicker_for_the_live_test_is_the_shipped_rules() -> None:
    """But for durations and the thresholds of a table, each expression is the same text."""
    quick = [rule for file in scaled_rules().values() for group in file["groups"] for rule in group["rules"]]
    assert len(quick) == len(rules())
    for one, other in zip(rules(), quick, strict=True):
        expected = QUICKER.get(one["expr"], one["expr"])
        assert re.sub(r"\[\w+\]", "[]", expected) == re.sub(r"\[\w+\]", "[]", other["expr"])
    assert scaled_expression("rate(a[5m])") == f"rate(a[{300_000 // FACTOR}ms])"
