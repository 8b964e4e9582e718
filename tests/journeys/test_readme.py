"""The README's first minutes: `make serve` in a fresh copy, then its commands exactly as printed."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def printed(start: str) -> str:
    """The one line of the README's code blocks that begins so."""
    (line,) = [line.strip() for line in README.splitlines() if line.startswith("    " + start)]
    return line


def test_make_serve_is_what_the_readme_says() -> None:
    assert README.count("    make serve\n") == 2
    assert "    make test " in README


def test_the_first_question_is_answered_rightly(served: Any) -> None:
    result = served.run(printed("curl -s localhost"))
    assert result.returncode == 0, result.stderr
    reply = json.loads(result.stdout)
    assert "Paris" in reply["content"]
    assert reply["provider"] == "local"
    assert reply["model"] == "smollm2-135m-instruct"
    assert reply["usage"]["input_tokens"] > 5
    assert reply["usage"]["output_tokens"] > 3
    assert reply["cost_usd"] == 0, "a model on this machine costs nothing, and that is known"
    assert [attempt["provider"] for attempt in reply["attempts"]] == ["local"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*(Z|\+00:00)", reply["timestamp"])


def test_the_story_is_streamed_as_typed_events_with_ids(served: Any) -> None:
    result = served.run(printed("curl -sN localhost"))
    assert result.returncode == 0, result.stderr
    blocks = [block.splitlines() for block in result.stdout.strip().split("\n\n") if not block.startswith(":")]
    fields = [dict(line.split(": ", 1) for line in block) for block in blocks]
    kinds = [block["event"] for block in fields]
    assert kinds[0] == "start"
    assert kinds[-1] == "done"
    assert kinds.count("delta") > 20  # a story
    assert len({block["id"] for block in fields}) == len(fields)
    story = "".join(json.loads(block["data"])["text"] for block in fields if block["event"] == "delta")
    assert len(story.split()) > 20


def test_ask_streams_and_says_who_answered(served: Any) -> None:
    export = printed("export PATH=")
    result = served.run(f"{export}\n{printed('waypost ask')}")
    assert result.returncode == 0, result.stderr
    assert "Paris" in result.stdout
    for told in ("local/smollm2-135m-instruct", "in", "out", " s"):
        assert told in result.stderr


def test_the_page_and_the_api_page_are_there(served: Any) -> None:
    for path, told in (("/", "Waypost"), ("/docs", "Waypost"), ("/openapi.json", '"/api/ai/generate"')):
        result = served.run(f"curl -s localhost:8000{path}")
        assert told in result.stdout, path


def test_sigkill_leaves_no_orphan_and_no_broken_model(served: Any) -> None:
    """Last of this file: it ends the server."""
    children = served.server.children(recursive=True)
    assert children, "the local model runs in a child process"
    served.server.kill()
    _gone, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    verified = served.run(".venv/bin/waypost models verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    # The port is free again at once for the next server.
    until = time.monotonic() + 5
    while served.run("curl -s localhost:8000/health").returncode == 0:
        assert time.monotonic() < until
