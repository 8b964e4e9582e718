"""`waypost.asgi:app`: safe to import, runs under plain uvicorn, reads its settings when it starts."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from waypost import AIResponse
from waypost.errors import ConfigurationError

CONFIGURATION = "providers:\n  up: {kind: openai_compatible, base_url: 'http://127.0.0.1:9/v1', default_model: m}\n"


def environment(file: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(file.parent), "WAYPOST_CONFIG": str(file)}


def python(code: str, file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment(file), capture_output=True, text=True, timeout=60, check=False
    )


def test_importing_reads_no_settings(tmp_path: Path) -> None:
    """Not even of a file that does not exist; nor is the HTTP client loaded."""
    code = "import sys, waypost.asgi; print('aiohttp' in sys.modules, 'waypost.providers.http_provider' in sys.modules)"
    ran = python(code, tmp_path / "missing.yaml")
    assert (ran.returncode, ran.stdout.split()[0]) == (0, "False"), ran.stderr


def test_wrong_settings_stop_the_start_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "waypost.yaml"
    file.write_text("server:\n  prot: 1\n")
    ran = subprocess.run(
        [sys.executable, "-m", "uvicorn", "waypost.asgi:app", "--port", "0"],
        env=environment(file),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert "did you mean port?" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_plain_uvicorn_serves_it(tmp_path: Path) -> None:
    file = tmp_path / "waypost.yaml"
    file.write_text(CONFIGURATION)
    command = [sys.executable, "-m", "uvicorn", "waypost.asgi:app", "--port", "0"]
    with subprocess.Popen(command, env=environment(file), stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        try:
            url = next(line.split("running on ")[1].split()[0] for line in running.stderr if "running on" in line)
            reply = httpx.get(f"{url}/ready")
            assert list(reply.json()["providers"]) == ["up"]
            asked = httpx.post(f"{url}/api/ai/generate", json={"prompt": "p"})
            assert asked.json()["error"]["attempts"][0]["code"] == "provider_unreachable"
            running.terminate()
            assert running.wait(10) is not None
        finally:
            running.kill()


class Double:
    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        return AIResponse(content=f"echo {prompt}", metadata={}, provider="double", model="m", usage=None)


@pytest.fixture
def asgi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from waypost import asgi

    file = tmp_path / "waypost.yaml"
    file.write_text(CONFIGURATION)
    monkeypatch.setenv("WAYPOST_CONFIG", str(file))
    yield asgi
    asgi.app.dependency_overrides.clear()
    asyncio.run(asgi.app.state.served.close())


def test_a_test_overrides_the_service_by_fastapis_means(asgi: Any) -> None:
    assert isinstance(asgi.app, FastAPI)
    asgi.app.dependency_overrides[asgi.get_ai_service] = lambda: Double()
    reply = TestClient(asgi.app).post("/api/ai/generate", json={"prompt": "hi"})
    assert asgi.AIResponseModel.model_validate(reply.json()).content == "echo hi"
    assert asgi.AIRequest(prompt="hi").stream is False


def test_it_can_be_started_again_after_its_end(asgi: Any) -> None:
    for _ in range(2):
        with TestClient(asgi.app) as client:
            assert list(client.get("/ready").json()["providers"]) == ["up"]


def test_wrong_settings_reach_a_test_client_as_they_are(asgi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_CONFIG", "missing.yaml")
    with pytest.raises(ConfigurationError, match=r"missing\.yaml"), TestClient(asgi.app):
        pass
