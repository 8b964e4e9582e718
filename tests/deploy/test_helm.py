"""A version on a cluster. There is no cluster here: `helm` is a program that writes down how it was called."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from tests.smoke.lying_server import ADMIN_KEY, KEY, as_json, lying
from tests.smoke.test_checks import says

from waypost.deploy.errors import DeployFailed, DeployRefused
from waypost.deploy.helm import Cluster
from waypost.deploy.settings import DeployFile, HelmSettings, SmokeSettings

pytestmark = pytest.mark.process
HELM = """#!{python}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + chr(10))
if sys.argv[1] == "history":
    history = folder / "history"
    if not history.exists():
        sys.exit("Error: release: not found")
    print(history.read_text())
if (folder / "fails").exists() and sys.argv[1] == (folder / "fails").read_text():
    sys.exit("Error: UPGRADE FAILED: timed out waiting for the condition")
"""
HISTORY = [
    {"revision": 1, "status": "superseded"},
    {"revision": 2, "status": "failed"},
    {"revision": 3, "status": "deployed"},
]


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, host: str, title: str) -> None:
        self.lines.append(f"{host}: {title}")

    def script(self, text: str) -> None:
        self.lines.append(text)

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_API_KEY", KEY)
    monkeypatch.setenv("WAYPOST_ADMIN_KEY", ADMIN_KEY)


def cluster(folder: Path, url: str, *, is_dry: bool = False, history: bool = True) -> tuple[Cluster, Told]:
    program, told = folder / "helm", Told()
    program.write_text(HELM.format(python=sys.executable))
    program.chmod(0o755)
    if history:
        (folder / "history").write_text(json.dumps(HISTORY))
    helm = HelmSettings(chart=folder / "chart", program=str(program), values=(folder / "values.yaml",), context="east")
    smoke = SmokeSettings(url=url, timeout_s=5)
    return Cluster(DeployFile(smoke=smoke, helm=helm), helm, told, is_dry=is_dry), told


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


async def test_a_version_that_works_is_left_there(tmp_path: Path) -> None:
    async with lying({}) as (url, _):
        await asyncio.to_thread(cluster(tmp_path, url)[0].put, "1.2.3")
    look, upgrade = calls(tmp_path)
    assert look[0] == "history"
    assert upgrade[:5] == ["upgrade", "waypost", str(tmp_path / "chart"), "--install", "--atomic"]
    assert upgrade[-4:] == ["--values", str(tmp_path / "values.yaml"), "--set-string", "image.tag=1.2.3"]
    assert "east" in upgrade


async def test_one_that_fails_the_smoke_test_is_followed_by_the_revision_before(tmp_path: Path) -> None:
    lies = {"GET /ready": says(as_json({"status": "unavailable"}, 503))}
    async with lying(lies) as (url, _):
        with pytest.raises(DeployFailed, match=r"ready: .*Revision 3 is back"):
            await asyncio.to_thread(cluster(tmp_path, url)[0].put, "1.2.3")
    assert calls(tmp_path)[-1][:4] == ["rollback", "waypost", "3", "--wait"]


async def test_the_first_version_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    lies = {"GET /ready": says(as_json({"status": "unavailable"}, 503))}
    async with lying(lies) as (url, _):
        with pytest.raises(DeployFailed, match=r"Nothing was deployed there before"):
            await asyncio.to_thread(cluster(tmp_path, url, history=False)[0].put, "1.2.3")
    assert [call[0] for call in calls(tmp_path)] == ["history", "upgrade"]


def test_where_helm_fails_its_words_are_told_and_nothing_is_tried(tmp_path: Path) -> None:
    (tmp_path / "fails").write_text("upgrade")
    with pytest.raises(DeployFailed, match="timed out waiting"):
        cluster(tmp_path, "http://127.0.0.1:1")[0].put("1.2.3")
    assert [call[0] for call in calls(tmp_path)] == ["history", "upgrade"]


async def test_a_rollback_goes_to_the_last_revision_that_served(tmp_path: Path) -> None:
    async with lying({}) as (url, _):
        await asyncio.to_thread(cluster(tmp_path, url)[0].go_back)
    assert calls(tmp_path)[-1][:3] == ["rollback", "waypost", "1"]
    with pytest.raises(DeployRefused):
        (tmp_path / "history").write_text(json.dumps(HISTORY[2:]))
        cluster(tmp_path, url, history=False)[0].go_back()


def test_a_dry_run_tells_its_commands_and_runs_none_that_changes(tmp_path: Path) -> None:
    made, told = cluster(tmp_path, "http://127.0.0.1:1", is_dry=True)
    made.put("1.2.3")
    assert [call[0] for call in calls(tmp_path)] == ["history"]
    assert any("--set-string image.tag=1.2.3" in line for line in told.lines)
    assert KEY not in "".join(told.lines)
