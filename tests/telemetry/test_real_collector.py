"""With a real collector in between: what it takes it passes on as it was told, and its death harms nobody."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from tests.simulated import provider, serving
from tests.telemetry.receiver import Receiver, receiving

from waypost.simulator import Simulator

pytestmark = pytest.mark.ops
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Does somebody?"""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def collector(receiver: Receiver, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Rotel, which passes everything on to the receiver."""
    package = find_spec("rotel")
    assert package is not None, "make .venv/ops.done installs it"
    assert package.origin is not None
    port = free_port()
    command = [
        str(Path(package.origin).parent / "rotel-agent"),
        "start",
        *("--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}"),
        *("--exporter", "otlp", "--otlp-exporter-endpoint", receiver.url, "--otlp-exporter-protocol", "http"),
        *("--batch-timeout", "100ms"),
    ]
    with (folder / "rotel.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={})
    try:
        ends_at = time.monotonic() + 20
        while not listens(port):
            assert process.poll() is None, (folder / "rotel.log").read_text()
            assert time.monotonic() < ends_at, (folder / "rotel.log").read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


async def test_real_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans and metrics come through it whole; after its death requests are answered and the server ends in time."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
    with receiving() as receiver, collector(receiver, tmp_path) as (url, process):
        async with Simulator() as simulator:
            settings = {
                "data_dir": tmp_path / "data",
                "providers": {"one": {**provider("chat", simulator), "api_key": "any"}},
                "telemetry": {"otlp": {"endpoint": url}},
            }
            with serving(settings) as address:
                async with httpx.AsyncClient(base_url=address, timeout=20) as client:
                    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
                    body = {"model": "one/gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}
                    answer = await client.post("/v1/chat/completions", json=body, headers=headers)
                    usage = answer.json()["usage"]
                    receiver.until(lambda it: len(it.spans) == 2 and it.points("gen_ai.client.token.usage"))
                    process.kill()
                    process.wait()
                    for _ in range(3):
                        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
                began = time.monotonic()
            assert time.monotonic() - began < 10.0
    (request,) = receiver.named("POST /v1/chat/completions")
    (call,) = receiver.named("chat gpt-5-mini")
    assert (request.trace_id, request.parent_id) == (TRACE, PARENT)
    assert (call.trace_id, call.parent_id) == (TRACE, request.span_id)
    assert call.attributes["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    sums = {each.attributes["gen_ai.token.type"]: each.sum for each in receiver.points("gen_ai.client.token.usage")}
    assert sums == {"input": usage["prompt_tokens"], "output": usage["completion_tokens"]}
