"""A clean place for commands to run in: no settings file, no keys, no models, no colours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result

from waypost.cli.main import root

OURS = ("WAYPOST_", "ANTHROPIC_", "OPENAI_")
Waypost: TypeAlias = Callable[..., Result]


def clean_environment(home: Path) -> dict[str, str]:
    """The process's environment without what Waypost reads, and with an empty home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**kept, "HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "NO_COLOR": "1"}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The clean environment, also in force in this process; the current folder is empty."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    clean = clean_environment(tmp_path)
    for name, value in clean.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return clean


@pytest.fixture
def waypost(environment: Mapping[str, str]) -> Waypost:
    """Run a command in this process: `waypost("config", "check")`. Unexpected exceptions come through."""

    def run(*arguments: str, **options: str | bytes) -> Result:
        result = CliRunner().invoke(root, list(arguments), prog_name="waypost", input=options.get("input"))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def simulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `waypost simulate`, in a process of its own."""
    command = [sys.executable, "-m", "waypost.cli.main", "simulate", "--port", "0"]
    environment = clean_environment(tmp_path_factory.mktemp("home"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[3]
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def providers(simulator_url: str, environment: Mapping[str, str]) -> Path:
    """A settings file whose two providers are the simulator."""
    file = Path("waypost.yaml")
    file.write_text(
        "providers:\n"
        f"  first: {{kind: anthropic, api_key: a-long-key, base_url: '{simulator_url}', default_model: one}}\n"
        f"  second: {{kind: openai, api_key: a-long-key, base_url: '{simulator_url}/v1', default_model: two}}\n"
        "routes: {broken: {targets: [first/status-529, second]}, hopeless: {targets: [first/status-529]}}\n"
    )
    return file
