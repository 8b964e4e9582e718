"""A version under load is followed by the next, a broken one is taken back, and one that cannot live here is refused.

All of it is real: SSH, nginx, virtual environments from wheels, two servers on one SQLite file, and their callers.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ops.load import Load, Seen, load_on
from tests.ops.site import KEY, WORDS, Site, build_wheel, site

from waypost.store.migrate import newest

pytestmark = [pytest.mark.ops, pytest.mark.timeout(900)]
A, B, C1, C2, D = "1.0.0", "1.1.0", "1.2.0", "1.2.1", "2.0.0"
MIGRATION = """
from alembic import op

revision = "{number:04}"
down_revision = "{before:04}"
oldest_code = {oldest_code}


def upgrade() -> None:
    op.drop_table("request_bodies")
"""


def expands(package: Path) -> None:
    """A migration that the version before does not notice."""
    number = newest() + 1
    text = MIGRATION.format(number=number, before=number - 1, oldest_code=1)
    text = text.replace('op.drop_table("request_bodies")', 'op.execute("CREATE TABLE planted (id INTEGER)")')
    (package / "store/migrations/versions" / f"schema_{number:04}.py").write_text(text)


def contracts(package: Path) -> None:
    """A migration after which the version before cannot go on."""
    expands(package)
    number = newest() + 2
    text = MIGRATION.format(number=number, before=number - 1, oldest_code=number)
    (package / "store/migrations/versions" / f"schema_{number:04}.py").write_text(text)


def breaks_streams(package: Path) -> None:
    """Streams of /api/ai/generate never come to `done`: what a look at /health would not show."""
    file = package / "server/stream.py"
    text = file.read_text()
    assert text.count("take((*held, telling.done()))") == 1
    file.write_text(text.replace("take((*held, telling.done()))", "take((*held,))"))


def breaks_behind_a_proxy(package: Path) -> None:
    """/api/ai/generate fails for whoever comes through nginx, whose requests do not name the server's own port."""
    file = package / "server/generate.py"
    text = file.read_text()
    line = "    return await read_body(request, AIRequest)\n"
    assert text.count(line) == 1
    file.write_text(text.replace(line, f"    assert request.url.port, 'planted'\n{line}"))


def breaks_nothing(_package: Path) -> None:
    """The same code."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    changes = {A: breaks_nothing, B: expands, C1: breaks_streams, C2: breaks_behind_a_proxy, D: contracts}
    return {version: build_wheel(folder, version, change) for version, change in changes.items()}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


def version_at(url: str) -> str:
    """Which version callers get."""
    with urllib.request.urlopen(f"{url}/health", timeout=10) as reply:  # noqa: S310 - a loopback address
        return str(json.load(reply)["version"])


def history(host: Site) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(host.deploy("history", "--json").stdout)
    return read


def state_of(host: Site) -> set[str]:
    """All that lies under the root but what servers write while they serve."""
    return {str(path.relative_to(host.root)) for path in host.root.rglob("*") if "__pycache__" not in path.parts}


def demand_no_failure(seen: Seen) -> None:
    assert seen.failures == []
    assert seen.answered > 50, seen
    assert seen.streamed > 5, seen


def demand_counted_once(host: Site, streamed: int) -> None:
    """Two servers and their workers wrote to one database at once: each stream is there, and once."""
    until_s = time.monotonic() + 30
    while (told := host.attempts("paced"))["attempts"] < streamed and time.monotonic() < until_s:
        time.sleep(0.2)
    assert told == {"attempts": streamed, "failed_attempts": 0, "estimated_attempts": 0}


def test_versions_come_and_go_and_no_caller_notices(host: Site, wheels: dict[str, Path]) -> None:
    planned = host.deploy("run", str(wheels[A]), "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert f"waypost db upgrade --config {host.folder}/waypost.yaml" in planned.stdout
    assert KEY not in planned.stdout
    assert not host.root.exists()

    first = host.deploy("run", str(wheels[A]), "--by", "ada", "--note", "the first")
    assert first.returncode == 0, first.stdout + first.stderr
    assert version_at(host.url) == A

    load = Load(host.url, KEY, "sim/paced", WORDS)
    with load_on(load, callers=2, fresh_callers=2, streams=8) as first_seen:
        second = host.deploy("run", str(wheels[B]))
        assert second.returncode == 0, second.stdout + second.stderr
        assert version_at(host.url) == B
        assert first_seen.open_streams > 0
        for broken, step in ((C1, "try_directly"), (C2, "try_through")):
            third = host.deploy("run", str(wheels[broken]))
            assert third.returncode == 1, third.stdout
            assert f"the step {step} failed. The smoke test failed." in third.stderr
            assert f"{B} serves as before." in third.stderr
            assert version_at(host.url) == B

        before = state_of(host)
        fourth = host.deploy("run", str(wheels[D]))
        assert fourth.returncode == 1
        assert f"wants code of schema {newest() + 2} or later" in fourth.stderr
        assert {path for path in state_of(host) ^ before if "run/" not in path} == set()
    demand_no_failure(first_seen)

    with load_on(Load(host.url, KEY, "sim/paced", WORDS), callers=2, fresh_callers=2, streams=8) as seen:
        back = host.deploy("rollback", "--to", A)
        assert back.returncode == 0, back.stdout + back.stderr
        assert version_at(host.url) == A
    demand_no_failure(seen)

    demand_counted_once(host, first_seen.streamed + seen.streamed)

    told = [(each["action"], each["version"], each["previous"], each["outcome"]) for each in history(host)]
    assert told == [
        ("rollback", A, B, "done"),
        ("deploy", D, B, "refused"),
        ("deploy", C2, B, "rolled_back"),
        ("deploy", C1, B, "rolled_back"),
        ("deploy", B, A, "done"),
        ("deploy", A, None, "done"),
    ]
    assert (history(host)[-1]["by"], history(host)[-1]["note"]) == ("ada", "the first")
    assert [each["step"] for each in history(host)] == [None, "check", "try_through", "try_directly", None, None]
