"""waypost smoke, against a real server with keys, and against nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import Result
from tests.journeys.conftest import wait_for

from waypost import __version__

Waypost = Callable[..., Result]
KEY, ADMIN_KEY = "0123456789abcdef-web", "0123456789abcdef-admin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def url(simulator_url: str, environment: Mapping[str, str], tmp_path: Path) -> Iterator[str]:
    """`waypost serve` with a key of each kind, and the simulator as its only provider."""
    port = free_port()
    Path("waypost.yaml").write_text(
        f"data_dir: {tmp_path / 'd'}\n"
        f"server: {{port: {port}}}\n"
        "providers:\n"
        f"  sim: {{kind: openai, api_key: a-long-key, base_url: '{simulator_url}/v1', default_model: one}}\n"
        f"keys: {{web: {{key: {KEY}}}, operator: {{key: {ADMIN_KEY}, admin: true}}}}\n"
    )
    command, log = [sys.executable, "-m", "waypost.cli.main", "serve"], tmp_path / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=dict(environment))
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log, 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.process
def test_a_server_with_keys_passes(url: str, waypost: Waypost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check that this server has something for; the keys come from a file and from the environment."""
    Path("key").write_text(f"{KEY}\n")
    monkeypatch.setenv("WAYPOST_ADMIN_KEY", ADMIN_KEY)
    done = waypost("smoke", url, "--key-file", "key", "--expect-version", __version__, "--junit", "smoke.xml", "--json")
    told = json.loads(done.stdout)
    statuses = {check["name"]: check["status"] for check in told["checks"]}
    assert (done.exit_code, told["ok"], told["version"]) == (0, True, __version__), told
    assert {name for name, status in statuses.items() if status != "passed"} <= {"metrics"}, told
    assert ET.parse("smoke.xml").getroot().get("failures") == "0"  # noqa: S314 - our own
    assert KEY not in done.output
    assert ADMIN_KEY not in done.output

    # With a wrong key nothing that needs one works, and each row says so.
    Path("key").write_text("wp_wrong\n")
    refused = waypost("smoke", url, "--key-file", "key", "--skip", "analysis")
    assert refused.exit_code == 1
    assert "failed   generation" in refused.stdout
    assert "The key is not one of this server's." in refused.stdout


def test_where_nothing_answers_the_first_line_says_so(waypost: Waypost) -> None:
    done = waypost("smoke", f"http://127.0.0.1:{free_port()}", "--wait", "0.2")
    assert done.exit_code == 1
    assert "Connection refused" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("127.0.0.1:8000",), "is no address of a server", 1),
        (("http://127.0.0.1:1", "--key-file", "empty"), "empty is empty", 3),
        (("http://127.0.0.1:1", "--key-file", "lines"), "a character that no key has", 3),
        (("http://127.0.0.1:1", "--require", "nonsense"), "nonsense", 2),
    ],
)
def test_what_cannot_be_tried_is_said_at_once(
    waypost: Waypost, arguments: tuple[str, ...], words: str, code: int
) -> None:
    Path("empty").write_text("\n")
    Path("lines").write_text("one\ntwo\n")
    done = waypost("smoke", *arguments)
    assert done.exit_code == code
    assert words in done.output
