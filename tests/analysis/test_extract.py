"""Documents: each type gives its text, each kind of bad one its own error, and no child process outlives its caller."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.analysis.documents import assembled, docx, encrypted_pdf, pdf, pdf_of, zipped

from waypost.analysis.extract import ERRORS, Extracted, ExtractLimits, extract_text
from waypost.analysis.extractors.decoding import decoded
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

MEBIBYTE = 1024 * 1024
PAGE = b"""<!DOCTYPE html><html><head><title>Tides</title><style>p {color: red}</style></head><body>
<h1>The <b>port</b></h1><script>alert("no")</script><p>Ebb &amp; flow.<br>Twice a day.</p>
<table><tr><td>high</td><td>low</td></tr></table></body></html>"""
TABLE = (
    "<w:p><w:r><w:t>Before</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc>"
    "<w:tc><w:p><w:r><w:t>b</w:t><w:tab/><w:t>c</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    "<w:p><w:r><w:delText>gone</w:delText></w:r></w:p>"
)


@pytest.mark.parametrize(
    ("data", "name", "media_type", "text", "read_as"),
    [
        (b"Plain text.\r\nTwo lines.\r\n", "a.txt", None, "Plain text.\nTwo lines.", "text/plain"),
        ("Ünïcode".encode(), "a.TXT", "application/octet-stream", "Ünïcode", "text/plain"),
        (b"# Title\n\n\n\n\ntext  \n", "notes.md", None, "# Title\n\ntext", "text/markdown"),
        (b"no name at all", "", None, "no name at all", "text/plain"),
        (b"by its media type", "upload", "text/plain; charset=utf-8", "by its media type", "text/plain"),
        (PAGE, "page.html", None, "Tides\n\nThe port\n\nEbb & flow.\nTwice a day.\n\n\thigh\tlow", "text/html"),
        (pdf("First page.", "Second page."), "a.pdf", None, "First page.\n\nSecond page.", "application/pdf"),
        (pdf("Told by its bytes."), "", None, "Told by its bytes.", "application/pdf"),
        (
            encrypted_pdf("Only printing is forbidden.", ""),
            "a.pdf",
            None,
            "Only printing is forbidden.",
            "application/pdf",
        ),
        (docx("One.", "Two."), "a.docx", None, "One.\n\nTwo.", None),
        (docx(body=TABLE), "folder\\a.docx", None, "Before\n\na \tb\tc", None),
    ],
)
async def test_each_type_gives_its_text(
    data: bytes, name: str, media_type: str | None, text: str, read_as: str | None
) -> None:
    extracted = await extract_text(data, name, media_type)
    assert extracted.text == text
    assert read_as in (extracted.media_type, None)


WESTERN = "Der Betrag wurde zweimal abgebucht. Für die Rückzahlung danke ich.".encode("cp1252")
RUSSIAN = "Посылка пришла на две недели позже".encode("cp1251")


@pytest.mark.parametrize(
    ("data", "declared", "encoding"),
    [
        (codecs.BOM_UTF8 + "grün".encode(), None, "utf-8"),
        (codecs.BOM_UTF16_LE + "grün".encode("utf-16-le"), None, "utf-16-le"),
        (codecs.BOM_UTF16_BE + "grün".encode("utf-16-be"), "utf-8", "utf-16-be"),
        (codecs.BOM_UTF32_LE + "grün".encode("utf-32-le"), None, "utf-32-le"),
        (RUSSIAN, "windows-1251", "cp1251"),
        ("日本語".encode("shift_jis"), "Shift_JIS", "shift_jis"),
        (WESTERN, None, "windows-1252"),
    ],
)
def test_an_encoding_is_told_or_declared(data: bytes, declared: str | None, encoding: str) -> None:
    told = decoded(data, declared)
    assert told.encoding == encoding
    assert bool(told.notes) == (data is WESTERN), "only what was taken for granted is noted"
    assert not set(told.text) & {"�", "\ufeff"}


@pytest.mark.parametrize(
    ("data", "declared", "error"),
    [
        (RUSSIAN, None, UnknownEncoding),
        (RUSSIAN, "no-such", UnknownEncoding),
        (RUSSIAN, "shift_jis", UnknownEncoding),
        (b"+ADw-script+AD4- \xff", "utf-7", UnknownEncoding),
        (b"\xff \\x41", "unicode_escape", UnknownEncoding),
        (b"\xff abc", "rot13", UnknownEncoding),
        (b"\x89PNG\r\n\x1a\n\x00\x00", None, BinaryDocument),
        (bytes(range(1, 32)) * 4, None, BinaryDocument),
        (codecs.BOM_UTF16_LE + b"\x00\xd8", None, UnknownEncoding),
    ],
)
def test_an_encoding_that_cannot_be_told_is_not_guessed(
    data: bytes, declared: str | None, error: type[UnreadableDocument]
) -> None:
    with pytest.raises(error):
        decoded(data, declared)


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMB = docx(body="<w:p><w:r><w:t>&i;</w:t></w:r></w:p>", head=f"{ENTITIES}]>")
ELSEWHERE = docx(
    body="<w:p><w:r><w:t>&f;</w:t></w:r></w:p>", head='<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
)


def zip_bomb() -> bytes:
    """80 MB of blanks in about as many KB."""
    return docx(body=f"<w:p><w:r><w:t>{' ' * 80_000_000}</w:t></w:r></w:p>")


def lying_zip(claimed_bytes: int) -> bytes:
    """A Word file whose archive claims another size of its main part than it has."""
    data = bytearray(docx("short"))
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = claimed_bytes.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "name", "error"),
    [
        (b"", "a.txt", EmptyDocument),
        (b" \n\t ", "a.txt", EmptyDocument),
        (pdf("", ""), "scan.pdf", EmptyDocument),
        (docx(""), "a.docx", EmptyDocument),
        (b"<html><script>only()</script></html>", "a.html", EmptyDocument),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "a.txt", BinaryDocument),
        (pdf("a PDF"), "a.txt", BinaryDocument),
        (b"text", "a.xlsx", UnsupportedDocument),
        (b"text", "a.exe", UnsupportedDocument),
        (b"text", "upload", UnsupportedDocument),
        (zipped({"xl/workbook.xml": b"<a/>"}), "a.docx", UnsupportedDocument),
        (encrypted_pdf("secret", "password"), "a.pdf", EncryptedDocument),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, "a.docx", EncryptedDocument),
        (b"%PDF-1.4\nthe rest is missing", "a.pdf", DamagedDocument),
        (pdf("cut")[:200], "a.pdf", DamagedDocument),
        (b"no PDF", "a.pdf", DamagedDocument),
        (docx("cut")[:-30], "a.docx", DamagedDocument),
        (zipped({"word/document.xml": b"<w:document"}), "a.docx", DamagedDocument),
        (BOMB, "a.docx", DamagedDocument),
        (ELSEWHERE, "a.docx", DamagedDocument),
        (zip_bomb, "a.docx", DocumentExpands),
        (lying_zip(2**31 - 1), "a.docx", DocumentExpands),
        (lying_zip(1), "a.docx", DamagedDocument),
        (lambda: b"a" * (20 * MEBIBYTE + 1), "a.txt", DocumentTooLarge),
        (lambda: b"a" * (2 * MEBIBYTE + 1), "a.txt", DocumentTooLarge),
        (lambda: "ä".encode() * (MEBIBYTE + 1), "a.txt", DocumentTooLarge),
    ],
)
async def test_each_bad_document_has_its_own_error(
    data: bytes | Callable[[], bytes], name: str, error: type[UnreadableDocument]
) -> None:
    media_type = "image/png" if name == "upload" else None
    with pytest.raises(error) as raised:
        await extract_text(data() if callable(data) else data, name, media_type)
    assert type(raised.value) is error
    assert raised.value.hint
    assert not {"/", "Traceback"} & set(raised.value.message.split())


def test_every_error_of_the_child_is_known_to_its_parent() -> None:
    assert set(ERRORS.values()) == set(UnreadableDocument.__subclasses__())


QUICK = ExtractLimits(time_s=1.5)


def slow_pdf() -> bytes:
    """A page whose description takes minutes to read."""
    return pdf_of([b"BT /F1 12 Tf (a) Tj ET " * 3_000_000], packed=True)


def large_pdf() -> bytes:
    """A page whose one text is tens of megabytes, packed into some KB."""
    return pdf_of([b"BT (" + b"a" * 60_000_000 + b") Tj ET"], packed=True)


@pytest.mark.parametrize(
    ("data", "name", "limits"),
    [
        (slow_pdf, "a.pdf", QUICK),
        (slow_pdf, "a.pdf", ExtractLimits(cpu_s=1)),
        (large_pdf, "a.pdf", ExtractLimits(memory_bytes=96 * MEBIBYTE)),
        (lambda: b"<p>" + b"<!-" * 6_000_000, "a.html", QUICK),
    ],
    ids=["clock", "processor", "memory", "html"],
)
async def test_a_document_that_takes_too_much_is_given_up(
    data: Callable[[], bytes], name: str, limits: ExtractLimits
) -> None:
    """Whichever limit it meets first; nothing of the child is left."""
    with pytest.raises((DocumentTooSlow, DocumentExpands)):
        await extract_text(data(), name, None, limits)
    assert not children()


async def test_the_clock_holds_whatever_the_document() -> None:
    """A page that takes minutes is given up after its time, and a little for the start and end of the child."""
    made = slow_pdf()
    began = time.monotonic()
    with pytest.raises(DocumentTooSlow, match=r"within 1\.5 s"):
        await extract_text(made, "a.pdf", None, QUICK)
    assert time.monotonic() - began < 30


PAGES_IN_A_CIRCLE = assembled(
    [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2000000000 >>"]
)


async def test_pages_in_a_circle_end() -> None:
    with pytest.raises(UnreadableDocument):
        await extract_text(PAGES_IN_A_CIRCLE, "a.pdf", None, ExtractLimits(time_s=5))
    assert not children()


async def test_a_cancelled_caller_leaves_no_child() -> None:
    """Cancelled while the child is at work; it is gone when the cancellation has come through."""
    task = asyncio.create_task(extract_text(slow_pdf(), "a.pdf"))
    async with asyncio.timeout(10):
        while not any(busy(child) for child in children()):  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not children()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the child's own alarm ends it, later")
async def test_a_killed_caller_leaves_no_child() -> None:
    """SIGKILL leaves no time to clean up: the child ends with whoever started it."""
    script = (
        "import asyncio\nfrom tests.analysis.test_extract import slow_pdf\n"
        "from waypost.analysis.extract import extract_text\nasyncio.run(extract_text(slow_pdf(), 'a.pdf'))"
    )
    root = Path(__file__).parents[2]
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=root)
    try:
        async with asyncio.timeout(60):
            while not (found := [child for child in children(parent.pid) if busy(child)]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        parent.kill()
        await parent.wait()
    _, alive = psutil.wait_procs(found, timeout=5)
    assert not alive


def children(of: int | None = None) -> list[psutil.Process]:
    """The children of a process, of this one if none is named, that read documents."""
    found = []
    for child in psutil.Process(of or os.getpid()).children():
        try:
            if "waypost.analysis.extracting" in child.cmdline():
                found.append(child)
        except psutil.Error:
            continue
    return found


def busy(child: psutil.Process) -> bool:
    try:
        return child.cpu_times().user > 0.3
    except psutil.Error:
        return False


async def test_the_child_can_neither_call_nor_write_nor_start(tmp_path: Path) -> None:
    """What a parser might be talked into, tried in a process that has given it up."""
    target = tmp_path / "written"
    script = f"""
