"""The child process: one GGUF model behind llama.cpp's OpenAI-compatible server, on loopback.

Run as `python -m waypost.local.child`. It reads one line of JSON (`ChildConfig`) from stdin, never from its command
line or environment, which other users can list. It answers with one line on stdout, `{"listening": URL}` or
`{"error": TEXT}`, and then lives exactly as long as its parent holds stdin open. llama.cpp's messages go to stderr.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import msgspec

from waypost.local.catalogue import SamplingDefaults
from waypost.local.lifeline import end_with_parent

LOAD_FAILED_EXIT_CODE: Final = 70

_ERRORS_ONLY: Final = 1
_PROMPT_CACHE_MIB: Final = 256
"""llama.cpp would keep up to 8 GiB of earlier prompts."""
_SAMPLING_FIELDS: Final = {
    "temperature": "temp",
    "top_p": "top_p",
    "repeat_penalty": "penalty_repeat",
    "dry_multiplier": "dry_multiplier",
    "dry_allowed_length": "dry_allowed_length",
    "dry_last_tokens": "dry_penalty_last_n",
}
"""Our name of a sampling default -> llama.cpp's."""


@dataclass(frozen=True, slots=True)
class ChildConfig:
    """All that a child is told. `context_tokens` is for each of the `parallel` requests."""

    parent_pid: int
    model_path: str
    model_name: str
    context_tokens: int
    parallel: int
    api_key: str = field(repr=False)
    generation_threads: int | None = None
    """For writing the answer; None lets llama.cpp choose."""
    prompt_threads: int | None = None
    """For reading the prompt."""
    chat_template: str | None = None
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)


def main() -> NoReturn:
    """Run the child until its parent is gone."""
    # Ctrl-C and a service manager's SIGTERM may reach the whole group: the parent decides when answers have ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=ChildConfig)
    announcements = os.dup(1)
    # Whatever else a library prints must not be taken for an announcement.
    os.dup2(2, 1)
    end_with_parent(config.parent_pid, kernel_watch=True)
    try:
        server = _load(config)
    except Exception as error:  # noqa: BLE001 - the process's boundary: the parent tells the user
        _announce(announcements, {"error": f"{type(error).__name__}: {error}"})
        os._exit(LOAD_FAILED_EXIT_CODE)
    _announce(announcements, {"listening": server.listening_address})
    while True:
        threading.Event().wait()


def _announce(descriptor: int, message: dict[str, str]) -> None:
    os.write(descriptor, msgspec.json.encode(message) + b"\n")


def _load(config: ChildConfig) -> Any:
    """llama.cpp's server, listening. Holds the interpreter until the model is loaded."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = config.model_path
    # The name in replies; without it they would hold the file's path.
    parameters.model_alias = {config.model_name}
    parameters.offline = True
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [config.api_key]
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.verbosity = _ERRORS_ONLY
    parameters.n_parallel = config.parallel
    # llama.cpp divides its context between the requests it answers at the same time.
    parameters.n_ctx = config.context_tokens * config.parallel
    parameters.cache_ram_mib = _PROMPT_CACHE_MIB
    parameters.use_jinja = True
    if config.chat_template is not None:
        parameters.chat_template = config.chat_template
    if config.generation_threads is not None:
        parameters.cpuparams.n_threads = config.generation_threads
    # Left alone, it would be the number for generation.
    parameters.cpuparams_batch.n_threads = config.prompt_threads or os.cpu_count() or 1
    for ours, theirs in _SAMPLING_FIELDS.items():
        value = getattr(config.sampling, ours)
        if value is not None:
            setattr(parameters.sampling, theirs, value)
    return xllamacpp.Server(parameters)


if __name__ == "__main__":
    main()
