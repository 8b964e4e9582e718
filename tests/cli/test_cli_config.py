"""waypost config."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from waypost.settings import json_schema

Waypost = Callable[..., Result]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("providers: {o: {kind: openai}, a: {kind: anthropic}}", "waypost.yaml is fine: 2 providers, 1 route\n"),
        (
            "providers: {o: {kind: openai}}\nroutes: {a: {targets: [o]}, b: {targets: [o]}}",
            "waypost.yaml is fine: 1 provider, 3 routes\n",
        ),
    ],
)
def test_check_counts_what_is_there(waypost: Waypost, text: str, told: str) -> None:
    Path("waypost.yaml").write_text(text)
    result = waypost("config", "check")
    assert (result.exit_code, result.stdout, result.stderr) == (0, told, "")


def test_check_without_a_file(waypost: Waypost) -> None:
    told = "No settings file; what the environment and the defaults say is fine: 1 provider, 1 route\n"
    assert waypost("config", "check").stdout == told


def test_check_names_every_mistake(waypost: Waypost) -> None:
    Path("waypost.yaml").write_text("sever: {}\nserver: {port: abc}")
    result = waypost("config", "check")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines() == [
        "Error: waypost.yaml line 1: unknown key sever; did you mean server?",
        'Error: waypost.yaml line 2: server.port must be a whole number, not "abc"',
    ]


def test_check_as_json(waypost: Waypost) -> None:
    Path("bad.yaml").write_text("sever: {}")
    fine, bad = waypost("config", "check", "--json"), waypost("config", "check", "--json", "--config", "bad.yaml")
    assert (fine.exit_code, json.loads(fine.stdout)) == (0, {"ok": True, "file": None, "problems": []})
    problems = ["bad.yaml line 1: unknown key sever; did you mean server?"]
    assert (bad.exit_code, json.loads(bad.stdout)) == (3, {"ok": False, "file": None, "problems": problems})


NOBODY = 'No installed package offers the plugin "nobody" (entry point group waypost.providers).'


@pytest.mark.parametrize("command", [["config", "check"], ["serve", "--port", "0"], ["ask", "x"]])
def test_a_plugin_that_nobody_offers_is_refused(waypost: Waypost, command: list[str]) -> None:
    """A name that is only mistyped in `plugins` would do nothing, without a word."""
    Path("waypost.yaml").write_text("plugins: [nobody]\nproviders: {o: {kind: openai}}")
    result = waypost(*command)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"Error: {NOBODY} Correct its name, ")


def test_check_as_json_names_the_missing_plugin(waypost: Waypost) -> None:
    Path("waypost.yaml").write_text("plugins: [nobody]")
    told = json.loads(waypost("config", "check", "--json").stdout)
    assert told["ok"] is False
    assert told["problems"][0].startswith(NOBODY)


def test_schema_is_the_settings_schema(waypost: Waypost) -> None:
    assert json.loads(waypost("config", "schema").stdout) == json_schema()


def test_show_has_everything_but_secrets(waypost: Waypost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "SECRET-1")
    Path("waypost.yaml").write_text(
        """
providers:
  a: {kind: openai, api_key: "${MY_KEY}", headers: {X-A: "${MY_KEY}", X-B: SECRET-2}}
  b: {kind: openai, api_key: SECRET-3, proxy: "http://me:SECRET-4@proxy:3128"}
  c: {kind: special, options: {token: SECRET-5}}
  d: {kind: openai}
plugins: [special]
"""
    )
    shown = waypost("config", "show").stdout
    assert "SECRET" not in shown
    first, second, third, fourth = yaml.safe_load(shown)["providers"].values()
    assert first["api_key"] == "(set, from MY_KEY)"
    assert first["headers"] == {"X-A": "(set, from MY_KEY)", "X-B": "(set)"}
    assert (second["api_key"], second["proxy"]) == ("(set)", "http://(set)@proxy:3128")
    assert third["options"] == {"token": "(set)"}
    assert fourth["api_key"] is None
    assert yaml.safe_load(shown) == json.loads(waypost("config", "show", "--json").stdout)


def test_show_hides_the_callers_keys_and_each_of_several(waypost: Waypost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "SECRET-1-of-16-signs")
    Path("waypost.yaml").write_text(
        f"""
keys:
  a: {{key: "${{MY_KEY}}"}}
  b: {{sha256: {"5ec2e7" + "0" * 58}, admin: true}}
providers: {{o: {{kind: openai, api_keys: ["${{MY_KEY}}", SECRET-2]}}}}
"""
    )
    shown = waypost("config", "show").stdout
    assert "SECRET" not in shown
    assert "5ec2e7" not in shown
    settings = yaml.safe_load(shown)
    assert settings["keys"]["a"]["key"] == "(set, from MY_KEY)"
    assert (settings["keys"]["b"]["sha256"], settings["keys"]["b"]["key"]) == ("(set)", None)
    assert settings["providers"]["o"]["api_keys"] == ["(set, from MY_KEY)", "(set)"]


def test_show_names_the_variable_of_a_key_that_no_file_mentions(
    waypost: Waypost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "SECRET")
    shown = yaml.safe_load(waypost("config", "show").stdout)
    assert shown["providers"]["anthropic"]["api_key"] == "(set, from ANTHROPIC_API_KEY)"
    assert shown["routes"]["default"]["targets"] == ["anthropic"]


def test_init_writes_a_file_that_is_fine_and_its_schema(waypost: Waypost) -> None:
    result = waypost("config", "init")
    assert result.exit_code == 0
    assert Path("waypost.yaml").read_text().startswith("# yaml-language-server: $schema=./waypost.schema.json\n")
    assert json.loads(Path("waypost.schema.json").read_text()) == json_schema()
    assert waypost("config", "check").stdout == "waypost.yaml is fine: 1 provider, 1 route\n"


def test_the_commented_parts_of_the_template_are_fine_too(waypost: Waypost, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "APPLICATION_KEY", "OPERATIONS_KEY"):
        monkeypatch.setenv(variable, f"a-key-of-its-own-for-{variable}")
    waypost("config", "init")
    lines = Path("waypost.yaml").read_text().splitlines()
    keys = ("# keys:", "# data_dir", "# providers", "# routes", "# aliases", "# prices:", "#   ")
    active = [line.removeprefix("# ") if line.startswith(keys) else line for line in lines]
    Path("waypost.yaml").write_text("\n".join(active))
    assert waypost("config", "check").stdout == "waypost.yaml is fine: 4 providers, 1 route\n"
    shown = yaml.safe_load(waypost("config", "show").stdout)
    assert shown["aliases"] == {"fast": "openai/gpt-5-mini"}
    assert shown["prices"]["openai/gpt-5-mini"]["output"] == 1.6


@pytest.mark.parametrize("present", ["waypost.yaml", "waypost.schema.json"])
def test_init_overwrites_nothing(waypost: Waypost, present: str) -> None:
    Path(present).write_text("mine")
    result = waypost("config", "init")
    told = f"Error: {present} exists already. Move it away, or name another file.\n"
    assert (result.exit_code, result.stderr) == (3, told)
    assert [path.name for path in Path().iterdir()] == [present]
    assert Path(present).read_text() == "mine"


def test_init_into_a_folder_that_is_not_there(waypost: Waypost) -> None:
    result = waypost("config", "init", "nowhere/waypost.yaml")
    told = "Error: nowhere/waypost.schema.json cannot be written: No such file or directory.\n"
    assert (result.exit_code, result.stderr) == (3, told)
