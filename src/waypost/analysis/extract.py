"""The text of a document that somebody sent: read in a child process, with limits on time, memory and expansion.

Nothing of the document is parsed in this process. The child is killed when its time is over or the caller is
cancelled, and gone when `extract_text` returns, however it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from waypost.analysis.extracting import Outcome, Task
from waypost.analysis.extractors.formats import TOLD_AS, format_of
from waypost.analysis.plan import MOST_CONTENT_BYTES
from waypost.errors import (
    BinaryDocument,
    DamagedDocument,
    DocumentExpands,
    DocumentTooLarge,
    DocumentTooSlow,
    EmptyDocument,
    EncryptedDocument,
    UnknownEncoding,
    UnreadableDocument,
    UnsupportedDocument,
)

MEBIBYTE: Final = 1024 * 1024
ERRORS: Final[Mapping[str, type[UnreadableDocument]]] = {
    kind.code: kind
    for kind in (
        BinaryDocument,
        DamagedDocument,
        DocumentExpands,
        DocumentTooLarge,
        DocumentTooSlow,
        EmptyDocument,
        EncryptedDocument,
        UnknownEncoding,
        UnsupportedDocument,
    )
}
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_ALARM_LATER_S: Final = 2.0
"""The child's own alarm is for when nobody is left to kill it, and the system does not."""
_BYTES_A_CHARACTER: Final = 6
"""Of the outcome as JSON, at most: an escaped control character."""
_UNHOLDABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufeff]")


@dataclass(frozen=True, slots=True)
class ExtractLimits:
    """What one document may take. `time_s` is on the clock, `cpu_s` of a processor; memory is all of the child's."""

    document_bytes: int = 20 * MEBIBYTE
    text_bytes: int = MOST_CONTENT_BYTES
    expanded_bytes: int = 64 * MEBIBYTE
    pages: int = 5_000
    time_s: float = 30.0
    cpu_s: int = 25
    memory_bytes: int = 768 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Extracted:
    """A document's text. `media_type` is what it was read as; `notes` are for whoever sent it."""

    text: str
    media_type: str
    encoding: str | None = None
    pages: int | None = None
    notes: tuple[str, ...] = ()


async def extract_text(
    data: bytes, filename: str, media_type: str | None = None, limits: ExtractLimits | None = None
) -> Extracted:
    """The text of a document. Its type is told by the name, else by the media type, else by its first bytes.

    Raises an UnreadableDocument: EmptyDocument, BinaryDocument, UnsupportedDocument, UnknownEncoding,
    EncryptedDocument, DocumentTooLarge, DocumentExpands, DocumentTooSlow, DamagedDocument.
    """
    limits = limits or ExtractLimits()
    if not data.strip():
        raise EmptyDocument("The document is empty.")
    if len(data) > limits.document_bytes:
        told = f"The document has {len(data)} bytes; {limits.document_bytes} is the limit."
        raise DocumentTooLarge(told)
    form = format_of(data, filename, media_type)
    declared = _CHARSET.search(media_type or "")
    task = Task(
        form,
        declared[1] if declared else None,
        limits.text_bytes,
        limits.expanded_bytes,
        limits.pages,
        limits.memory_bytes,
        limits.cpu_s,
        limits.time_s + _ALARM_LATER_S,
    )
    outcome = await _in_a_child(task, data, limits)
    if outcome.code is not None:
        raise ERRORS.get(outcome.code, DamagedDocument)(outcome.message)
    text = _tidy(outcome.text)
    _demand_size(text, limits, has_pages=bool(outcome.pages))
    return Extracted(text, TOLD_AS[form], outcome.encoding, outcome.pages, outcome.notes)


def _demand_size(text: str, limits: ExtractLimits, *, has_pages: bool) -> None:
    if not text:
        scanned = " It may be a scan: pictures of pages are not read." if has_pages else ""
        raise EmptyDocument(f"There is no text in the document.{scanned}")
    size_bytes = len(text.encode())
    if size_bytes > limits.text_bytes:
        raise DocumentTooLarge(f"The document's text has {size_bytes} bytes; {limits.text_bytes} is the limit.")


def _tidy(text: str) -> str:
    """With plain line ends, without what no database holds, blanks at the ends of lines and long gaps."""
    plain = _UNHOLDABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = "\n".join(line.rstrip() for line in plain.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


async def _in_a_child(task: Task, data: bytes, limits: ExtractLimits) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "waypost.analysis.extracting",
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=_environment(),
    )
    try:
        async with asyncio.timeout(limits.time_s):
            written = await _exchange(process, task, data, limits.text_bytes * _BYTES_A_CHARACTER)
    except TimeoutError:
        raise DocumentTooSlow(f"The document was not read within {limits.time_s:g} s.") from None
    finally:
        await _end(process)
    return _decoded(written, process.returncode)


def _environment() -> dict[str, str]:
    """No variable of this process's, which may be secret, but where Python finds its modules."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONUTF8": "1"}


async def _exchange(process: Process, task: Task, data: bytes, most_bytes: int) -> bytes:
    """What the child writes after it was given task and document. Raises DocumentExpands."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    # If it has ended already, what it wrote says why, or nothing does.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(msgspec.json.encode(task) + b"\n" + data)
        await process.stdin.drain()
        process.stdin.close()
    pieces: list[bytes] = []
    size_bytes = 0
    while piece := await process.stdout.read(MEBIBYTE):
        size_bytes += len(piece)
        if size_bytes > most_bytes:
            raise DocumentExpands("The document's text is far over the limit.")
        pieces.append(piece)
    return b"".join(pieces)


async def _end(process: Process) -> None:
    """Kill it if it still runs, and wait for it even while the caller is being cancelled."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await asyncio.shield(process.wait())


def _decoded(written: bytes, returncode: int | None) -> Outcome:
    """A child that was killed, by a limit or for want of memory, has written nothing."""
    try:
        return msgspec.json.decode(written, type=Outcome)
    except msgspec.DecodeError:
        # Above 128 is how shells, and asyncio where it could not ask, tell of a signal.
        if returncode is None or returncode < 0 or returncode > 128:
            raise DocumentTooSlow("Reading the document took more time or memory than it may.") from None
        raise DamagedDocument("The document cannot be read.") from None
