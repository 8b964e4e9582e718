"""What is shipped: the same bytes wherever it is built, installed by its users' tools, and listed in full."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from tests.journeys.conftest import copy_project
from tests.ops.workflows import lend_programs, repository

pytestmark = [pytest.mark.ops, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")


def build(folder: Path, umask: int, clock: str) -> dict[str, str]:
    """Copy the project there, build it, and give the hashes by file name."""
    folder.mkdir(parents=True)
    copy_project(folder)
    lend_programs(folder)
    environment = {**os.environ, "UV": UV, "TZ": clock, "SOURCE_DATE_EPOCH": "1790000000"}
    command = ["sh", "-c", f"umask {umask:03o} && tools/build"]
    told = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return {name: digest for digest, name in (line.split() for line in told.stdout.splitlines())}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, built in a folder."""
    folder = tmp_path_factory.mktemp("build") / "one"
    build(folder, 0o022, "UTC")
    return folder / "dist"


def test_two_builds_in_different_places_are_the_same_bytes(built: Path, tmp_path: Path) -> None:
    again = build(tmp_path / "quite" / "another" / "folder", 0o077, "Asia/Tokyo")
    first = dict(line.split()[::-1] for line in (built / "SHA256SUMS").read_text().splitlines())
    assert first == again
    assert {name.rpartition(".")[2] for name in first} == {"whl", "gz"}


def test_the_time_in_the_packages_is_the_commits(tmp_path: Path) -> None:
    """Two commits of the same files at different times differ, and so nothing else decides the time."""
    folder = tmp_path / "project"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "build", folder / "tools")
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for name in ("README.md", "LICENSE", "src/waypost/__init__.py", ".gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    lend_programs(folder)
    hashes = []
    for moment in ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "2026-02-02T00:00:00Z"):
        shutil.rmtree(folder / ".git", ignore_errors=True)
        for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
            os.environ[name] = moment
        try:
            repository(folder)
        finally:
            del os.environ["GIT_AUTHOR_DATE"], os.environ["GIT_COMMITTER_DATE"]
        environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
        told = subprocess.run(
            ["tools/build"], cwd=folder, env={**environment, "UV": UV}, capture_output=True, text=True, check=True
        )
        hashes.append(told.stdout)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_tag_that_is_not_the_version_is_refused() -> None:
    environment = {**os.environ, "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v99.0.0", "UV": "false"}
    told = subprocess.run([ROOT / "tools" / "build"], env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "The tag is v99.0.0" in told.stderr


def test_it_is_installed_as_a_tool_in_a_clean_home_and_serves(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    kept = ("PATH", "PIP_", "UV_", "SSL_", "REQUESTS_", "LANG", "http", "HTTP", "no_proxy", "NO_PROXY")
    clean = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    cache = subprocess.run([UV, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    clean |= {"HOME": str(tmp_path), "UV_CACHE_DIR": cache, "UV_PYTHON_DOWNLOADS": "never"}
    locked = ["--constraints", str(ROOT / "requirements" / "serve.txt")]
    installing = [UV, "tool", "install", "--quiet", str(wheel), *locked]
    subprocess.run(installing, env=clean, cwd=tmp_path, check=True, timeout=200)
    waypost = tmp_path / ".local" / "bin" / "waypost"
    told = subprocess.run([waypost, "version"], env=clean, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert wheel.name.split("-")[1] in told.stdout
    command = [str(waypost), "serve", "--port", "0", "--no-worker"]
    with subprocess.Popen(command, env=clean, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert " on http" in line
            with urllib.request.urlopen(f"{line.split()[3]}/health", timeout=20) as reply:  # noqa: S310 - loopback
                assert reply.status == 200
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(40) == 0


def test_the_bills_of_materials_have_every_locked_requirement() -> None:
    subprocess.run([ROOT / "tools" / "sbom"], env={**os.environ, "UV": UV}, capture_output=True, check=True)
    locked, installed = (
        json.loads(next((ROOT / "dist").glob(f"*.{kind}.cdx.json")).read_text()) for kind in ("locked", "installed")
    )
    wanted = {
        line.split("==")[0] for line in (ROOT / "requirements" / "serve.txt").read_text().splitlines() if "==" in line
    }
    assert {each["name"] for each in locked["components"]} == wanted
    assert all(each["externalReferences"][0]["hashes"] for each in locked["components"])
    assert locked["metadata"]["component"]["name"] == "waypost"
    assert len([each for each in installed["components"] if each.get("licenses")]) > 40
    assert "file:" not in json.dumps(installed)
