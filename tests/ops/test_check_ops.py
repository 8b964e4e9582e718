"""`tools/check_ops`: what is right passes, and each linter of its table is seen to fail on a mistake."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.ops, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "check_ops"
PIN = "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"
WORKFLOW = f"""\
name: Sample
on:
  push:
    branches: [main]
permissions:
  contents: read
concurrency: sample
jobs:
  sample:
    name: Sample
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - uses: {PIN}
        with:
          persist-credentials: false
      - run: make check
"""
RULES = """\
groups:
  - name: sample
    rules:
      - alert: Sample
        expr: up == 0
"""
RULE_TESTS = """\
rule_files: [../rules/sample.yml]
tests:
  - interval: 1m
    input_series:
      - series: up{job="a"}
        values: "0 0 0"
    alert_rule_test:
      - eval_time: 1m
        alertname: Sample
        exp_alerts:
          - exp_labels: {job: a}
"""
DEPENDABOT = """\
version: 2
updates:
  - package-ecosystem: github-actions
    directory: /
    schedule:
      interval: weekly
    cooldown:
      default-days: 7
"""


class Row(NamedTuple):
    """A linter, a file that it looks at, the file as it should be, and what makes it wrong."""

    name: str
    file: str
    right: str
    good: str
    bad: str
    said: str


ROWS = (
    Row(
        "actionlint", ".github/workflows/a.yml", WORKFLOW, "make check", "echo ${{ steps.no.outputs.x }}", "not defined"
    ),
    Row("zizmor", ".github/workflows/a.yml", WORKFLOW, f"{PIN}", "actions/checkout@v6", "unpinned-uses"),
    Row("schema", ".github/workflows/a.yml", WORKFLOW, "timeout-minutes: 5", "timeout-minuets: 5", "timeout-minuets"),
    Row("dependabot", ".github/dependabot.yml", DEPENDABOT, "weekly", "now and then", "now and then"),
    Row("yamllint", "settings.yml", "one: 1\ntwo: 2\n", "two", "one", "duplication of key"),
    Row("shellcheck", "tools/run", '#!/usr/bin/env bash\necho "$1"\n', '"$1"', "$1", "SC2086"),
    Row("hadolint", "deploy/Dockerfile", "FROM python:3.12-slim\nUSER 10001\n", "python:3.12-slim", "python", "DL3006"),
    Row("promtool", "deploy/prometheus/rules/sample.yml", RULES, "up == 0", "up ==", "could not parse expression"),
    Row("rule tests", "deploy/prometheus/tests/sample.yml", RULE_TESTS, "job: a}", "job: b}", "FAILED"),
)


def run(root: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """The script over that folder."""
    command = [str(SCRIPT), "--root", str(root), *names]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with nothing in it but the settings of the linters."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".yamllint.yaml", tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_linter_passes_what_is_right_and_fails_on_a_mistake(row: Row, folder: Path) -> None:
    if row.name in ("promtool", "rule tests") and not shutil.which("promtool"):
        assert "skip" in run(ROOT, row.name).stdout or "none" in run(ROOT, row.name).stdout
        pytest.skip("promtool is not installed here: make test-ops installs it")
    write(folder, "deploy/prometheus/rules/sample.yml", RULES)
    write(folder, row.file, row.right)
    passed = run(folder, row.name)
    assert passed.returncode == 0, passed.stdout
    assert passed.stdout.startswith("ok"), passed.stdout

    assert row.good in row.right
    write(folder, row.file, row.right.replace(row.good, row.bad))
    failed = run(folder, row.name)
    assert failed.returncode == 1, failed.stdout
    assert failed.stdout.startswith("FAIL"), failed.stdout
    assert row.said in failed.stdout


def test_every_linter_of_the_table_has_a_mistake_here() -> None:
    table = re.findall(r"^([a-z ]+?) *\| \S+ *\| (?:locked|system)", SCRIPT.read_text(), re.MULTILINE)
    assert table == [row.name for row in ROWS]


def test_one_mistake_among_many_files_fails_the_whole(folder: Path) -> None:
    for row in ROWS:
        write(folder, row.file, row.right)
    assert run(folder).returncode == 0, run(folder).stdout
    write(folder, "tools/other", "#!/bin/sh\necho $1\n")
    said = run(folder)
    assert said.returncode == 1
    assert said.stdout.count("FAIL") == 1


def test_what_is_not_there_is_said(folder: Path) -> None:
    said = run(folder, "hadolint")
    assert (said.returncode, said.stdout.split()[:2]) == (0, ["none", "hadolint"])


def test_a_row_that_does_not_exist_is_refused(folder: Path) -> None:
    said = run(folder, "hadolnit")
    assert said.returncode == 2
    assert "hadolnit" in said.stderr
