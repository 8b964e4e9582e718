"""Claims about forms with files: whatever pieces they come in, they are read alike, within bounds, or refused."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.errors import BodyTooLarge, InvalidRequest
from waypost.server.multipart import FormDecoder, FormPart, boundary_of

LIMIT = 200


def decode(body: bytes, boundary: bytes = b"B", piece: int = 7) -> list[FormPart]:
    decoder = FormDecoder(boundary, lambda _: LIMIT, lambda part, limit: BodyTooLarge(f"{part.name} {limit}"))
    for at in range(0, len(body), piece):
        decoder.feed(body[at : at + piece])
    return list(decoder.finish())


def part(head: bytes, data: bytes = b"x") -> bytes:
    return b"--B\r\n" + head + b"\r\n\r\n" + data + b"\r\n--B--\r\n"


NAMED = b'Content-Disposition: form-data; name="a"'

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
contents = st.binary(max_size=LIMIT) | st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"-", b"--", b"--B", b"\r\n--", b"\r\n-", b"x"]), max_size=20
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(names, contents.filter(lambda data: b"\r\n--B" not in data and not data.startswith(b"--B"))),
        max_size=5,
    ),
    st.integers(1, 40),
)
def test_in_whatever_pieces_a_form_comes_its_parts_are_the_same(fields: list[tuple[str, bytes]], piece: int) -> None:
    body = b""
    for name, data in fields:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode()
        body += b'--B\r\nContent-Disposition: form-data; name="' + quoted + b'"; filename="f"\r\n\r\n' + data + b"\r\n"
    parts = decode(body + b"--B--\r\n", piece=piece)
    assert [(each.name, each.data) for each in parts] == fields


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | contents.map(lambda data: part(NAMED, data)[: 1 + len(data)]), st.integers(1, 40))
def test_whatever_comes_is_read_or_refused(body: bytes, piece: int) -> None:
    with suppress(InvalidRequest, BodyTooLarge):
        assert all(len(each.data) <= LIMIT for each in decode(body, piece=piece))


def test_a_form_of_a_real_client_is_read() -> None:
    request = httpx.Request(
        "POST",
        "http://h/",
        data={"kinds": ["analysis", "tone"], "content": "käse"},
        files={"file": ("Übersicht.md", b"# a\r\n--b", "text/markdown")},
    )
    request.read()
    parts = decode(request.content, boundary_of(request.headers["content-type"]))
    assert [(each.name, each.data) for each in parts[:3]] == [
        ("kinds", b"analysis"),
        ("kinds", b"tone"),
        ("content", "käse".encode()),
    ]
    assert parts[3] == FormPart("file", b"# a\r\n--b", "Übersicht.md", "text/markdown")


@pytest.mark.parametrize(
    ("head", "filename"),
    [
        (NAMED, None),
        (NAMED + b'; filename=""', ""),
        (NAMED + b"; filename=plain.txt", "plain.txt"),
        (NAMED + rb'; filename="a \"b\" \\c.txt"', 'a "b" \\c.txt'),
        (NAMED + b"; filename*=utf-8''%C3%84.txt", "Ä.txt"),
        (b"content-type: text/plain\r\nCONTENT-DISPOSITION : form-data ; name=a; filename=x", "x"),
    ],
)
def test_names_are_read_as_clients_write_them(head: bytes, filename: str | None) -> None:
    (read,) = decode(b"a preamble\r\n" + part(head) + b"an epilogue")
    assert (read.name, read.filename, read.data) == ("a", filename, b"x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form at all",
        part(NAMED)[:-6],
        b"--B\r\n" + NAMED,
        part(b"content-type: text/plain"),
        part(b"Content-Disposition: attachment; name=a"),
        part(b"nonsense"),
        part(NAMED + b"\r\n" + NAMED),
        part(NAMED + b"\r\nContent-Transfer-Encoding: base64"),
        part(b'Content-Disposition: form-data; name="\xff"'),
        part(NAMED + b"; x=" + b"y" * 9000),
        b"--Bxyz\r\n" + NAMED + b"\r\n\r\nx\r\n--B--",
        b"--B" + b" " * 500,
        (b"--B\r\n" + NAMED + b"\r\n\r\nx\r\n") * 70 + b"--B--",
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(body)


def test_a_part_over_its_limit_is_refused_before_it_has_come() -> None:
    decoder = FormDecoder(b"B", lambda _: LIMIT, lambda each, limit: BodyTooLarge(f"{each.name} {limit}"))
    with pytest.raises(BodyTooLarge, match="a 200"):
        decoder.feed(part(NAMED, b"x" * 300)[:-10])


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="a b "',
        "multipart/form-data; boundary=" + "x" * 71,
    ],
)
def test_a_content_type_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidRequest):
        boundary_of(content_type)
