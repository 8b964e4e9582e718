"""The child process that reads a document: python -m waypost.analysis.extracting.

It reads one line of JSON (`Task`) from stdin and then the document to its end, and writes one JSON value (`Outcome`)
to stdout. Before it looks at the document it gives up what a document might misuse: memory, time, files that could be
written, processes that could be started and, as far as Python goes, the network. It ends with whoever started it, and
where the system has no way for that, by an alarm of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any, Final, NoReturn

import msgspec

from waypost.analysis.extractors.decoding import decoded
from waypost.analysis.extractors.formats import Format
from waypost.errors import DamagedDocument, DocumentTooSlow, UnreadableDocument
from waypost.local.lifeline import be_killed_with_parent

READ_BYTES: Final = 1024 * 1024
_FORBIDDEN_EVENTS: Final = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "ctypes.", "urllib.",
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "shutil.", "tempfile.",
)  # fmt: skip
_MEMORY_TOLD: Final = "Reading the document took more memory than it may."


class Task(msgspec.Struct, frozen=True):
    """What is to be done. `encoding` is the one that was declared beside the document."""

    format: Format
    encoding: str | None
    text_characters: int
    expanded_bytes: int
    pages: int
    memory_bytes: int
    cpu_s: int
    time_s: float


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """Either `text`, or the `code` of an error with its `message`."""

    text: str = ""
    encoding: str | None = None
    notes: tuple[str, ...] = ()
    pages: int | None = None
    code: str | None = None
    message: str = ""


def main() -> NoReturn:
    """Read one document and end."""
    be_killed_with_parent()
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    output = os.dup(1)
    # Whatever a library prints must not be taken for the outcome.
    os.dup2(2, 1)
    _preload(task.format)
    _give_up(task)
    try:
        outcome = _outcome(task, sys.stdin.buffer.read())
    except UnreadableDocument as error:
        outcome = Outcome(code=error.code, message=error.message)
    except MemoryError:
        outcome = Outcome(code=DocumentTooSlow.code, message=_MEMORY_TOLD)
    except RecursionError:
        outcome = Outcome(code=DamagedDocument.code, message="The document is nested too deep.")
    _write(output, msgspec.json.encode(outcome))
    os._exit(0)


def _preload(form: Format) -> None:
    """What is needed later, while files may still be opened for it."""
    if form == "pdf":
        import pypdf.errors  # noqa: F401

        import waypost.analysis.extractors.pdf
    elif form == "docx":
        import waypost.analysis.extractors.docx
    elif form == "html":
        import waypost.analysis.extractors.html  # noqa: F401


def _give_up(task: Task) -> None:
    if sys.platform != "win32":
        import resource

        limits = {
            resource.RLIMIT_AS: task.memory_bytes,
            resource.RLIMIT_CPU: task.cpu_s,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_CORE: 0,
        }
        for what, most in limits.items():
            # Not every system has every limit; the parent's clock holds on all of them.
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(what, (most, most))
        signal.setitimer(signal.ITIMER_REAL, task.time_s)
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN_EVENTS):
        raise PermissionError(f"{event} is not for who reads a document")
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        raise PermissionError("files are not written here")


def _outcome(task: Task, data: bytes) -> Outcome:
    match task.format:
        case "pdf":
            from waypost.analysis.extractors.pdf import pages_of_pdf

            pages = pages_of_pdf(data, task.pages, task.text_characters)
            return Outcome("\n\n".join(pages), pages=len(pages))
        case "docx":
            from waypost.analysis.extractors.docx import text_of_docx

            return Outcome(text_of_docx(data, task.expanded_bytes))
        case "html":
            from waypost.analysis.extractors.html import declared_encoding, text_of_html

            page = decoded(data, task.encoding or declared_encoding(data))
            return Outcome(text_of_html(page.text), page.encoding, page.notes)
        case "text" | "markdown":
            told = decoded(data, task.encoding)
            return Outcome(told.text, told.encoding, told.notes)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[:READ_BYTES]) :]


if __name__ == "__main__":
    main()
