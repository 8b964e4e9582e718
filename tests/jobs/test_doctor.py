"""What `waypost doctor` says of jobs that nobody does."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from click.testing import CliRunner
from tests.jobs.workers import ask

from waypost.cli.main import root
from waypost.jobs.lease import Lease
from waypost.settings import Settings
from waypost.store.database import Database
from waypost.store.lazy import LazyDatabase
from waypost.store.migrate import upgrade


def test_jobs_without_a_worker_are_told_of_and_one_with_a_worker_is_well(database: Database, tmp_path: Path) -> None:
    upgrade(database)
    ask(database, 2)
    url = database.url.render_as_string(hide_password=False)
    assert told(tmp_path, url) == ("warn", "none alive, 2 jobs waiting or under way; engine dbos")
    own = LazyDatabase(Settings.model_validate({"database_url": url, "data_dir": tmp_path}))
    lease = Lease(own, tmp_path, {})
    lease.start()
    assert told(tmp_path, url) == ("ok", f"{lease.executor_id} alive, 2 jobs waiting or under way; engine dbos")
    lease.stop(leaves_work=False)
    own.close()
    assert told(tmp_path, url)[0] == "warn"


def told(folder: Path, url: str) -> tuple[str, str]:
    """Status and detail, without the engine's version."""
    file = folder / "waypost.yaml"
    file.write_text(yaml.safe_dump({"data_dir": str(folder), "database_url": url, "server": {"port": 0}}))
    result = CliRunner().invoke(root, ["doctor", "--config", str(file), "--json"])
    [check] = [each for each in json.loads(result.output)["checks"] if each["name"] == "worker"]
    return check["status"], check["detail"].rpartition(" ")[0]
