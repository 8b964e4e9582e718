"""The receivers of the guide, as they stand there, in processes of their own: they take what is ours and no more."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.ledger.fleet import free_port
from tests.test_docs import ROOT, blocks
from tests.webhooks.receivers import SECRET, sending

from waypost.webhooks import Message, WebhookEvent
from waypost.webhooks.delivery import Clocks, Sender
from waypost.webhooks.signing import new_secret

GUIDE = ROOT / "docs" / "guide" / "webhooks.md"
MESSAGE = Message("msg_1", WebhookEvent("job.failed", {"job_id": "job_1"}, 0).body())
RECEIVERS = [
    pytest.param("python", [sys.executable], "receiver.py", id="python"),
    pytest.param(
        "javascript",
        ["node"],
        "receiver.mjs",
        id="javascript",
        marks=pytest.mark.skipif(shutil.which("node") is None, reason="runs JavaScript with node"),
    ),
]


@asynccontextmanager
async def running(command: list[str], file: Path, sender: Sender) -> AsyncIterator[tuple[str, subprocess.Popen[str]]]:
    """The receiver's address, once it listens, and its process."""
    url = f"http://127.0.0.1:{free_port()}/hooks"
    environment = {**os.environ, "PORT": url.rpartition(":")[2].partition("/")[0], "WEBHOOK_SECRET": SECRET}
    process = subprocess.Popen([*command, file], env=environment, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    try:
        end_s = time.monotonic() + 30
        while (await sender.deliver(url, MESSAGE, [SECRET])).status is None:
            assert process.poll() is None
            assert time.monotonic() < end_s
        yield url, process
    finally:
        process.kill()
        with process:
            process.wait()


@pytest.mark.parametrize(("language", "command", "name"), RECEIVERS)
async def test_the_guide_s_receiver_takes_our_messages_and_refuses_all_others(
    language: str, command: list[str], name: str, tmp_path: Path
) -> None:
    (code,) = blocks(GUIDE, language)
    (tmp_path / name).write_text(code, encoding="utf-8")
    late = Clocks(unix_s=lambda: time.time() - 400)
    async with (
        sending() as sender,
        sending(clocks=late) as late_sender,
        running(command, tmp_path / name, sender) as (
            url,
            process,
        ),
    ):
        assert (await sender.deliver(url, MESSAGE, [new_secret(), SECRET])).status == 204
        assert (await sender.deliver(url, MESSAGE, [new_secret()])).status == 401
        assert (await late_sender.deliver(url, MESSAGE, [SECRET])).status == 401
        process.kill()
        assert process.stdout is not None
        told = process.stdout.read()
    assert set(told.splitlines()) == {"msg_1 job.failed"}
    assert len(told.splitlines()) == 2


def test_the_example_of_a_signature_has_the_form_of_one() -> None:
    (shown,) = [line for line in GUIDE.read_text().splitlines() if "webhook-signature: v1," in line]
    assert len(base64.b64decode(shown.partition("v1,")[2], validate=True)) == 32
