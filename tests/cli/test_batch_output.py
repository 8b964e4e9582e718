"""cli/batch_output.py: what is in the file stays, and what a crash cut off is mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.jobs.test_batches import filled

from waypost.cli.batch_output import OutputTaken, ResultFile
from waypost.jobs.batch import Batch
from waypost.jobs.batch_items import read_from
from waypost.jobs.batch_told import result_line
from waypost.jobs.job import Job
from waypost.store.database import Database
from waypost.store.job_tables import jobs


@pytest.fixture
def done(database: Database) -> tuple[Batch, list[Job]]:
    """A batch with four items, of which the second failed and the fourth was cancelled."""
    batch = filled(database, 4)
    values = {"state": "succeeded", "result": '{"text":"ä\\u2028"}', "cost_micro_usd": 12}
    with database.write() as connection:
        connection.execute(update(jobs).values(values))
        error = {"code": "provider_timeout", "message": "It took too long.", "hint": "x"}
        connection.execute(update(jobs).where(jobs.c.batch_index == 1).values(state="failed", error=error, result=None))
        connection.execute(update(jobs).where(jobs.c.batch_index == 3).values(state="cancelled", result=None))
        return batch, read_from(connection, batch.id, 0, 10)


def opened(path: Path) -> ResultFile:
    file = ResultFile(path)
    file.open()
    return file


def write(path: Path, batch: Batch, found: list[Job]) -> int:
    """As a run does: gives how many were there."""
    file = opened(path)
    try:
        written = file.written(batch.id)
        file.write(found[written:])
    finally:
        file.close()
    return written


def test_each_line_says_place_name_and_what_came_of_it(done: tuple[Batch, list[Job]]) -> None:
    lines = [result_line(job) for job in done[1]]
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)
    told = [json.loads(line) for line in lines]
    assert [(each["index"], each["id"], each["status"]) for each in told] == [
        (0, "n0", "succeeded"),
        (1, "n1", "failed"),
        (2, "n2", "succeeded"),
        (3, "n3", "cancelled"),
    ]
    assert (told[0]["result"], told[0]["cost_usd"]) == ({"text": "ä\u2028"}, 0.000012)
    assert "error" not in told[0]
    assert told[1]["error"] == {"code": "provider_timeout", "message": "It took too long."}
    assert told[3]["error"]["code"] == "cancelled"


def test_wherever_a_write_was_cut_off_the_file_becomes_the_same(done: tuple[Batch, list[Job]], tmp_path: Path) -> None:
    batch, found = done
    whole = b"".join(result_line(job) for job in found)
    path = tmp_path / "out.jsonl"
    for end in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:end])
        assert write(path, batch, found) == whole[:end].count(b"\n")
        assert path.read_bytes() == whole, end


def test_what_the_owner_wrote_stays(done: tuple[Batch, list[Job]], tmp_path: Path) -> None:
    batch, found = done
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'# notes of mine\n{"mine": 1}\nno line end')
    assert write(path, batch, found) == 0
    assert write(path, batch, found) == 4
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[:3] == [b"# notes of mine\n", b'{"mine": 1}\n', b"no line end\n"]
    assert b"".join(lines[3:]) == b"".join(result_line(job) for job in found)


def test_results_of_another_batch_are_not_mixed_with_ours(
    done: tuple[Batch, list[Job]], tmp_path: Path, database: Database
) -> None:
    batch, found = done
    path = tmp_path / "out.jsonl"
    write(path, batch, found)
    before = path.read_bytes()
    file = opened(path)
    with pytest.raises(OutputTaken, match="another batch"):
        file.written(filled(database, 1).id)
    file.close()
    path.write_bytes(before.split(b"\n", 1)[1])
    file = opened(path)
    with pytest.raises(OutputTaken, match="order"):
        file.written(batch.id)
    file.close()


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    first = opened(tmp_path / "new" / "out.jsonl")
    with pytest.raises(OutputTaken, match="Another run"):
        opened(tmp_path / "new" / "out.jsonl")
    first.close()
    opened(tmp_path / "new" / "out.jsonl").close()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputTaken, match="cannot be written"):
        opened(tmp_path / "file" / "out.jsonl")
