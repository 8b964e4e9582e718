"""The guides: what they link to exists, and their examples are what they say they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from waypost.manager.arguments import NAMES
from waypost.settings import load_settings
from waypost.simulator import script_from

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


ENVIRONMENT = {
    "ANTHROPIC_API_KEY": "test-key-1",
    "OPENAI_API_KEY": "test-key-2",
    "WAYPOST_WEB_KEY": "0123456789abcdef-web",
    "WAYPOST_ADMIN_KEY": "0123456789abcdef-admin",
    "WAYPOST_METRICS_TOKEN": "0123456789abcdef-metrics",
}
"""What the examples take from the environment."""


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page that are marked with that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_examples_are_python_and_import_what_exists(page: Path) -> None:
    for code in blocks(page, "python"):
        tree = compile(code, str(page), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("waypost"):
                module = __import__(node.module, fromlist=[alias.name for alias in node.names])
                assert all(hasattr(module, alias.name) for alias in node.names), code


def test_the_simulators_scripts_can_be_loaded() -> None:
    (script,) = blocks(ROOT / "docs/guide/simulator.md", "yaml")
    assert len(script_from(yaml.safe_load(script)).rules) == 7


def test_the_settings_in_the_guides_are_valid(tmp_path: Path) -> None:
    examples = [text for page in PAGES if page.name != "simulator.md" for text in blocks(page, "yaml")]
    assert examples
    for number, text in enumerate(examples):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        assert load_settings(file, ENVIRONMENT).routes


def test_every_argument_of_a_request_is_in_the_library_guide() -> None:
    guide = (ROOT / "docs/guide/library.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"`{name}`" in guide, name


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs/adr").glob("0*.md"):
        assert f"({page.name})" in index
