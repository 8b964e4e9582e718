"""waypost models, on a folder of damaged and missing files. Fetching itself is tested with the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from waypost.cli.models import DEFAULT_MODEL, _sizes
from waypost.cli.output import size_text
from waypost.cli.progress import lines
from waypost.local.catalogue import CATALOGUE

Waypost = Callable[..., Result]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waypost: Waypost) -> Path:
    monkeypatch.setenv("WAYPOST_DATA_DIR", str(tmp_path / "d"))
    (tmp_path / "d/models").mkdir(parents=True)
    return tmp_path / "d/models"


def test_the_default_model_is_in_the_catalogue() -> None:
    assert DEFAULT_MODEL in CATALOGUE


def test_list_shows_every_model_with_its_state(waypost: Waypost, folder: Path) -> None:
    assert waypost("models", "list").stdout.startswith("smollm2-135m-instruct  available  98.4 MB  SmolLM2")
    (folder / "smollm2-135m-instruct.gguf").write_bytes(b"GGUF")
    model = json.loads(waypost("models", "list", "--json").stdout)[0]
    assert (model["name"], model["state"], model["size_bytes"]) == ("smollm2-135m-instruct", "damaged", 4)
    assert model["path"] == str(folder / "smollm2-135m-instruct.gguf")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pull", "smolm2"], "Error: There is no model named smolm2. "),
        (["remove", "smollm2-135m-instruct"], "Error: The model smollm2-135m-instruct is not on this machine. "),
        (["verify", "smollm2-135m-instruct"], "Error: The model smollm2-135m-instruct is not on this machine. "),
    ],
)
def test_mistakes_end_with_the_code_for_local_models(
    waypost: Waypost, folder: Path, arguments: list[str], told: str
) -> None:
    result = waypost("models", *arguments)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith(told)


def test_verify_checks_all_that_is_here(waypost: Waypost, folder: Path) -> None:
    told = "No model is here. Fetch one with: waypost models pull smollm2-135m-instruct\n"
    assert waypost("models", "verify").stdout == told
    (folder / "smollm2-135m-instruct.gguf").write_bytes(b"GGUF")
    result = waypost("models", "verify")
    assert result.exit_code == 4
    assert "waypost models pull smollm2-135m-instruct --force" in result.stderr


def test_remove_says_what_it_freed(waypost: Waypost, folder: Path) -> None:
    file = folder / "smollm2-135m-instruct.gguf"
    file.write_bytes(b"x" * 2500)
    assert waypost("models", "remove", file.stem).stdout == f"{file.stem} is removed; 2.5 kB are free again\n"
    assert not file.exists()


def test_progress_without_a_terminal_is_a_line_at_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    report = lines("Fetching m", _sizes)
    for done_bytes in (0, 0, 50_000, 90_000, 450_000, 999_999, 1_000_000):
        report(done_bytes, 1_000_000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "Fetching m: 0 % (0 B of 1.0 MB)",
        "Fetching m: 40 % (450.0 kB of 1.0 MB)",
        "Fetching m: 90 % (1.0 MB of 1.0 MB)",
        "Fetching m: 100 % (1.0 MB of 1.0 MB)",
    ]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (98_362_432, "98.4 MB"), (7_500_000_000, "7.5 GB")],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text
