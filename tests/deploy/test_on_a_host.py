"""The scripts of a deploy, run for real on this machine, with a stand-in for the server where one is wanted."""

from __future__ import annotations

import configparser
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.test_docs import ROOT

from waypost.deploy.errors import DeployFailed, DeployRefused
from waypost.deploy.found import found_in
from waypost.deploy.host import Host, connected
from waypost.deploy.record import Entry, entries_in
from waypost.deploy.scripts import Scripts
from waypost.deploy.settings import DeployFile, HostSettings, SmokeSettings

pytestmark = pytest.mark.process
HERE = HostSettings(address="local")
OBEYS = "trap 'exit 0' TERM"
DEAF = "trap '' TERM"


@pytest.fixture
def host() -> Iterator[Host]:
    with connected(HERE) as host:
        yield host


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    root = tmp_path / "opt"
    root.mkdir()
    smoke = SmokeSettings(url="http://127.0.0.1:1")
    return Scripts(DeployFile(hosts=(HERE,), smoke=smoke, root=str(root), supervisor="process", keep=2))


def release(tmp_path: Path, version: str, does: str = OBEYS) -> Path:
    """A release whose server says that it runs, and then waits."""
    folder = tmp_path / "opt" / "releases" / version
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "waypost"
    program.write_text(f"#!/bin/sh\n{does}\necho running\nwhile :; do sleep 0.05; done\n")
    program.chmod(0o755)
    (folder / ".complete").write_text("abc\n")
    return folder


def start(host: Host, scripts: Scripts, tmp_path: Path, version: str) -> int:
    """Start it as blue; gives its process id once it has set its traps."""
    done = host.run(scripts.start("blue", version))
    assert done.code == 0, done.said
    log, until_s = tmp_path / "opt/run/blue.log", time.monotonic() + 10
    while "running" not in (log.read_text() if log.exists() else ""):
        assert time.monotonic() < until_s
        time.sleep(0.01)
    return int((tmp_path / "opt/run/blue.pid").read_text())


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def test_a_host_without_anything_is_seen_as_such(host: Host, scripts: Scripts) -> None:
    assert found_in(host.run(scripts.look()).out) == found_in("")


def test_what_was_switched_to_is_found_again(host: Host, scripts: Scripts, tmp_path: Path) -> None:
    release(tmp_path, "1.0.0")
    pid = start(host, scripts, tmp_path, "1.0.0")
    assert host.run(scripts.switch("blue")).code == 0
    found = found_in(host.run(scripts.look()).out)
    assert (found.live, found.idle, found.version, found.previous) == ("blue", "green", "1.0.0", None)
    assert found.releases == {"1.0.0": "abc"}
    assert (tmp_path / "opt/nginx/live/blue").exists()
    assert not (tmp_path / "opt/nginx/live/green").exists()
    assert host.run(scripts.end("blue", 5)).code == 0
    assert not runs(pid)
    found = found_in(host.run(scripts.look()).out)
    assert (found.current, found.live, found.version) == ("blue", None, "1.0.0")


@pytest.mark.parametrize(("does", "drain_s", "least_s"), [(OBEYS, 5, 0.0), (DEAF, 0, 1.0)], ids=["obeys", "deaf"])
def test_a_server_ends_when_told_to_or_is_killed(
    host: Host,
    scripts: Scripts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    does: str,
    drain_s: float,
    least_s: float,
) -> None:
    monkeypatch.setattr("waypost.deploy.scripts.LAST_WORDS_S", 1)
    release(tmp_path, "1.0.0", does)
    pid = start(host, scripts, tmp_path, "1.0.0")
    started_s = time.monotonic()
    assert host.run(scripts.end("blue", drain_s)).code == 0
    assert time.monotonic() - started_s >= least_s
    assert not runs(pid)


def test_another_programs_process_is_left_alone(host: Host, scripts: Scripts, tmp_path: Path) -> None:
    """After a restart of the machine the id in the file may be anybody's."""
    (tmp_path / "opt/run").mkdir()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "opt/run/blue.pid").write_text(str(stranger.pid))
        assert host.run(scripts.end("blue", 0)).code == 0
        assert stranger.poll() is None
        stranger.kill()


