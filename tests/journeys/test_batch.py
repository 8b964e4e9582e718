"""A folder of documents is analyzed, the command is killed in the middle, and is given again.

Real processes: a simulated provider, `waypost serve` with its worker, and `waypost batch run` beside it, on one SQLite
file. What was done is kept, nothing is asked twice, and the server tells the same results.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from tests.jobs.limited_batch import ANSWER
from tests.jobs.workers import until
from tests.journeys.test_agent_loop import started

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]
COUNT = 24
FORMS = {".txt": "Visit {}. {}", ".md": "# Visit {}\n\n{}\n", ".html": "<h1>Visit {}</h1><p>{}</p>"}
TEXT = "The breakfast was good, but the lift did not work, and nobody could say when it would."


def write_documents(folder: Path) -> None:
    folder.mkdir()
    for number in range(COUNT):
        suffix, form = list(FORMS.items())[number % 3]
        (folder / f"visit-{number:02}{suffix}").write_text(form.format(number, TEXT))
    (folder / "empty.txt").write_text("")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8")


def get(url: str) -> Any:
    with urlopen(url, timeout=10) as reply:  # noqa: S310 - our own servers
        return json.loads(reply.read())


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def visits(simulator_url: str) -> Counter[str]:
    """How often the provider was asked about which document."""
    bodies = [json.dumps(seen["body"]) for seen in get(f"{simulator_url}/simulator/requests")["requests"]]
    return Counter(body.partition("Visit ")[2][:2].strip(".\\ ") for body in bodies)


def test_a_folder_of_documents_killed_in_the_middle_is_done_by_the_same_command(tmp_path: Path) -> None:
    write_documents(tmp_path / "reviews")
    script = tmp_path / "script.yaml"
    slowly = {"pacing": {"first_token_s": 0.4}, "rules": [{"reply": {"text": json.dumps(ANSWER)}}]}
    script.write_text(yaml.safe_dump(slowly))
    with ExitStack() as stack:
        provider = stack.enter_context(started("simulate", "--port", "0", "--script", str(script)))
        settings = {
            "data_dir": str(tmp_path / "data"),
            "jobs": {"concurrency": 4},
            "providers": {"main": {"kind": "openai", "api_key": "any", "base_url": f"{provider.url}/v1"}},
            "routes": {"default": {"targets": ["main/gpt-5-mini"]}},
        }
        (tmp_path / "wp.yaml").write_text(yaml.safe_dump(settings))
        serve = ("serve", "--port", "0", "--config", str(tmp_path / "wp.yaml"))
        server = stack.enter_context(started(*serve))
        command = [sys.executable, "-m", "waypost.cli.main", "batch", "run", "reviews", "--kind", "analysis"]
        command += ["--out", "results.jsonl", "--config", "wp.yaml"]
        out = tmp_path / "results.jsonl"

        first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        try:
            until(lambda: len(lines(out)) >= 6, 90)
        finally:
            first.kill()
            first.wait()
        assert len(lines(out)) < COUNT
        kept = out.read_bytes()

        again = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        assert again.returncode == 1, "the empty file is no document"
        assert b"going on with batch_" in again.stderr
        assert b"no worker is running" not in again.stderr, "the server has one"
        assert f"{COUNT} succeeded, 1 failed".encode() in again.stderr
        assert out.read_bytes().startswith(kept)
        done = lines(out)
        assert [each["index"] for each in done] == list(range(COUNT + 1))
        assert [each["id"] for each in done] == ["empty.txt", *sorted(_names())]
        assert all(_is_right(each) for each in done[1:])
        assert visits(provider.url) == Counter(str(number) for number in range(COUNT)), "each of them once"

        batch = get(f"{server.url}/api/ai/batches")["items"][0]
        assert (batch["state"], batch["total"], batch["counts"]["failed"]) == ("finished", COUNT + 1, 1)
        assert batch["cost_usd"] == pytest.approx(sum(each["cost_usd"] for each in done))
        with urlopen(f"{server.url}/api/ai/batches/{batch['id']}/results", timeout=10) as reply:  # noqa: S310 - ours
            assert reply.read() == out.read_bytes()


def _names() -> list[str]:
    return [f"visit-{number:02}{list(FORMS)[number % 3]}" for number in range(COUNT)]


def _is_right(told: dict[str, Any]) -> bool:
    value = told["result"]["results"]["analysis"]["value"]
    return bool(value["sentiment"]["label"] == "mixed" and value["suggestions"][0]["quote"] in TEXT)
