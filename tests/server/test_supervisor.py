"""Where the workers' private sockets are; what a supervisor does is shown in tests/cli/test_cli_workers.py."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from waypost.server.peers import Neighbourhood, private_folder


@pytest.mark.parametrize("long", [False, True])
def test_a_socket_fits_whatever_the_temporary_folder_is_called(
    long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / ("x" * 100 if long else "")
    usual.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(usual))
    folder = private_folder()
    try:
        assert folder.stat().st_mode & 0o777 == 0o700
        with Neighbourhood(64, 64, folder, "token").listen() as opened:
            assert opened.getsockname() == str(folder / "64.sock")
        # A worker that was killed leaves its socket behind.
        Neighbourhood(64, 64, folder, "token").listen().close()
    finally:
        shutil.rmtree(folder)
