"""Runs workflows with `act` on this machine, in a throw-away copy, with stand-ins for the actions of others.

act checks out by itself, and knows neither services nor environments nor the form `$/` of a path in the own repository,
which is `./` there. Artifacts are taken to a folder by a stand-in. All else is the workflow as it is written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".github" / "workflows"
USES: Final = re.compile(r"uses: ([\w.-]+/[\w./-]+@[0-9a-f]{40})")
STAND_IN: Final = """\
name: stand-in
inputs:
  name: {default: ""}
  path: {default: ""}
runs:
  using: composite
  steps:
    - shell: bash
      run: |
        echo "$ACTION $NAME" >>"$STORE/actions"
        case $ACTION in
          actions/upload-artifact)
            mkdir -p "$STORE/$NAME"
            if [ -d "$WHAT" ]; then WHAT=$WHAT/.; fi
            if [ -e "$WHAT" ]; then cp -r "$WHAT" "$STORE/$NAME/"; fi ;;
          actions/download-artifact) mkdir -p "$WHAT" && cp -r "$STORE/$NAME/." "$WHAT" ;;
        esac
      env:
        ACTION: %s
        NAME: ${{ inputs.name }}
        WHAT: ${{ inputs.path }}
"""


@dataclass(frozen=True)
class Ran:
    """What came of a run: its output, and the outcome of each job that ran, by its id."""

    text: str
    jobs: Mapping[str, str]
    actions: Sequence[str] = field(default_factory=tuple)

    @property
    def told(self) -> str:
        """The last lines of the output, for whoever reads why a test fails."""
        read = [json.loads(line)["msg"] for line in self.text.splitlines() if line.startswith("{") and '"msg"' in line]
        read = [line for line in read if "LocalRepositoryCache" not in line and "action" not in line]
        return "\n".join([*(str(line).rstrip() for line in read[-60:]), str(dict(self.jobs))])


def workflow(name: str) -> dict[str, Any]:
    """A workflow as it is written. YAML reads the key `on` as a truth."""
    read: dict[Any, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))
    return {"on" if key is True else str(key): value for key, value in read.items()}


def workflows() -> list[str]:
    """Their names."""
    return sorted(file.stem for file in FOLDER.glob("*.yml"))


def run(
    folder: Path,
    event: str,
    *,
    payload: Mapping[str, Any],
    job: str | None = None,
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    others: Mapping[str, Path] | None = None,
    timeout_s: float = 240,
) -> Ran:
    """Run an event's workflows, or one job and what it needs, in that repository.

    `others`: repositories whose workflows it calls, and the folders that stand for them.
    """
    store = folder.parent / f"{folder.name}-store"
    store.mkdir(exist_ok=True)
    (store / "event.json").write_text(json.dumps(payload))
    places = _stand_ins([folder, *(others or {}).values()], store, others or {})
    options = [f"--local-repository={uses}={place}" for uses, place in places.items()]
    options += [f"--secret={name}={value}" for name, value in (secrets or {}).items()]
    options += [f"--var={name}={value}" for name, value in (variables or {}).items()]
    options += [f"--env={name}={value}" for name, value in {**(environment or {}), "STORE": str(store)}.items()]
    options += ["--job", job] if job else []
    options += ["--workflows", f".github/workflows/{file}"] if file else []
    command = ["act", event, "--json", "--pull=false", "-P", "ubuntu-24.04=-self-hosted", "--eventpath"]
    output = _all_of_it([*command, str(store / "event.json"), "--no-cache-server", *options], folder, store, timeout_s)
    actions = (store / "actions").read_text().splitlines() if (store / "actions").exists() else []
    return Ran(output, _outcomes(output), actions)


def _all_of_it(command: Sequence[str], folder: Path, store: Path, timeout_s: float) -> str:
    """What the command says. If it takes too long it is ended with all that it started."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=_clean_environment(store),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def _clean_environment(store: Path) -> dict[str, str]:
    dropped = ("GITHUB_", "ACT", "CI", "WAYPOST_", "ANTHROPIC_", "OPENAI_", "GEMINI_", "PYTEST_", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    (store / "cache").mkdir(exist_ok=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": path, "XDG_CACHE_HOME": str(store / "cache"), "XDG_CONFIG_HOME": str(store / "cache")}


def _outcomes(output: str) -> dict[str, str]:
    """Job -> success, failure or skipped; a job of a called workflow is named after the one that calls it, too."""
    found = {}
    for line in output.splitlines():
        told = json.loads(line) if line.startswith("{") else {}
        if "jobResult" in told:
            found[str(told["jobID"])] = str(told["jobResult"])
    return found


def _stand_ins(repositories: Sequence[Path], store: Path, others: Mapping[str, Path]) -> dict[str, Path]:
    """A folder for each action and each other repository that the workflows use."""
    used = {use for each in repositories for file in each.rglob("*.yml") for use in USES.findall(file.read_text())}
    told = {}
    for use in sorted(used):
        action, _, commit = use.partition("@")
        repository = "/".join(action.split("/")[:2])
        place = others.get(repository, store / "actions.d" / use.replace("/", "-"))
        if repository not in others:
            place.mkdir(parents=True, exist_ok=True)
            (place / "action.yml").write_text(STAND_IN % action)
        told[f"{repository}@{commit}"] = place
    return told


def repository(folder: Path) -> None:
    """Make the folder a repository with all that is in it committed."""
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=all"],
        ["remote", "add", "origin", "https://github.com/example/product.git"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)


def copy_workflows(folder: Path, commit: str | None = None) -> None:
    """The workflows, with the form of a path that act knows; `commit`: that by which others call them."""
    shutil.copytree(FOLDER, folder / ".github" / "workflows", dirs_exist_ok=True)
    (folder / ".github" / "zizmor.yml").write_text("rules: {self-repository: {disable: true}}\n")
    for file in (folder / ".github" / "workflows").glob("*.yml"):
        text = file.read_text()
        if commit:
            text = re.sub(r"uses: \$/(\S+)", rf"uses: waypost-ai/waypost/\1@{commit}", text)
        file.write_text(text.replace("uses: $/", "uses: ./"))


def lend_programs(folder: Path) -> None:
    """A virtual environment of scripts that call the real one's programs.

    Not of links: whoever removes or replaces one of these has removed a script.
    """
    lent = folder / ".venv" / "bin"
    lent.mkdir(parents=True)
    for program in (ROOT / ".venv" / "bin").iterdir():
        if os.access(program, os.X_OK) and not program.name.startswith("activate"):
            (lent / program.name).write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
            (lent / program.name).chmod(0o755)
