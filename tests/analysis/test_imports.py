"""What analyses need is loaded when one is made: a server that makes none starts as fast as before."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("jsonschema_rs", "pypdf", "vaderSentiment", "stop_words", "requests", "waypost.analysis.extractors")


def loaded(code: str) -> set[str]:
    listed = f"{code}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.split())


def test_the_application_loads_none_of_it() -> None:
    built = "from waypost.app import build\nfrom waypost.settings import Settings\nbuild(Settings())"
    assert not set(HEAVY) & loaded(built)


def test_planning_an_analysis_loads_neither_extractors_nor_word_lists() -> None:
    planned = (
        "from waypost.analysis.run import run_part, combine\nfrom waypost.analysis.plan import parts_of\n"
        "from waypost.analysis.kinds import kinds_of\nfrom waypost.analysis.limits import Limits\n"
        "from waypost.settings import Settings\n"
        "parts_of('Some text.', list(kinds_of(Settings()).values()), Limits())"
    )
    assert not set(HEAVY) & loaded(planned)


def test_libraries_of_the_analyzer_call_nobody() -> None:
    """The package requests is only there because vaderSentiment names it: nothing that is used here loads it."""
    analyzed = "from waypost.analysis.offline import analyze_offline\nanalyze_offline('A fine day, and I love it.')"
    modules = loaded(analyzed)
    assert "vaderSentiment.vaderSentiment" in modules
    assert "requests" not in modules
