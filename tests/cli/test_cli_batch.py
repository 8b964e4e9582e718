"""`waypost batch list|show|results|cancel|retry|delete`, on both databases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.jobs.test_batches import close, end, filled, now

from waypost.cli.main import root
from waypost.jobs.batch import Batch
from waypost.store.database import Database


class Commands:
    """`waypost batch` with the settings of a database."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.folder = folder
        settings = {
            "data_dir": str(folder / "data"),
            "database_url": database.url.render_as_string(hide_password=False),
        }
        (folder / "wp.yaml").write_text(yaml.safe_dump(settings))

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(root, ["batch", *arguments, "--config", str(self.folder / "wp.yaml")])

    def told(self, *arguments: str) -> dict[str, object]:
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))


@pytest.fixture
def commands(database: Database, tmp_path: Path) -> Commands:
    return Commands(database, tmp_path)


@pytest.fixture
def batch(database: Database) -> Batch:
    """Three items: one is done, one has failed, one waits."""
    made = filled(database, 3)
    close(database, made)
    end(database, made, 0)
    end(database, made, 1, "failed")
    return made


def test_batches_are_listed_and_shown(commands: Commands, batch: Batch) -> None:
    listed = commands.run("list")
    assert listed.exit_code == 0, listed.output
    row = listed.stdout.splitlines()[1].split()
    assert row[:4] == [batch.id, "running", "2/3", "1"]
    assert json.loads(commands.run("list", "--state", "finished", "--json").stdout) == []
    told = commands.told("show", batch.id)
    assert (told["state"], told["cost_usd"], told["total"]) == ("running", 0.00002, 3)
    assert told["counts"] == {
        "added": 3,
        "queued": 1,
        "running": 0,
        "at_provider": 0,
        "succeeded": 1,
        "failed": 1,
        "cancelled": 0,
    }
    assert told["provider_batches"] == []
    unknown = commands.run("show", "batch_0")
    assert unknown.exit_code == 1
    assert "There is no batch 'batch_0'" in unknown.stderr


def test_results_are_those_that_have_ended(commands: Commands, batch: Batch) -> None:
    out = commands.folder / "results.jsonl"
    done = commands.run("results", batch.id, "--out", str(out))
    assert done.exit_code == 0, done.output
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(each["index"], each["id"], each["status"]) for each in told] == [
        (0, "n0", "succeeded"),
        (1, "n1", "failed"),
    ]
    refused = commands.run("results", batch.id, "--out", str(out))
    assert refused.exit_code == 1
    assert "cannot be made: File exists." in refused.stderr


def test_a_batch_is_cancelled_done_again_and_deleted(commands: Commands, batch: Batch, database: Database) -> None:
    assert commands.run("delete", batch.id, "--yes").exit_code == 1, "it has not ended"
    assert commands.told("cancel", batch.id)["state"] == "cancelled"
    again = commands.run("retry", batch.id)
    assert again.exit_code == 0, again.output
    assert "2 items are done again" in again.stderr
    assert now(database, batch).state == "running"
    commands.told("cancel", batch.id)
    assert commands.run("delete", batch.id).exit_code == 1, "nobody said yes"
    assert commands.run("delete", batch.id, "--yes").exit_code == 0
    assert commands.run("show", batch.id).exit_code == 1
