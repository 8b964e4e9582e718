"""waypost config import: the file it writes, what it says, and that the file serves, fallbacks included."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml
from click.testing import Result

Waypost = Callable[..., Result]

SMALL = "model_list: [{model_name: gpt, litellm_params: {model: openai/gpt-4o, api_key: sk-in-the-open, seed: 1}}]\n"


@pytest.fixture
def source(environment: Mapping[str, str]) -> Path:
    file = Path("config.yaml")
    file.write_text(SMALL)
    return file


def test_it_writes_a_file_and_tells_what_it_did(
    waypost: Waypost, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = waypost("config", "import", "config.yaml")
    assert done.exit_code == 0
    assert done.stdout == (
        "Took over into waypost.yaml: 1 providers, 2 routes\n"
        "Changed:\n"
        "  providers.openai.api_key: the file holds the secret itself; it is not copied: set OPENAI_API_KEY to it\n"
        "  model_list: requests that name no model go to gpt\n"
        "Left out:\n"
        "  model_list[0] (gpt).seed: Waypost adds no parameters to requests; let the caller send it\n"
        "Variables to be set:\n"
        "  OPENAI_API_KEY: providers.openai.api_key\n"
        "Then check it with: waypost config check --config waypost.yaml\n"
    )
    assert "sk-in-the-open" not in Path("waypost.yaml").read_text() + done.stdout
    assert waypost("config", "check").exit_code == 3, "the variable is not set yet"
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    assert waypost("config", "check").stdout == "waypost.yaml is fine: 1 provider, 2 routes\n"


def test_json_is_for_scripts_and_a_dash_prints_the_file(waypost: Waypost, source: Path) -> None:
    told = json.loads(waypost("config", "import", "config.yaml", "--json", "--out", "other.yaml").stdout)
    assert (told["ok"], told["file"], told["providers"], told["routes"]) == (
        True,
        "other.yaml",
        ["openai"],
        ["default", "gpt"],
    )
    assert told["left_out"][0]["where"] == "model_list[0] (gpt).seed"
    assert told["variables"] == {"OPENAI_API_KEY": "providers.openai.api_key"}
    printed = waypost("config", "import", "config.yaml", "--out", "-")
    assert yaml.safe_load(printed.stdout) == yaml.safe_load(Path("other.yaml").read_text())
    assert "Left out:" in printed.stderr
    assert not Path("waypost.yaml").exists()


def test_nothing_is_overwritten_unless_that_is_wished(waypost: Waypost, source: Path) -> None:
    Path("waypost.yaml").write_text("mine")
    refused = waypost("config", "import", "config.yaml")
    assert refused.exit_code == 3
    assert refused.stderr == "Error: waypost.yaml exists already. Name another by --out, or add --force.\n"
    assert Path("waypost.yaml").read_text() == "mine"
    assert waypost("config", "import", "config.yaml", "--force").exit_code == 0
    assert "gpt-4o" in Path("waypost.yaml").read_text()
    assert sorted(path.name for path in Path().iterdir()) == ["config.yaml", "waypost.yaml"]


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("model_list: [{model_name: m, litellm_params: {model: sagemaker/x}}]", 1, "Nothing could be taken over"),
        ("model_list: []", 1, "Nothing could be taken over"),
        ("providers: {}", 3, "holds no model_list"),
        ("{", 3, "not valid YAML"),
    ],
)
def test_where_nothing_can_be_taken_over_nothing_is_written(
    waypost: Waypost, source: Path, text: str, code: int, told: str
) -> None:
    source.write_text(text)
    done = waypost("config", "import", "config.yaml")
    assert done.exit_code == code
    assert told in done.stdout + done.stderr
    assert not Path("waypost.yaml").exists()
    assert waypost("config", "import", "gone.yaml").exit_code == 3


LOCAL_SERVERS = """
model_list:
  - model_name: chat
    litellm_params: {{model: openai/status-503, api_base: {url}/v1, api_key: os.environ/FIRST_KEY, rpm: 10}}
  - model_name: chat
    litellm_params: {{model: hosted_vllm/status-429-30, api_base: {url}/v1, api_key: os.environ/FIRST_KEY, rpm: 5}}
  - model_name: backup
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      api_base: {url}
      api_key: sk-of-the-simulator
      input_cost_per_token: 0.000002
      output_cost_per_token: 0.00001
  - model_name: embed
    litellm_params: {{model: openai/text-embedding-3-small, api_base: {url}/v1, api_key: os.environ/FIRST_KEY}}
    model_info: {{mode: embedding}}
