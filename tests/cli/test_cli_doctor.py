"""waypost doctor: each thing that may be wrong, with its mend."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Waypost = Callable[..., Result]

KEYED = "providers: {a: {kind: openai, api_key: a-long-key}}\nserver: {port: 0}\n"

ROWS: list[tuple[str, dict[str, str], str, str, str, str]] = [
    # settings, environment, name, status, detail begins, mend begins
    (KEYED, {}, "provider a", "ok", "the vendor's own address, key from the settings file", ""),
    (
        "server: {port: 0}",
        {"OPENAI_API_KEY": "a-key"},
        "provider openai",
        "ok",
        "the vendor's own address, key from OPENAI_API_KEY",
        "",
    ),
    (
        KEYED.replace("port: 0", "port: 0, host: 0.0.0.0"),
        {},
        "keys",
        "warn",
        "server.host is 0.0.0.0, and the settings have no keys",
        "It starts if the database has one: waypost keys create --admin",
    ),
    (KEYED, {}, "worker", "ok", "none is needed yet; engine dbos 3.4", ""),
    (KEYED + "jobs: {enabled: false}\n", {}, "worker", "ok", "jobs are switched off", ""),
    (
        "providers: {a: {kind: anthropic}}",
        {},
        "provider a",
        "fail",
        "has no key",
        "Set providers.a.api_key, best as ${ANTHROPIC_API_KEY}.",
    ),
    (
        "providers: {v: {kind: openai_compatible, base_url: 'http://10.0.0.1/v1'}}",
        {},
        "provider v",
        "ok",
        "http://10.0.0.1/v1, without a key",
        "",
    ),
    (
        "providers: {v: {kind: openai_compatible, base_url: 'http://10.0.0.1/v1', api_key: k}}",
        {},
        "provider v",
        "warn",
        "sends its key unencrypted to http://10.0.0.1/v1",
        "Use an https address.",
    ),
    (
        "providers: {a: {kind: openai, api_key: k, ca_file: /gone.pem}}",
        {},
        "provider a",
        "fail",
        "the file /gone.pem is not there",
        "Correct providers.a.ca_file.",
    ),
    (
        "providers: {a: {kind: openai, api_keys: [k, l]}}",
        {},
        "provider a",
        "ok",
        "the vendor's own address, 2 keys",
        "",
    ),
    (
        "providers: {a: {kind: openai, api_key_file: /gone.txt}}",
        {},
        "provider a",
        "fail",
        "the file /gone.txt is not there",
        "Correct providers.a.api_key_file.",
    ),
    (
        "providers: {a: {kind: azure_openai, base_url: 'https://a.example'}}",
        {},
        "provider a",
        "fail",
        "has no key",
        "Set providers.a.api_key, best as ${AZURE_OPENAI_API_KEY}.",
    ),
    (
        "providers: {b: {kind: bedrock, region: eu-central-1}}",
        {},
        "provider b",
        "fail",
        "has no key",
        "Set providers.b.api_key, best as ${AWS_BEARER_TOKEN_BEDROCK}.",
    ),
    (
        "providers: {v: {kind: vertex, project: ours}}",
        {},
        "provider v",
        "ok",
        "the vendor's own address, credentials from this machine",
        "",
    ),
    (
        "providers: {v: {kind: vertex, project: ours, credentials_file: /gone.json}}",
        {},
        "provider v",
        "fail",
        "the file /gone.json is not there",
        "Correct providers.v.credentials_file.",
    ),
    (
        "plugins: [nobody]\n" + KEYED,
        {},
        "plugin nobody",
        "fail",
        'No installed package offers the plugin "nobody" (entry point group waypost.providers).',
        "Correct its name, install the package that offers it, or take it out of plugins.",
    ),
    (
        KEYED,
        {"WAYPOST_PROT": "1"},
        "environment",
        "warn",
        "WAYPOST_PROT means nothing here",
        "Did you mean WAYPOST_PORT?",
    ),
    (KEYED, {"WAYPOST_ZZZZZ": "1"}, "environment", "warn", "WAYPOST_ZZZZZ means nothing here", "Unset it."),
    (
        "server: {port: 0}",
        {},
        "provider local",
        "fail",
        "The model smollm2-135m-instruct is not on this machine.",
        "Fetch it with: waypost models pull smollm2-135m-instruct",
    ),
    (
        KEYED.replace("}}", "}, l: {kind: llama_cpp}}"),
        {},
        "provider l",
        "warn",
        "The model smollm2-135m-instruct is not on this machine.",
        "Fetch it with: waypost models pull",
    ),
    (
        "providers: {l: {kind: llama_cpp, model: ./damaged.gguf}}",
        {},
        "provider l",
        "fail",
        "The file ",
        "Fetch or copy",
    ),
    (
        KEYED + "data_dir: /proc/nowhere",
        {},
        "data folder",
        "fail",
        "/proc/nowhere cannot be written: ",
        "Change its owner, or set data_dir (or WAYPOST_DATA_DIR) to another folder.",
    ),
    (KEYED, {}, "port", "ok", "0 on 127.0.0.1 is free", ""),
    ("sever: {}", {}, "settings", "fail", "1 wrong", "waypost.yaml line 1: unknown key sever; did you mean server?"),
]


@pytest.mark.parametrize(
    ("text", "variables", "name", "status", "detail", "mend"), ROWS, ids=lambda value: str(value)[:40]
)
def test_each_check(
    waypost: Waypost,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    variables: dict[str, str],
    name: str,
    status: str,
    detail: str,
    mend: str,
) -> None:
    Path("waypost.yaml").write_text(text)
    Path("damaged.gguf").write_bytes(b"GGUF")
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    result = waypost("doctor", "--json")
    report = json.loads(result.stdout)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks[name]["status"] == status
    assert checks[name]["detail"].startswith(detail)
    assert checks[name]["mend"].startswith(mend)
    assert bool(checks[name]["mend"]) is bool(mend)
    failed = any(check["status"] == "fail" for check in report["checks"])
    assert (result.exit_code, report["ok"]) == (1 if failed else 0, not failed)


def test_a_busy_port_is_a_warning_with_a_free_one(waypost: Waypost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        Path("waypost.yaml").write_text(KEYED.replace("port: 0", f"port: {port}"))
        result = waypost("doctor")
    assert result.exit_code == 0
    assert f"warn  port: {port} on 127.0.0.1 is in use\n      If that is not Waypost: stop it, or run:" in result.stdout


def test_a_missing_file_ends_it_early(waypost: Waypost) -> None:
    result = waypost("doctor", "--config", "gone.yaml")
    assert result.exit_code == 1
    assert "fail  settings: gone.yaml does not exist.\n" in result.stdout
    assert "port" not in result.stdout


def test_all_well(waypost: Waypost) -> None:
    Path("waypost.yaml").write_text(KEYED)
    result = waypost("doctor")
    assert result.exit_code == 0
    assert "fail" not in result.stdout
