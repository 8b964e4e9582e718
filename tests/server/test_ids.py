"""Ids say which worker made them, where there are several."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from waypost.server.ids import mark_ids, new_request_id, new_response_id, worker_of


@pytest.fixture(autouse=True)
def _unmarked() -> Iterator[None]:
    yield
    mark_ids(None)


def test_an_only_process_leaves_no_mark() -> None:
    assert worker_of(new_request_id()) is None
    assert new_request_id() != new_request_id()


@pytest.mark.parametrize("number", [1, 9, 64])
def test_the_mark_is_read_again(number: int) -> None:
    mark_ids(number)
    assert worker_of(new_request_id()) == worker_of(new_response_id()) == number


@pytest.mark.parametrize(
    "given", ["", "w2", "req_w2", "my-idw2", f"req_{'0' * 31}w2", f"req_{'0' * 32}w", f"req_{'0' * 32}w2\n", "w2w2"]
)
def test_other_ids_say_nothing(given: str) -> None:
    assert worker_of(given) is None