router_settings: {{num_retries: 1, model_group_alias: {{gpt-4: chat}}}}
litellm_settings: {{fallbacks: [{{chat: [backup]}}], drop_params: true}}
general_settings: {{master_key: os.environ/MASTER_KEY}}
"""
AZURE_AND_GEMINI = """
model_list:
  - model_name: our-model
    litellm_params:
      model: azure/status-500
      api_base: {url}
      api_key: os.environ/AZURE_KEY
      api_version: "2024-10-21"
      order: 1
  - model_name: our-model
    litellm_params: {{model: gemini/gemini-2.5-flash, api_base: {url}, api_key: os.environ/GEMINI_KEY, order: 2}}
litellm_settings: {{num_retries: 0, request_timeout: 20}}
general_settings: {{master_key: os.environ/MASTER_KEY}}
"""
WILDCARDS = """
model_list:
  - model_name: "groq/*"
    litellm_params: {{model: "groq/*", api_base: {url}/v1, api_key: os.environ/GROQ_KEY}}
  - model_name: frontier
    litellm_params: {{model: openai/reset, api_base: {url}/v1, api_key: os.environ/GROQ_KEY}}
  - model_name: cheap
    litellm_params:
      model: ollama/llama3
      api_base: {url}
      api_key: os.environ/FIRST_KEY
      input_cost_per_token: 0
      output_cost_per_token: 0
litellm_settings: {{default_fallbacks: [cheap]}}
general_settings: {{master_key: os.environ/MASTER_KEY}}
"""
NAMES = ("FIRST_KEY", "AZURE_KEY", "GEMINI_KEY", "GROQ_KEY", "ANTHROPIC_API_KEY", "MASTER_KEY")
SECRETS = dict.fromkeys(NAMES, "a-key-for-the-simulator")


@pytest.mark.parametrize(
    ("text", "asked", "provider", "attempts", "cost_usd"),
    [
        # The simulator's own count of tokens times the price of the file.
        (LOCAL_SERVERS, "chat", "anthropic", 4, None),
        (LOCAL_SERVERS, "gpt-4", "anthropic", 4, None),
        (AZURE_AND_GEMINI, "our-model", "gemini", 2, None),
        (WILDCARDS, "groq/llama-3.3-70b-versatile", "groq", 1, None),
        (WILDCARDS, "frontier", "ollama", 3, "0.000000"),
    ],
)
def test_an_imported_file_serves_with_its_fallbacks(
    waypost: Waypost,
    environment: Mapping[str, str],
    simulator_url: str,
    text: str,
    asked: str,
    provider: str,
    attempts: int,
    cost_usd: str | None,
) -> None:
    Path("config.yaml").write_text(text.format(url=simulator_url))
    told = json.loads(waypost("config", "import", "config.yaml", "--json").stdout)
    assert told["ok"]
    settings = {**environment, **{name: SECRETS[name] for name in told["variables"]}}
    with served(settings) as url:
        headers, body = post(f"{url}/v1/chat/completions", asked)
    assert body["choices"][0]["message"]["content"]
    assert headers["x-waypost-provider"] == provider
    assert int(headers["x-waypost-attempts"]) <= attempts
    usage = body["usage"]
    if provider == "anthropic":
        micro_usd = usage["prompt_tokens"] * 2 + usage["completion_tokens"] * 10
        assert headers["x-waypost-cost-usd"] == f"{micro_usd / 1_000_000:.6f}"
    elif cost_usd is not None:
        assert headers["x-waypost-cost-usd"] == cost_usd


@contextmanager
def served(environment: Mapping[str, str]) -> Iterator[str]:
    command = [sys.executable, "-m", "waypost.cli.main", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(environment)) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[3]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def post(url: str, model: str) -> tuple[Mapping[str, str], dict[str, Any]]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Say hello."}]}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {SECRETS['MASTER_KEY']}"}
    with urlopen(Request(url, body, headers), timeout=30) as reply:  # noqa: S310 - our own server
        return {name.lower(): value for name, value in reply.headers.items()}, json.load(reply)
