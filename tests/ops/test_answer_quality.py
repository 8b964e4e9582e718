"""The gate on answers: what is right passes, and a model that talks nonsense does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tools.answer_quality import THRESHOLDS, judge

from waypost.simulator import Simulator

pytestmark = [pytest.mark.ops, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
TEXT = "The lamp came late. It was broken."
EXPECTED = {"language": "en", "sentiment": ["negative"], "themes": [["lamp"], ["delivery", "late"]], "quote": "It was"}
RIGHT = {
    "language": "en",
    "sentiment": {"label": "negative"},
    "themes": ["A late lamp"],
    "topics": [],
    "suggestions": [{"text": "Pack it better.", "quote": "It was broken."}],
}


def test_a_right_answer_is_right_in_all_that_is_judged() -> None:
    assert judge(RIGHT, TEXT, EXPECTED) == dict.fromkeys(THRESHOLDS, 1.0)


@pytest.mark.parametrize(
    ("wrong", "name", "share"),
    [
        ({"language": "de"}, "language", 0.0),
        ({"sentiment": None}, "sentiment", 0.0),
        ({"themes": ["A lamp"]}, "themes", 0.5),
        ({"suggestions": [{"text": "", "quote": "It was whole."}]}, "grounded", 0.0),
        ({"suggestions": []}, "suggested", 0.0),
    ],
)
def test_what_is_wrong_is_counted_there_and_nowhere_else(wrong: dict[str, object], name: str, share: float) -> None:
    shares = judge({**RIGHT, **wrong}, TEXT, EXPECTED)
    others = {"suggested"} if name == "grounded" else set()
    assert shares[name] == share
    assert {key for key, value in shares.items() if value < 1} - others == {name}


def test_no_answer_has_nothing_right() -> None:
    assert set(judge(None, TEXT, EXPECTED).values()) == {0.0}


def run(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make answer-quality`'s command, without the keys of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
    command = [sys.executable, "-m", "tools.answer_quality", "--report", str(folder / "q.json"), *options]
    clean = {**kept, "WAYPOST_DATA_DIR": str(folder), "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=100, check=False)


def test_without_keys_and_models_the_offline_analyzer_is_judged_and_the_rest_is_said(tmp_path: Path) -> None:
    said = run(tmp_path)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "nobody else: no vendor is asked: none of ANTHROPIC_API_KEY" in said.stdout
    report = json.loads((tmp_path / "q.json").read_text())
    assert list(report["shares"]) == ["offline"]
    assert len(report["answers"]) == 4


async def test_a_model_that_talks_nonsense_does_not_pass(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        import asyncio

        said = await asyncio.to_thread(run, tmp_path, OPENAI_API_KEY="any", OPENAI_BASE_URL=simulator.openai_url)
        assert simulator.requests
    assert said.returncode == 1, said.stdout + said.stderr
    assert "FAIL" in said.stdout
    assert "OPENAI_API_KEY is set" in said.stdout
