"""The workflows as they are written: least permissions, pinned actions, no secret where a fork's code runs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.ops.workflows import FOLDER, ROOT, workflow, workflows

pytestmark = pytest.mark.ops
PIN = re.compile(r"uses: (?P<action>[\w.-]+/[\w./-]+)@(?P<commit>[0-9a-f]{40}) # (?P<version>v\d+\.\d+\.\d+)$")
WRITING = {
    "build.sign": {"id-token", "attestations"},
    "ci.build": {"id-token", "attestations"},
    "deploy.build": {"id-token", "attestations"},
    "release.build": {"id-token", "attestations"},
    "release.ci": {"id-token", "attestations"},
    "release.image": {"packages", "id-token", "attestations"},
    "release.pypi": {"id-token"},
    "release.release": {"contents"},
}
"""All that any job may write."""
SMOKE = {"SMOKE_API_KEY", "SMOKE_ADMIN_KEY"}
DEPLOY = {"DEPLOY_SSH_KEY", "DEPLOY_KUBECONFIG", *SMOKE}
SECRETS = {
    "ci.models": {"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"},
    "deploy.staging": DEPLOY,
    "deploy.production": DEPLOY,
    "deploy.rollback": DEPLOY,
    "deploy.smoke": SMOKE,
    "deploy.verify": SMOKE,
}
"""All that any job is given."""
NOT_HERE_YET = {"web", "image"}
"""Targets that come with the folder web/ and the Dockerfile."""


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every job of every workflow, named WORKFLOW.JOB."""
    for name in workflows():
        for job, told in workflow(name)["jobs"].items():
            yield f"{name}.{job}", told


JOBS = dict(jobs())


def test_every_action_of_others_is_pinned_and_one_action_has_one_version() -> None:
    seen: dict[str, set[tuple[str, str]]] = {}
    for name in workflows():
        for line in (FOLDER / f"{name}.yml").read_text().splitlines():
            if "uses:" not in line or line.strip().startswith("#") or "uses: $/" in line:
                continue
            found = PIN.search(line)
            assert found, line
            seen.setdefault(found["action"], set()).add((found["commit"], found["version"]))
    assert len(seen) >= 6
    assert all(len(pins) == 1 for pins in seen.values()), seen


@pytest.mark.parametrize("name", workflows())
def test_a_workflow_gives_no_permission_and_says_when_it_runs(name: str) -> None:
    told = workflow(name)
    assert told["permissions"] == {}
    assert "workflow_call" in told["on"]
    assert "pull_request_target" not in told["on"]
    assert "workflow_run" not in told["on"]
    assert "concurrency" in told or set(told["on"]) == {"workflow_call"}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_has_the_permissions_it_needs_and_an_end(name: str) -> None:
    job = JOBS[name]
    writing = {scope for scope, access in job["permissions"].items() if access == "write"}
    assert writing == WRITING.get(name, set())
    assert "uses" in job or 1 <= job["timeout-minutes"] <= 60
    for step in job.get("steps", ()):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", JOBS)
def test_secrets_go_where_they_are_needed_and_nowhere_else(name: str) -> None:
    text = json.dumps(JOBS[name])
    assert set(re.findall(r"secrets\.(\w+)", text)) == SECRETS.get(name, set())
    assert "inherit" not in text


def test_a_pull_request_of_a_fork_gets_neither_a_secret_nor_a_signature() -> None:
    """GitHub gives `pull_request` of a fork no secret; only `pull_request_target` would, and nothing listens to it."""
    listening = [name for name in workflows() if "pull_request" in workflow(name)["on"]]
    assert listening == ["ci"]
    assert JOBS["ci.build"]["with"]["sign"] == "${{ github.event_name == 'push' && github.ref == 'refs/heads/main' }}"
    assert JOBS["build.sign"]["if"] == "inputs.sign"


def test_what_others_wrote_does_not_run_where_signatures_are_made() -> None:
    for step in JOBS["build.sign"]["steps"]:
        assert "checkout" not in step.get("uses", "")
        assert "make" not in step.get("run", "")


def test_production_waits_for_its_reviewers_and_the_way_back_does_not() -> None:
    environments = {name: job["environment"]["name"] for name, job in JOBS.items() if "environment" in job}
    assert environments == {
        "deploy.staging": "staging",
        "deploy.smoke": "staging",
        "deploy.production": "production",
        "deploy.verify": "production-rollback",
        "deploy.rollback": "production-rollback",
        "release.pypi": "pypi",
    }


def test_every_target_that_is_called_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    there = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    text = "\n".join((FOLDER / f"{name}.yml").read_text() for name in workflows())
    called = set(re.findall(r"\bmake ([a-z-]+)\b", re.sub(r"#.*|No make \w+", "", text)))
    planned = set(re.search(r"TARGETS: >-\n +(.*)", text)[1].split())  # type: ignore[index]
    assert {"check", "build", "smoke", "publish"} <= called
    # These two are one step, which is told which of them it is.
    assert (called | planned | {"deploy", "rollback"}) - there <= NOT_HERE_YET


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ({"check": "success", "web": "skipped"}, 0),
        ({"check": "success", "web": "failure"}, 1),
        ({"check": "cancelled", "web": "skipped"}, 1),
    ],
)
def test_the_last_job_passes_only_if_none_failed(results: dict[str, str], code: int) -> None:
    (step,) = JOBS["ci.passed"]["steps"]
    assert set(JOBS["ci.passed"]["needs"]) == {name.partition(".")[2] for name in JOBS if name.startswith("ci.")} - {
        "passed"
    }
    needs = json.dumps({job: {"result": result, "outputs": {}} for job, result in results.items()})
    told = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        env={"NEEDS": needs, "GITHUB_STEP_SUMMARY": "/dev/null", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == code, told.stderr
    assert "- check: " in told.stdout
