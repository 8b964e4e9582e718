"""What is refused before anything is changed, and what becomes of a deploy whose step fails, on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.deploy.test_compatible import wheel

from waypost.deploy import bluegreen
from waypost.deploy.bluegreen import Order, carry_out, history
from waypost.deploy.errors import DeployFailed, DeployRefused
from waypost.deploy.run import Run
from waypost.deploy.settings import DeployFile, HostSettings, SmokeSettings
from waypost.deploy.steps import Step
from waypost.deploy.wheel import Wheel, read_wheel

pytestmark = pytest.mark.process
DATABASE = {"schema": 2, "oldest_code": 1, "this_version": 2, "oldest_code_when_upgraded": 1}


class Quiet:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, host: str, title: str) -> None:
        self.lines.append(title)

    def script(self, text: str) -> None:
        self.lines.append(text)

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def file(tmp_path: Path) -> DeployFile:
    """A host on which version 1.0.0 is current, and says what it is told to of its database."""
    root = tmp_path / "opt"
    program = root / "releases/1.0.0/bin/waypost"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{json.dumps(DATABASE)}'\n")
    program.chmod(0o755)
    (root / "releases/1.0.0/.complete").write_text("abc\n")
    (root / "blue").symlink_to("releases/1.0.0")
    (root / "nginx/blue").mkdir(parents=True)
    (root / "nginx/live").symlink_to("blue")
    (tmp_path / "requirements.txt").write_text("")
    return DeployFile(
        hosts=(HostSettings(address="local"),),
        smoke=SmokeSettings(url="http://127.0.0.1:1"),
        root=str(root),
        supervisor="process",
        requirements=tmp_path / "requirements.txt",
    )


def order(folder: Path, steps: dict[int, int], version: str = "1.1.0") -> Order:
    read = read_wheel(wheel(folder, version, steps))
    return Order("deploy", version, read, by="ada")


Change = Callable[[Order, DeployFile], tuple[Order, DeployFile]]
REFUSED: list[tuple[str, Change]] = [
    ("is not on local", lambda order, file: (replace(order, version="9.9.9", wheel=None), file)),
    ("There is no version before", lambda order, file: (Order("rollback"), file)),
    ("There is no file", lambda order, file: (order, msgspec.structs.replace(file, requirements=Path("/none")))),
    (
        "already, from another wheel",
        lambda order, file: (replace(order, version="1.0.0", wheel=_named(order.wheel, "1.0.0")), file),
    ),
    (
        "wants code of schema 3 or later",
        lambda order, file: (replace(order, wheel=_with_steps(order.wheel, {2: 1, 3: 3})), file),
    ),
]


def _named(read: Wheel | None, version: str) -> Wheel:
    assert read is not None
    return replace(read, version=version)


def _with_steps(read: Wheel | None, steps: dict[int, int]) -> Wheel:
    assert read is not None
    return replace(read, steps=steps)


@pytest.mark.parametrize(("words", "change"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_end_well_is_refused_and_nothing_is_changed(
    tmp_path: Path, file: DeployFile, words: str, change: Change
) -> None:
    wanted, file = change(order(tmp_path, {1: 1, 2: 1}), file)
    before = {path for path in Path(file.root).rglob("*") if "lock" not in path.name}
    with pytest.raises(DeployRefused, match=words):
        carry_out(wanted, file, Quiet())
    after = {path for path in Path(file.root).rglob("*") if "lock" not in path.name}
    assert {path.name for path in after ^ before} <= {"history.jsonl"}
    assert [entry.outcome for entry in history(file)["local"]] in ([], ["refused"])


FAILURES = [
    (DeployFailed("it broke"), False, "rolled_back"),
    (KeyboardInterrupt(), False, "rolled_back"),
    (DeployFailed("it broke"), True, "failed"),
]


@pytest.mark.parametrize(
    ("error", "undo_fails", "outcome"), FAILURES, ids=["fails", "interrupted", "cannot be taken back"]
)
def test_what_was_done_is_taken_back_the_last_first(
    tmp_path: Path,
    file: DeployFile,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    undo_fails: bool,
    outcome: str,
) -> None:
    undone: list[str] = []

    def does(name: str) -> Callable[[Run], None]:
        def take_back() -> None:
            undone.append(name)
            if undo_fails and name == "second":
                raise DeployFailed("it is stuck")

        def do(run: Run) -> None:
            with run.taken_back_by(f"undo {name}", take_back):
                pass

        return do

    def breaks(_run: Run) -> None:
        raise error

    steps = (
        Step("first", "first", does("first")),
        Step("second", "second", does("second")),
        Step("third", "3", breaks),
    )
    monkeypatch.setitem(bluegreen.STEPS, "deploy", steps)
    with pytest.raises(DeployFailed, match="the step third failed"):
        carry_out(order(tmp_path, {1: 1, 2: 1}), file, Quiet())
    assert undone == ["second", "first"]
    (entry,) = history(file)["local"]
    assert (entry.outcome, entry.step, entry.previous, entry.by) == (outcome, "third", "1.0.0", "ada")
    assert ("it is stuck" in str(entry.reason)) is undo_fails


def test_what_fails_after_the_last_test_is_a_note_and_the_new_version_stays(
    tmp_path: Path, file: DeployFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fine(_run: Run) -> None:
        """Nothing to do."""

    def breaks(_run: Run) -> None:
        raise DeployFailed("the old server does not end")

    steps = (Step("tried", "tried", fine, commits=True), Step("drain", "drain", breaks))
    monkeypatch.setitem(bluegreen.STEPS, "deploy", steps)
    quiet = Quiet()
    (entry,) = carry_out(order(tmp_path, {1: 1, 2: 1}), file, quiet)
    assert entry.outcome == "done"
    assert "drain: the old server does not end" in quiet.lines
