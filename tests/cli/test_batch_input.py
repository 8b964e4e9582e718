"""cli/batch_input.py, server/batch_lines.py: whatever is in the input, each item has its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from waypost.cli.batch_input import UnreadableInput, check_input, read_items
from waypost.jobs.batch import UNUSABLE_ITEM, Item
from waypost.server.batch_lines import LineForm

FORM = LineForm("analyze", 2_000)


def read(folder: Path, name: str, data: bytes, form: LineForm = FORM) -> list[Item]:
    (folder / name).write_bytes(data)
    check_input(str(folder / name), form)
    return list(read_items(str(folder / name), form))


def texts(items: list[Item]) -> list[str | None]:
    """The content of each; of an item that is none, why."""
    return [item.error.message if item.error else item.input.data.decode() if item.input else None for item in items]


def test_lines_are_objects_or_texts_and_their_names_are_kept(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbf{"id": 7, "content": "one"}\r\n\n{"text": "two", "more": [1]}\n"three"\n{"prompt": "four"}'
    items = read(tmp_path, "in.jsonl", data)
    assert texts(items) == ["one", "two", "three", "four"]
    assert [item.index for item in items] == [0, 1, 2, 3]
    assert [item.name for item in items] == ["7", None, None, None]


def test_the_fields_are_those_that_were_named(tmp_path: Path) -> None:
    form = LineForm("analyze", 2_000, "body", "key")
    items = read(
        tmp_path, "in.jsonl", b'{"id": 1, "key": "k", "content": "no", "body": "yes"}\n{"content": "x"}\n', form
    )
    assert texts(items) == ["yes", "There is no body."]
    assert items[0].name == "k"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"not json", "The line is not JSON"),
        (b'{"content": "\xff"}', "The line is not UTF-8."),
        (b"[1]", "The line is neither a JSON object nor a text."),
        (b"{}", "There is no content or prompt or text or input."),
        (b'{"content": 7}', "content is not a text."),
        (b'{"content": "  "}', "content is only white space."),
        (b'{"content": ""}', "content is empty."),
        (b'{"content": "a\\u0000b"}', "content is not text."),
        (b'{"content": "\\ud800"}', "The line is not JSON"),
        (b'{"content": "' + b"x" * 2_001 + b'"}', "content has 2001 bytes, and the limit is 2000."),
        (b'{"content": "x", "more": "' + b"y" * 100_000 + b'"}', "The line has more than 77536 bytes."),
        (b"[" * 5_000, "The line is not JSON"),
    ],
)
def test_a_bad_line_is_an_item_with_an_error_and_the_next_line_is_read(tmp_path: Path, line: bytes, why: str) -> None:
    items = read(tmp_path, "in.jsonl", line + b'\n{"content": "good"}\n')
    assert len(items) == 2
    assert items[0].error is not None
    assert items[0].error.message.startswith(why)
    assert items[0].error.code == UNUSABLE_ITEM
    assert texts(items)[1] == "good"


def test_a_table_has_its_names_in_the_first_row(tmp_path: Path) -> None:
    data = 'id,text\r\na,"one, with\r\na break"\r\nb,zwei ä\r\nc\r\nd,1,2\r\n'.encode()
    items = read(tmp_path, "in.csv", data)
    assert texts(items)[:2] == ["one, with\r\na break", "zwei ä"]
    assert [item.name for item in items[:2]] == ["a", "b"]
    assert [item.error is not None for item in items] == [False, False, True, True]
    assert texts(read(tmp_path, "in.tsv", b"content\tother\none, two\tx\n")) == ["one, two"]


def test_of_a_table_with_one_column_its_name_does_not_matter(tmp_path: Path) -> None:
    assert texts(read(tmp_path, "in.csv", b"review\ngood\nbad\n")) == ["good", "bad"]


def test_a_row_in_another_encoding_and_one_with_a_huge_cell_are_their_own_errors(tmp_path: Path) -> None:
    data = b"text\ncaf\xe9\n" + b"x" * 100_000 + b"\ngood\n"
    found = texts(read(tmp_path, "in.csv", data))
    assert found[0] == "The row is not UTF-8."
    assert (found[1] or "").startswith("The row cannot be read")
    assert found[-1] == "good"


def test_a_folder_is_its_documents_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("bee")
    (tmp_path / "a.md").write_text("# a")
    (tmp_path / "sub" / "c.HTML").write_text("<p>sea</p>")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "large.txt").write_text("x" * 2_001)
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden.txt").write_text("hidden")
    check_input(str(tmp_path), FORM)
    items = list(read_items(str(tmp_path), FORM))
    assert [item.name for item in items] == ["a.md", "b.txt", "empty.txt", "large.txt", "sub/c.HTML"]
    assert [item.error is None for item in items] == [True, True, False, False, True]
    assert items[4].input is not None
    assert items[4].input.media_type.startswith("text/html")


def test_prompts_are_part_of_what_is_asked(tmp_path: Path) -> None:
    items = read(tmp_path, "in.jsonl", b'{"prompt": "why?"}\n', LineForm("generate", 2_000))
    assert (items[0].input, items[0].request) == (None, {"prompt": "why?"})
    said = (
        b'{"prompt": "why?", "system": "Be brief.", "max_tokens": 9, "kind": "x"}\n{"prompt": "a", "max_tokens": "9"}\n'
    )
    items = read(tmp_path, "in.jsonl", said, LineForm("generate", 2_000))
    assert items[0].request == {"prompt": "why?", "system": "Be brief.", "max_tokens": 9}
    assert texts(items[1:]) == ["max_tokens is not what it should be."]


def test_what_cannot_be_read_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"")
    (tmp_path / "a.txt").write_text("a")
    for source, form, why in (
        (str(tmp_path / "none.jsonl"), FORM, "No such file"),
        (str(tmp_path), LineForm("generate", 2_000), "only be analyzed"),
    ):
        with pytest.raises(UnreadableInput, match=why):
            check_input(source, form)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(UnreadableInput, match="no document"):
        check_input(str(tmp_path), FORM)
