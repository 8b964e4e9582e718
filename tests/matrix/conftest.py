"""Writes the matrix as a table when the last test is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.matrix.report import REPORT


@pytest.fixture(scope="session", autouse=True)
def report() -> Iterator[None]:
    yield
    REPORT.write()
