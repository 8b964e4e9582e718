"""docs/guide/testing.md: its examples are test files; they pass as printed, and fail when what they test is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/guide/testing.md"
EXAMPLE = re.compile(r"^```python\n# (test_\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    """Pytest as a reader of the page runs it: an empty folder, no keys, none of our own options."""
    ours = ("WAYPOST_", "ANTHROPIC_", "OPENAI_", "PYTEST_", "COV_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", str(folder)],
        cwd=folder,
        env={**environment, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_examples_pass_as_printed(tmp_path: Path) -> None:
    examples = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    assert [name for name, _ in examples] == ["test_double.py", "test_simulated.py"]
    for name, code in examples:
        (tmp_path / name).write_text(code, encoding="utf-8")
    done = run_tests(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    broken = (tmp_path / "test_double.py").read_text(encoding="utf-8").replace('content="Paris"', 'content="Rome"')
    (tmp_path / "test_double.py").write_text(broken, encoding="utf-8")
    assert "1 failed, 2 passed" in run_tests(tmp_path).stdout
