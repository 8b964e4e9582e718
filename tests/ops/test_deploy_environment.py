"""`tools/deploy`: what a pipeline has in variables reaches the deploy, and nothing of it is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.ops
ROOT = Path(__file__).parents[2]
SHOWS = """#!/usr/bin/env bash
echo "arguments: $*"
while [ $# -gt 1 ]; do [ "$1" = --file ] && echo "file: $(cat "$2")"; shift; done
ssh-add -l 2>/dev/null
env | grep -c '^DEPLOY_FILE' || true
[ -z "${KUBECONFIG:-}" ] || echo "cluster: $(cat "$KUBECONFIG") $(stat -c %a "$KUBECONFIG")"
exit "${CODE:-0}"
"""
"""In the place of the deploy: it shows what it was given."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository's folder with the script and what it calls."""
    for name in ("tools", "deploy"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "tools" / "deploy", tmp_path / "tools")
    (tmp_path / "deploy" / "deploy").write_text(SHOWS)
    (tmp_path / "deploy" / "deploy").chmod(0o755)
    return tmp_path


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "TMPDIR": str(folder), **variables}
    (folder / "home").mkdir(exist_ok=True)
    return subprocess.run(
        ["tools/deploy", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_environments_file_is_taken_and_arguments_are_passed_on(folder: Path) -> None:
    (folder / "deploy" / "staging.toml").write_text("from the repository")
    said = run(folder, "run", "staging", "0.2.0")
    assert said.stdout.splitlines()[:2] == [
        "arguments: run 0.2.0 --file deploy/staging.toml",
        "file: from the repository",
    ]


def test_credentials_in_variables_are_there_for_the_deploy_only(folder: Path) -> None:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "deployer", "-f", key], check=True)
    before = {path for path in folder.rglob("*") if "home" not in path.parts}
    said = run(
        folder,
        "run",
        "production",
        DEPLOY_FILE="from a variable",
        DEPLOY_SSH_KEY=key.read_text(),
        DEPLOY_KNOWN_HOSTS="host ssh-ed25519 AAAA",
        DEPLOY_KUBECONFIG="a cluster",
    )
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert "file: from a variable" in lines
    assert any("deployer (ED25519)" in line for line in lines)
    assert "cluster: a cluster 600" in lines
    assert "0" in lines
    assert {path for path in folder.rglob("*") if "home" not in path.parts} == before
    assert (folder / "home" / ".ssh" / "known_hosts").read_text() == "host ssh-ed25519 AAAA\n"


def test_a_deploy_that_fails_fails_here_and_leaves_nothing(folder: Path) -> None:
    said = run(folder, "rollback", "production", DEPLOY_FILE="any", CODE="3")
    assert said.returncode == 3
    assert [path.name for path in (folder / "deploy").iterdir()] == ["deploy"]
