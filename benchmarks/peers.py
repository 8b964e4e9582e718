"""The gateways that are measured: how each is started, with a key checked and a request record kept.

Each is set up as its own documentation says, with nothing taken away but limits on the rate of requests. Waypost keeps
its access log, ferrogw its request log, LiteLLM's proxy its access log; all write to a file.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import GATEWAY_CORE, BenchmarkError, Running, free_port, pinned, started

ROOT = Path(__file__).resolve().parent.parent
PEERS_FOLDER = ROOT / ".bench"
KEY = "sk-bench-5f1d0c6b8e7a4932a1b0c9d8e7f60514"
PROVIDER_KEY = "sk-fake-provider"
OPENAI_MODELS = ("mock-model", "mock-paced-20", "mock-paced-2000")
ANTHROPIC_MODELS = ("claude-mock",)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a gateway needs to know to be started: the fake provider's URL, a folder of its own, its port, and more."""

    provider_url: str
    folder: Path
    port: int
    workers: int = 1
    ledger: bool = True


@dataclass(frozen=True, slots=True)
class Launch:
    """A command with its environment."""

    command: list[str]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Gateway:
    """One of the compared: what it is called, how it is launched, and what it can bear.

    `paced_connections` is set where one core cannot carry hundreds of paced streams.
    """

    name: str
    version: str
    launch: Callable[[Setting], Launch]
    health: str = "/health"
    start_within_s: float = 30.0
    paced_connections: int | None = None

    @contextlib.contextmanager
    def running(self, provider_url: str, folder: Path, *, workers: int = 1, ledger: bool = True) -> Iterator[Running]:
        """The gateway, started on a free port and pinned to its core; it ends with the block."""
        own = folder / f"{self.name}-{workers}{'' if ledger else '-without-ledger'}"
        own.mkdir(parents=True, exist_ok=True)
        port = free_port()
        launch = self.launch(Setting(provider_url, own, port, workers, ledger))
        with started(
            pinned(GATEWAY_CORE, launch.command),
            port=port,
            health=self.health,
            log=own / "requests.log",
            environment={"PATH": os.environ["PATH"], "HOME": str(own), **launch.environment},
            within_s=self.start_within_s,
        ) as server:
            yield server


class Waypost:
    """This project's server, from this checkout or another's `waypost` command."""

    def __init__(self, command: Path) -> None:
        self.command = command
        if not command.exists():
            raise BenchmarkError(f"{command} is not there: run `make serve` or `make test` once")
        self.has_keys = "keys" in json.loads(self._output("config", "schema")).get("properties", {})
        told = json.loads(self._output("version", "--json"))
        self.version: str = told["version"]
        self.python: str = told["python"]
        """The version that it runs on, which may be another than that of the benchmark."""
        self.has_workers = "--workers" in self._output("serve", "--help")

    def gateway(self) -> Gateway:
        """It, as one of the compared."""
        return Gateway("waypost", self.version, self._launch)

    def _launch(self, setting: Setting) -> Launch:
        file = setting.folder / "waypost.yaml"
        # JSON is YAML.
        file.write_text(json.dumps(self._settings(setting), indent=2))
        command = [str(self.command), "serve", "--config", str(file), "--port", str(setting.port)]
        return Launch([*command, "--workers", str(setting.workers)] if setting.workers > 1 else command, {})

    def _settings(self, setting: Setting) -> Mapping[str, object]:
        targets = {name: f"openai/{name}" for name in OPENAI_MODELS}
        targets |= {name: f"anthropic/{name}" for name in ANTHROPIC_MODELS}
        provider = {"api_key": PROVIDER_KEY}
        settings: dict[str, object] = {
            "data_dir": str(setting.folder),
            **({} if setting.ledger else {"ledger": {"enabled": False}}),
            "providers": {
                "openai": {"kind": "openai", "base_url": f"{setting.provider_url}/v1", **provider},
                "anthropic": {"kind": "anthropic", "base_url": setting.provider_url, **provider},
            },
            "routes": {"default": {"targets": ["openai/mock-model"]}},
            "aliases": targets,
        }
        return {**settings, "keys": {"bench": {"key": KEY}}} if self.has_keys else settings

    def _output(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.command), *arguments], capture_output=True, text=True, check=False, cwd=PEERS_FOLDER
        )
        if done.returncode:
            raise BenchmarkError(f"waypost {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout


def peer(name: str) -> Gateway:
    """A peer by name. Raises BenchmarkError if it is not installed."""
    command = PEERS_FOLDER / name / "bin" / name
    if not command.exists():
        raise BenchmarkError(f"{name} is not installed: run benchmarks/setup")
    return PEERS[name](_installed_version(name))


def _ferrogw(version: str) -> Gateway:
    return Gateway("ferrogw", version, _launch_ferrogw)


def _launch_ferrogw(setting: Setting) -> Launch:
    file = setting.folder / "config.yaml"
    targets = [
        {"virtual_key": "openai", "models": list(OPENAI_MODELS)},
        {"virtual_key": "anthropic", "models": list(ANTHROPIC_MODELS)},
    ]
    file.write_text(json.dumps({"strategy": {"mode": "fallback"}, "targets": targets}))
    environment = {
        "GATEWAY_CONFIG": str(file),
        "PORT": str(setting.port),
        "MASTER_KEY": KEY,
        "OPENAI_API_KEY": PROVIDER_KEY,
        "OPENAI_BASE_URL": setting.provider_url,
        "ANTHROPIC_API_KEY": PROVIDER_KEY,
        "ANTHROPIC_BASE_URL": setting.provider_url,
        "GOMAXPROCS": "1",
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
    }
    return Launch([str(PEERS_FOLDER / "ferrogw/bin/ferrogw"), "serve"], environment)


def _litellm(version: str) -> Gateway:
    return Gateway(
        "litellm",
        version,
        _launch_litellm,
        health="/health/liveliness",
        start_within_s=120.0,
        paced_connections=8,
    )


def _launch_litellm(setting: Setting) -> Launch:
    file = setting.folder / "config.yaml"
    openai = {"api_base": f"{setting.provider_url}/v1", "api_key": PROVIDER_KEY}
    anthropic = {"api_base": setting.provider_url, "api_key": PROVIDER_KEY}
    models = [{"model_name": name, "litellm_params": {"model": f"openai/{name}", **openai}} for name in OPENAI_MODELS]
    models += [
        {"model_name": name, "litellm_params": {"model": f"anthropic/{name}", **anthropic}} for name in ANTHROPIC_MODELS
    ]
    file.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
    command = [str(PEERS_FOLDER / "litellm/bin/litellm"), "--config", str(file), "--host", "127.0.0.1"]
    command += ["--port", str(setting.port), "--num_workers", "1", "--telemetry", "False"]
    # Without the map it would fetch a price list at the start; with it, it reads the one that it brings.
    return Launch(command, {"LITELLM_LOCAL_MODEL_COST_MAP": "True"})


def _installed_version(name: str) -> str:
    folders = (PEERS_FOLDER / name).glob(f"lib/python*/site-packages/{name}-*.dist-info")
    return next((folder.name.removeprefix(f"{name}-").removesuffix(".dist-info") for folder in folders), "unknown")


PEERS: Mapping[str, Callable[[str], Gateway]] = {"ferrogw": _ferrogw, "litellm": _litellm}
