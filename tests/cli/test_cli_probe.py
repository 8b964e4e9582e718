"""waypost probe, against the simulator over real sockets: a target that does not answer is found before a release."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import Result

from waypost.settings.providers import BUILT_IN_KINDS

Waypost = Callable[..., Result]
EXAMPLE = Path(__file__).parents[2] / "waypost.example.yaml"


def test_every_target_is_asked_once_and_its_routes_are_told(waypost: Waypost, providers: Path) -> None:
    providers.write_text(providers.read_text().replace("first/status-529", "first/three"))
    result = waypost("probe")
    rows = [line.split(maxsplit=2)[:2] for line in result.stdout.splitlines()]
    assert (result.exit_code, rows) == (0, [["ok", "first/three"], ["ok", "second"], ["ok", "first"]])
    assert "broken, hopeless" in result.stdout.splitlines()[0]


def test_a_target_that_gives_no_answer_fails_the_whole(waypost: Waypost, providers: Path) -> None:
    result = waypost("probe", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"]) == (1, False)
    assert [bool(each["error"]) for each in told["targets"]] == [True, False, False]


def test_a_provider_without_its_key_fails_unless_the_simulator_may_play_it(waypost: Waypost, providers: Path) -> None:
    text = providers.read_text().replace("api_key: a-long-key", "api_key: '${OUR_KEY}'", 1)
    providers.write_text(text.replace("/status-529", ""))
    refused = waypost("probe")
    assert refused.exit_code == 1
    assert "OUR_KEY is not set" in refused.stdout
    played = waypost("probe", "--simulate-missing")
    assert played.exit_code == 0, played.stdout
    assert played.stdout.startswith("sim  first   broken, hopeless, default  simulated: OUR_KEY is not set")
    assert "\nok   second" in played.stdout


def test_every_kind_of_provider_can_be_played(waypost: Waypost) -> None:
    settings = yaml.safe_load(EXAMPLE.read_text())
    assert {provider["kind"] for provider in settings["providers"].values()} >= set(BUILT_IN_KINDS) - {"gemini"}
    settings["providers"]["gemini"] = {"kind": "gemini", "api_key": "${GEMINI_API_KEY}"}
    Path("waypost.yaml").write_text(yaml.safe_dump(settings))
    options = [part for name in settings["providers"] for part in ("--simulate", name)]
    result = waypost("probe", *options, "--json")
    told = json.loads(result.stdout)["targets"]
    assert result.exit_code == 0, result.stdout
    assert {each["target"].partition("/")[0] for each in told} == set(settings["providers"])
    assert all(each["simulated"] == "as was asked for" for each in told)


def test_junit_tells_failures_and_what_was_simulated(waypost: Waypost, providers: Path) -> None:
    assert waypost("probe", "--simulate", "second", "--junit", "probe.xml").exit_code == 1
    suite = ElementTree.parse("probe.xml").getroot()  # noqa: S314 - written by us
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    failed, simulated, _ = suite
    assert failed.find("failure") is not None
    assert simulated.findtext("system-out") == "simulated: as was asked for"


@pytest.mark.parametrize("options", [["--simulate", "secnd"]])
def test_a_provider_that_the_settings_lack_is_refused(waypost: Waypost, providers: Path, options: list[str]) -> None:
    result = waypost("probe", *options)
    assert result.exit_code == 3
    assert 'no provider "secnd"' in result.output
