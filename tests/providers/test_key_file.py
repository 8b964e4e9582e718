"""providers/key_file.py: keys are read, and an error tells the file and the line but nothing of what is in it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from waypost.errors import ConfigurationError
from waypost.providers.key_file import read_keys


def write(tmp_path: Path, data: bytes, mode: int = 0o600) -> Path:
    file = tmp_path / "keys.txt"
    file.write_bytes(data)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"key-1", ("key-1",)),
        (b"key-1\nkey-2\n", ("key-1", "key-2")),
        (b"\xef\xbb\xbf# ours\r\n  key-1  \r\n\r\nkey-2\r\nkey-1\r\n", ("key-1", "key-2")),
    ],
)
def test_one_key_a_line(tmp_path: Path, data: bytes, keys: tuple[str, ...]) -> None:
    assert read_keys(write(tmp_path, data)) == keys


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "holds no key"),
        (b"# nothing\n\n", "holds no key"),
        (b"fine\nSECRET with spaces\n", "holds a character in line 2 that no key has"),
        ("SECRET-ä\n".encode(), "holds a character in line 1 that no key has"),
        (b"SECRET\x00\n", "holds a character in line 1 that no key has"),
        (b"SECRET\xff", r"is not text \(byte 6\)"),
        (b"SECRET" * 20_000, "is over the limit of 65536 bytes"),
    ],
)
def test_what_is_wrong_is_told_without_the_content(tmp_path: Path, data: bytes, told: str) -> None:
    file = write(tmp_path, data)
    with pytest.raises(ConfigurationError, match=told) as caught:
        read_keys(file)
    assert str(file) in str(caught.value)
    assert "SECRET" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="gone.txt cannot be read: No such file or directory"):
        read_keys(tmp_path / "gone.txt")


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_file_that_everybody_may_read_is_warned_of(
    tmp_path: Path, mode: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read_keys(write(tmp_path, b"SECRET", mode))
    assert ("can be read by every user of this machine" in caplog.text) is warned
    assert "SECRET" not in caplog.text
