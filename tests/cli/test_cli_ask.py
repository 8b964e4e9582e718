"""waypost ask, against the simulator over real sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import Result

from waypost.cli.output import CONTROL

Waypost = Callable[..., Result]


@pytest.mark.parametrize("options", [[], ["--no-stream"]])
def test_the_answer_goes_to_stdout_and_the_rest_to_stderr(
    waypost: Waypost, providers: Path, options: list[str]
) -> None:
    result = waypost("ask", "hello", *options)
    first = "" if options else r" · first token \d+\.\d\d s"
    assert (result.exit_code, result.stdout) == (0, "You said: hello\n")
    assert re.fullmatch(rf"first/one · \d+ in, \d+ out tokens{first} · \d+\.\d\d s\n", result.stderr)


def test_the_prompt_comes_from_stdin(waypost: Waypost, providers: Path) -> None:
    assert waypost("ask", "-", input="from a pipe").stdout == "You said: from a pipe\n"


@pytest.mark.parametrize("options", [[], ["--no-stream"]])
def test_json_has_all_there_is_to_know(waypost: Waypost, providers: Path, options: list[str]) -> None:
    result = waypost("ask", "hello", "--model", "broken", "--json", *options)
    answer = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (answer["content"], answer["provider"], answer["model"]) == ("You said: hello", "second", "two")
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["output_tokens"] > 0
    assert [attempt["provider"] for attempt in answer["attempts"]] == ["first", "first", "second"]
    assert [attempt["error"] is None for attempt in answer["attempts"]] == [False, False, True]
    assert answer["id"]
    assert answer["duration_ms"] >= 0
    assert (answer["first_token_ms"] is None) is bool(options)


def test_a_provider_that_failed_first_is_named(waypost: Waypost, providers: Path) -> None:
    told = waypost("ask", "hello", "--model", "broken").stderr.splitlines()
    assert told[0].startswith("note: first failed first: ")
    assert told[1].startswith("second/two · ")


def test_wishes_reach_the_provider(waypost: Waypost, providers: Path, simulator_url: str) -> None:
    from urllib.request import urlopen

    options = ["--system", "Be brief.", "--max-tokens", "7", "--temperature", "0.5", "--model", "second/three"]
    assert waypost("ask", "wishes", *options).exit_code == 0
    with urlopen(f"{simulator_url}/simulator/requests") as reply:  # noqa: S310 - our own simulator
        seen = json.dumps(json.load(reply)["requests"][-1])
    for wish in ("Be brief.", "wishes", "0.5", "three", "7"):
        assert wish in seen


def test_all_failed(waypost: Waypost, providers: Path) -> None:
    result = waypost("ask", "hello", "--model", "hopeless")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: All AI providers failed: first: ")


def test_a_broken_stream_shows_what_came_and_then_the_error_on_its_own_line(waypost: Waypost, providers: Path) -> None:
    result = waypost("ask", "hello there", "--model", "second/error-3")
    assert result.exit_code == 1
    assert "You said: hello there\n".startswith(result.stdout.rstrip("\n"))
    assert result.stdout.endswith("\n")
    assert result.stdout.strip()
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        ([""], b"", "The prompt is empty."),
        (["-"], b" \n", "The prompt is empty."),
        (["-"], b"\xff", "The prompt is not UTF-8 text."),
        (["\udcff"], b"", "The prompt is not UTF-8 text."),
        (["x", "--temperature", "3"], b"", "3.0 is not in the range 0<=x<=2."),
        (["x", "--max-tokens", "0"], b"", "0 is not in the range x>=1."),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(waypost: Waypost, arguments: list[str], stdin: bytes, told: str) -> None:
    result = waypost("ask", *arguments, input=stdin)
    assert result.exit_code == 2
    assert told in result.stderr


def test_an_unknown_model_is_told_the_nearest(waypost: Waypost, providers: Path) -> None:
    result = waypost("ask", "x", "--model", "hopeles")
    assert result.exit_code == 1
    assert "hopeless" in result.stderr


def test_a_missing_local_model_says_how_to_get_it(waypost: Waypost) -> None:
    result = waypost("ask", "x")
    assert result.exit_code == 4
    assert "waypost models pull smollm2-135m-instruct" in result.stderr


def test_ctrl_c_ends_it_cleanly(environment: Mapping[str, str], providers: Path) -> None:
    command = [sys.executable, "-m", "waypost.cli.main", "ask", "hello you", "--model", "second/stall-3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(environment)) as process:
        assert process.stdout is not None
        begun = os.read(process.stdout.fileno(), 100)
        process.send_signal(signal.SIGINT)
        rest, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (begun + rest).decode().startswith("You")
    assert told == b"\n"


def test_control_characters_cannot_reach_a_terminal() -> None:
    assert "a\x1b[2J\x07b\x9b1mc\n\td\u00e9".translate(CONTROL) == "a[2Jb1mc\n\td\u00e9"