import waypost.analysis.extracting as e, socket, subprocess, os
e._give_up(e.Task("text", None, 1, 1, 1, 2**40, 100, 100.0))
for attempt in (
    lambda: socket.socket(),
    lambda: socket.getaddrinfo("localhost", 80),
    lambda: subprocess.run(["true"]),
    lambda: os.system("true"),
    lambda: os.fork(),
    lambda: open({str(target)!r}, "w"),
    lambda: os.open({str(target)!r}, os.O_CREAT | os.O_WRONLY),
):
    try:
        attempt()
    except PermissionError:
        continue
    os.write(1, b"allowed")
    os._exit(1)
os.write(1, b"refused")
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    written, errors = await process.communicate()
    assert (written, process.returncode) == (b"refused", 0), errors
    assert not target.exists()


async def test_many_at_once_each_get_their_own() -> None:
    extracted: list[Extracted] = await asyncio.gather(*(extract_text(pdf(f"Page {n}."), "a.pdf") for n in range(4)))
    assert [each.text for each in extracted] == [f"Page {n}." for n in range(4)]


async def test_what_no_database_holds_is_not_in_the_text() -> None:
    extracted = await extract_text(f"a&#0;b&#xd800;c{'&#1;'}d \ufeffe".encode(), "a.html")
    assert not set(extracted.text) & {"\x00", "\x01", "\ud800", "\ufeff"}
