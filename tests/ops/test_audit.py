"""`make audit`: what is right passes, what is planted is found, and a service that is away is told as one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tools.licences import is_allowed, refused
from tools.secret_scan import unknown

pytestmark = [pytest.mark.ops, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
HASH = "0" * 64


def audit(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command over that folder, with its reports beside it."""
    reports = root.parent / "reports"
    command = [sys.executable, "-m", "tools.audit", "--root", str(root), "--reports", str(reports), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with a package, a tool, a locked requirement and nothing wrong."""
    root = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    for name, text in {
        "src/one.py": '"""Adds."""\n\n\ndef add(a: int, b: int) -> int:\n    return a + b\n',
        "tools/two.py": "",
        "requirements/ops.txt": f"sample-package==1.0 --hash=sha256:{HASH}\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_weakness_in_the_code_is_found_and_reported(folder: Path) -> None:
    assert audit(folder, "code").returncode == 0
    (folder / "src" / "one.py").write_text('import subprocess\n\nsubprocess.call("ls " + input(), shell=True)\n')
    said = audit(folder, "code")
    assert (said.returncode, said.stdout.split()[:2]) == (1, ["FAIL", "code"])
    report = json.loads((folder.parent / "reports" / "bandit.json").read_text())
    assert [each["test_id"] for each in report["results"]] == ["B602"]


def test_a_secret_is_found_until_it_is_known_to_be_none_and_is_not_told(folder: Path) -> None:
    assert audit(folder, "secrets").returncode == 0
    key = "AKIA" + "QWERTYUIOPASDFGH"
    (folder / "src" / "one.py").write_text(f'KEY = "{key}"\n')
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    said = audit(folder, "secrets")
    assert said.returncode == 1
    assert "src/one.py: 1 of the kind AWS Access Key" in said.stdout
    assert key not in said.stdout + (folder.parent / "reports" / "secrets.json").read_text()
    assert audit(folder, "secrets", "--accept").returncode == 0
    assert audit(folder, "secrets").returncode == 0


def test_a_second_secret_in_the_same_file_is_not_known() -> None:
    known = {"a.py": {"Private Key": ["one"]}}
    assert unknown(known, known) == []
    assert unknown({"a.py": {"Private Key": ["one", "two"]}}, known) == ["a.py: 1 of the kind Private Key"]
    assert unknown(known, {"b.py": {"Private Key": ["one"]}}) == ["a.py: 1 of the kind Private Key"]


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("Apache Software License; MIT License", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-2.0-or-later", False),
        ("GNU Affero General Public License v3", False),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_licences_are_allowed_by_name(licence: str, allowed: bool) -> None:
    assert is_allowed("sample", licence) is allowed


def test_an_exception_holds_for_one_package_and_one_licence() -> None:
    licences = [("psycopg", "LGPL-3.0-only"), ("psycopg", "GPL-3.0-only"), ("other", "LGPL-3.0-only")]
    assert refused(licences) == ["psycopg: GPL-3.0-only", "other: LGPL-3.0-only"]


def test_a_dependency_under_the_gpl_is_refused(tmp_path: Path, folder: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    for name, licence, required in (("waypost", "Apache-2.0", "planted"), ("planted", "MIT", ""), ("tool", "GPL", "")):
        _install(packages, name, licence, required)
    python = str(environment / "bin" / "python")
    fine = audit(folder, "licences", "--python", python)
    assert fine.returncode == 0, fine.stdout + fine.stderr
    _install(packages, "planted", "GPL-3.0-or-later", "")
    said = audit(folder, "licences", "--python", python)
    assert said.returncode == 1
    assert "planted: GPL-3.0-or-later" in said.stdout
    assert "tool" not in said.stdout


def _install(packages: Path, name: str, licence: str, required: str) -> None:
    told = packages / f"{name}-1.0.dist-info"
    told.mkdir(exist_ok=True)
    lines = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", f"License-Expression: {licence}"]
    (told / "METADATA").write_text("\n".join([*lines, *([f"Requires-Dist: {required}"] if required else []), ""]))
    (told / "RECORD").write_text("")


@contextmanager
def advisories(weak: bool) -> Iterator[str]:
    """A service of OSV's form on this machine, which knows one weakness or none."""
    weakness = {"id": "GHSA-aaaa-bbbb-cccc", "modified": "2026-01-01T00:00:00Z", "summary": "It is weak."}
    weakness["affected"] = [  # type: ignore[assignment]
        {
            "package": {"name": "sample-package", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ]
    body = json.dumps({"vulns": [weakness]} if weak else {}).encode()

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
        finally:
            server.shutdown()
            thread.join(10)


def test_an_advisory_for_a_locked_requirement_fails(folder: Path) -> None:
    with advisories(weak=False) as url:
        said = audit(folder, "advisories", "--osv-url", url)
        assert (said.returncode, said.stdout.split()[:3]) == (0, ["ok", "advisories", "1"]), said.stdout
    with advisories(weak=True) as url:
        said = audit(folder, "advisories", "--osv-url", url)
    assert said.returncode == 1
    assert "sample-package 1.0: GHSA-aaaa-bbbb-cccc, mended in 1.1" in said.stdout


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--require-advisories"], 1)])
def test_a_service_that_is_away_is_told_and_fails_where_it_must_answer(
    folder: Path, options: list[str], code: int
) -> None:
    said = audit(folder, "advisories", "--osv-url", "http://127.0.0.1:9/v1/query", *options)
    assert said.returncode == code
    assert "the advisory service cannot be reached" in said.stdout
