"""What the store's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.store.planted import Planted


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    """Code of a later version, which knows more schemas."""
    return Planted(tmp_path / "later")
