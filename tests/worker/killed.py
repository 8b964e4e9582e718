"""`python -m tests.worker.killed SETTINGS`: a worker that dies when a batch was made, before that is noted."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from waypost.providers.anthropic_batches import AnthropicBatches
from waypost.providers.openai_batches import OpenAIBatches
from waypost.settings import read_settings
from waypost.worker.run import run


def dies_after(kind: Any) -> None:
    """Once the provider has said what it calls the batch, nobody is left to hear it."""
    create = kind.create

    async def made(*arguments: Any) -> None:
        await create(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    kind.create = made


if __name__ == "__main__":
    for vendor in (AnthropicBatches, OpenAIBatches):
        dies_after(vendor)
    run(read_settings(Path(sys.argv[1])).settings, lambda name: click.echo(f"{name} takes jobs"))