def test_one_that_ends_at_once_is_told_with_its_last_words(host: Host, scripts: Scripts, tmp_path: Path) -> None:
    release(tmp_path, "1.0.0", "[ $1 = serve ] && echo no such setting && exit 3; exit 1")
    assert host.run(scripts.start("blue", "1.0.0")).code == 0
    done = host.run(scripts.wait_until_up("blue", "1.0.0"))
    assert done.code == 1
    assert "no such setting" in done.said


def test_old_releases_make_room_but_not_those_that_a_colour_leads_to(
    host: Host, scripts: Scripts, tmp_path: Path
) -> None:
    for number in range(5):
        folder = release(tmp_path, f"1.{number}")
        os.utime(folder, (number, number))
    assert host.run(scripts.relink("blue", "1.0")).code == 0
    assert host.run(scripts.relink("green", "1.4")).code == 0
    assert host.run(scripts.tidy()).code == 0
    assert {path.name for path in (tmp_path / "opt/releases").iterdir()} == {"1.0", "1.3", "1.4"}
    assert host.run(scripts.relink("blue", None)).code == 0
    assert not (tmp_path / "opt/blue").is_symlink()


def test_the_history_is_appended_to_and_keeps_every_text(host: Host, scripts: Scripts, tmp_path: Path) -> None:
    begun = Entry("deploy_1", "2026-11-26T10:00:00Z", "it's $HOME `x`", "deploy", "1.0.0", None, note='a "note"\nüber')
    lost = replace(begun, id="deploy_2", version="1.1.0", previous="1.0.0")
    for entry in (begun, replace(begun, outcome="done", duration_s=3.5), lost):
        assert host.run(scripts.record(entry.told())).code == 0
    with (tmp_path / "opt/history.jsonl").open("a") as file:
        file.write('{"id": "torn')
    read = entries_in(host.run(scripts.history()).out)
    assert read == [replace(begun, outcome="done", duration_s=3.5), lost]
    assert read[1].outcome == "unfinished"


def test_one_deploy_at_a_time(host: Host, scripts: Scripts, tmp_path: Path) -> None:
    root = str(tmp_path / "opt")
    with (
        host.locked(root, "ada, since 10:00"),
        connected(HERE) as other,
        pytest.raises(DeployRefused, match="ada, since 10:00"),
        other.locked(root, "bob"),
    ):
        pass
    with connected(HERE) as other, other.locked(root, "bob"):
        pass


def test_a_file_appears_whole_and_a_script_reads_none_of_its_own_text(host: Host, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 1000)
    host.put(source, str(tmp_path / "a target"))
    assert (tmp_path / "a target").read_bytes() == source.read_bytes()
    assert host.run("cat\necho after\n").out == "after\n"
    assert host.run("echo $SECRET", exports={"SECRET": "it's"}).out == "it's\n"


def test_a_script_that_never_ends_is_given_up(host: Host) -> None:
    with pytest.raises(DeployFailed, match=r"more than 0\.2 s"):
        host.run("sleep 60", timeout_s=0.2)


def test_the_unit_of_systemd_agrees_with_what_a_deploy_writes() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "deploy/host/waypost@.service")
    file = DeployFile(hosts=(HERE,), smoke=SmokeSettings(url="http://127.0.0.1:1"))
    script = Scripts(file).start("blue", "1.0.0")
    assert script.startswith(f"cd {file.root}\n")
    assert ">run/blue.env" in script
    assert script.endswith("systemctl start waypost@blue")
    assert unit["Service"]["ExecStart"] == f"{file.root}/%i/bin/waypost serve"
    assert unit["Service"]["EnvironmentFile"] == f"{file.root}/run/%i.env"
    assert unit["Service"]["KillMode"] == "mixed"


def test_secrets_of_the_host_are_read_and_the_deploy_files_variables_come_after_them(
    host: Host, scripts: Scripts, tmp_path: Path
) -> None:
    (tmp_path / "secrets").write_text("WHO=secret\nKEY=k\n")
    file = msgspec.structs.replace(
        scripts._file, environment_file=str(tmp_path / "secrets"), environment={"WHO": "deploy file"}
    )
    folder = release(tmp_path, "1.0.0")
    (folder / "bin/waypost").write_text('#!/bin/sh\necho "$WHO, $KEY, $*"\n')
    done = host.run(Scripts(file).waypost("1.0.0", "db", "check", settings=False))
    assert done.out == "deploy file, k, db check\n"
