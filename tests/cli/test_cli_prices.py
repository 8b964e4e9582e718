"""waypost prices: what is shown, what differs, and that a newer list comes whole or not at all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import genai_prices
import pytest
from click.testing import Result

from waypost.catalogue.genai import installed
from waypost.catalogue.price_list import packaged_prices

Waypost = Callable[..., Result]

SETTINGS = """
providers:
  openai: {kind: openai, api_key: a-long-key}
  mine: {kind: openai_compatible, base_url: "http://127.0.0.1:1/v1", default_model: ours}
  other: {kind: openai_compatible, base_url: "http://127.0.0.1:2/v1", default_model: theirs}
routes:
  default: {targets: [openai/gpt-5.4, mine]}
prices:
  mine/*: {free: true}
  openai/gpt-4o: {input: 2, cache_read: 1.25, output: 12, web_search: 10}
data_dir: ./data
"""


@pytest.fixture
def settings(environment: Mapping[str, str]) -> Path:
    file = Path("waypost.yaml")
    file.write_text(SETTINGS)
    return file


def rows(result: Result) -> list[list[str]]:
    return [line.split() for line in result.stdout.splitlines()]


def test_show_tells_the_models_of_the_settings_with_their_source(waypost: Waypost, settings: Path) -> None:
    shown = waypost("prices", "show")
    table = {row[0]: row for row in rows(shown)}
    assert table["openai/gpt-5.4"][1:4] == ["2.5", "0.25", "15"]
    assert table["mine/ours"][1:] == ["free", "configuration"]
    assert table["other/theirs"][1:] == ["unknown"]
    assert "  over 272,000 tokens" in shown.stdout
    assert "  flex over 272,000 tokens" in shown.stdout
    assert str(packaged_prices().source) in shown.stderr


def test_show_as_json_says_null_where_nothing_is_known(waypost: Waypost, settings: Path) -> None:
    told = {f"{row['provider']}/{row['model']}": row for row in json.loads(waypost("prices", "show", "--json").stdout)}
    assert told["other/theirs"] == {
        "provider": "other",
        "kind": "openai_compatible",
        "model": "theirs",
        "free": False,
        "prices": None,
        "source": None,
        "date": None,
    }
    assert told["mine/ours"]["free"] is True
    assert told["openai/gpt-5.4"]["date"] == packaged_prices().source.date
    assert told["openai/gpt-5.4"]["prices"]["usd_per_million_tokens"]["input"] == 2.5


@pytest.mark.parametrize(
    ("arguments", "first", "told"),
    [
        (["gpt-4o"], "openai/gpt-4o", ["2", "1.25", "12", "web_search", "10", "configuration"]),
        (["mine/anything"], "mine/anything", ["free", "configuration"]),
        (["claude-opus-5"], "anthropic/claude-opus-5", ["5", "0.5", "6.25", "10", "25", "web_search", "10"]),
        (["no-such-model"], "mine/no-such-model", ["free", "configuration"]),
        (["openai/gpt-4o", "--provider", "openai"], "openai/gpt-4o", ["2", "1.25", "12", "web_search", "10"]),
        (["llama-3.3-70b-versatile", "--provider", "groq"], "groq/llama-3.3-70b-versatile", ["0.59", "0.79"]),
        (["no-such", "--provider", "other"], "other/no-such", ["unknown"]),
    ],
)
def test_show_speaks_of_what_it_was_asked_for(
    waypost: Waypost, settings: Path, arguments: list[str], first: str, told: list[str]
) -> None:
    row = next(row for row in rows(waypost("prices", "show", *arguments)) if row[0] == first)
    assert row[1 : 1 + len(told)] == told


def test_show_takes_a_route_for_its_targets_and_a_vendor_for_its_list(waypost: Waypost, settings: Path) -> None:
    assert {row[0] for row in rows(waypost("prices", "show", "default"))} >= {"openai/gpt-5.4", "mine/ours"}
    assert len(rows(waypost("prices", "show", "--provider", "anthropic"))) > 20
    refused = waypost("prices", "show", "--provider", "nobody")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert 'There is no provider, kind or vendor "nobody".' in refused.stderr


def test_show_without_any_settings_tells_what_the_model_costs(waypost: Waypost) -> None:
    shown = rows(waypost("prices", "show", "gpt-5.4-mini", "unheard-of"))
    assert shown[1][:4] == ["openai/gpt-5.4-mini", "0.75", "0.075", "4.5"]
    assert shown[-1] == ["?/unheard-of", "unknown"]


def test_compare_with_the_settings_tells_each_rate(waypost: Waypost, settings: Path) -> None:
    settings.write_text(SETTINGS.replace("[openai/gpt-5.4, mine]", "[openai/gpt-4o, mine]"))
    table = rows(waypost("prices", "compare"))
    assert ["openai/gpt-4o", "input", "2.5", "2", "-0.5", "-20.0", "%"] in table
    assert ["openai/gpt-4o", "output", "10", "12", "+2", "+20.0", "%"] in table
    assert ["mine/ours", "input", "0"] in table
    assert not [row for row in table if row[:2] == ["openai/gpt-4o", "cache_read"]]
    told = json.loads(waypost("prices", "compare", "--settings", "--json").stdout)
    assert {
        "provider": "openai",
        "model": "gpt-4o",
        "tier": "batch",
        "over_tokens": 0,
        "rate": "output",
        "before_usd": 5.0,
        "after_usd": None,
        "percent": None,
    } in told["changed"]


def test_compare_with_settings_that_hold_no_prices_says_so(waypost: Waypost) -> None:
    refused = waypost("prices", "compare")
    assert refused.exit_code == 3
    assert "The settings hold no prices. Name a file, or give --package." in refused.stderr


def published(change: Callable[[dict[str, Any]], None] = lambda model: None) -> str:
    """The data of genai-prices, with a change to gpt-4o."""
    data = installed()
    for vendor in data:
        for model in vendor["models"]:
            if model["id"] == "gpt-4o":
                change(model)
    return json.dumps(data, default=float)


def dearer(model: dict[str, Any]) -> None:
    model["prices"]["input_mtok"] = 3
    model["id"] = "gpt-4o"


def tomorrow_s_file(text: str, name: str = "data.json") -> Path:
    """A file of genai-prices, written on a day after that of the packaged list."""
    file = Path(name)
    file.write_text(text)
    day = datetime.combine(date.fromisoformat(packaged_prices().source.date) + timedelta(2), datetime.min.time(), UTC)
    os.utime(file, (day.timestamp(), day.timestamp()))
    return file


def test_compare_with_a_file_or_the_package(waypost: Waypost, settings: Path) -> None:
    file = tomorrow_s_file(published(dearer))
    told = json.loads(waypost("prices", "compare", str(file), "--json").stdout)
    changed = [(change["model"], change["rate"], change["percent"]) for change in told["changed"]]
    assert changed == [("gpt-4o", "input", 20.0)]
    assert (told["added"], told["removed"]) == ([], [])
    same = json.loads(waypost("prices", "compare", "--package", "--json").stdout)
    assert (same["changed"], same["added"], same["removed"]) == ([], [], [])
    assert f"genai-prices {genai_prices.__version__}" in same["after"]
    assert waypost("prices", "compare", str(file), "--package").exit_code == 2


def test_update_takes_a_newer_list_and_goes_back(waypost: Waypost, settings: Path) -> None:
    file = tomorrow_s_file(published(dearer))
    updated = waypost("prices", "update", str(file))
    assert updated.exit_code == 0
    assert "is in force now: " in updated.stdout
    assert "1 changed, 0 new, 0 gone" in updated.stdout
    assert rows(waypost("prices", "show", "openai/gpt-5.4"))[1][1] == "2.5"
    assert json.loads(waypost("prices", "compare", str(file), "--json").stdout)["changed"] == []
    assert "is not newer than the list in force" in waypost("prices", "update", str(file)).stdout
    back = waypost("prices", "update", "--packaged")
    assert back.stdout == f"The packaged prices are in force: {packaged_prices().source}\n"
    assert waypost("prices", "update", "--packaged").stdout.startswith("The packaged prices are in force, as before")
    assert list(Path("data").iterdir()) == []


def test_update_from_the_installed_package_is_refused_if_it_is_no_newer(waypost: Waypost, settings: Path) -> None:
    """Here it is the very one that the packaged list was made from."""
    assert "is not newer than the list in force" in waypost("prices", "update").stdout
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no JSON"),
        ("nonsense", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('[{"id": "openai"}]', "these are not the data of genai-prices"),
        ("[]", "it holds no price"),
        ("{}", "missing required field `source`"),
        (published(lambda model: model["prices"].update(input_mtok=-1)), "-1 dollars is no price"),
        (published(lambda model: model["prices"].update(input_mtok=float("nan"))), "NaN is no amount"),
        (published(lambda model: model.update(match={"regex": "("})), "is no regular expression"),
        (published(lambda model: model.update(match={"resembles": "x"})), "unknown field `resembles`"),
    ],
)
def test_a_broken_list_is_refused_and_changes_nothing(waypost: Waypost, settings: Path, text: str, told: str) -> None:
    assert waypost("prices", "update", str(tomorrow_s_file(published(dearer)))).exit_code == 0
    before = Path("data/prices.json").read_bytes()
    refused = waypost("prices", "update", str(tomorrow_s_file(text, "broken.json")))
    assert refused.exit_code == 3
    assert told in refused.stderr
    assert [path.name for path in Path("data").iterdir()] == ["prices.json"]
    assert Path("data/prices.json").read_bytes() == before


def test_a_list_of_a_day_that_has_not_come_is_refused(waypost: Waypost, settings: Path) -> None:
    """It would never be replaced by a newer Waypost's."""
    refused = waypost("prices", "update", str(tomorrow_s_file(published())), "--date", "2999-01-01")
    assert refused.exit_code == 3
    assert "which has not come" in refused.stderr
    assert (
        waypost("prices", "update", "gone.json").stderr
        == "Error: gone.json cannot be read: No such file or directory.\n"
    )


def test_a_folder_that_cannot_be_written_to_is_told(waypost: Waypost, settings: Path) -> None:
    Path("data").write_text("a file where the folder should be")
    refused = waypost("prices", "update", str(tomorrow_s_file(published(dearer))))
    assert refused.exit_code == 3
    assert "cannot be written: " in refused.stderr


def doctor(waypost: Waypost) -> dict[str, Any]:
    checks = json.loads(waypost("doctor", "--json").stdout)["checks"]
    return next(dict(check) for check in checks if check["name"] == "prices")


def test_doctor_says_how_old_the_list_is(waypost: Waypost, settings: Path) -> None:
    source = packaged_prices().source
    days = (datetime.now(UTC).date() - date.fromisoformat(source.date)).days
    told = doctor(waypost)
    assert told["detail"] == f"{source}, {days} days old"
    assert told["status"] == ("ok" if days <= 90 else "warn")
    Path("data").mkdir()
    Path("data/prices.json").write_text("{")
    assert doctor(waypost)["status"] == "warn"
    assert doctor(waypost)["mend"] == "Remove it: waypost prices update --packaged"
    old = {"source": {"name": "genai-prices", "date": "2024-01-01"}, "providers": {}}
    Path("data/prices.json").write_text(json.dumps(old))
    assert "is not newer than the packaged list" in doctor(waypost)["detail"]


def test_show_answers_at_once(waypost: Waypost, settings: Path) -> None:
    """The whole list of a vendor in less than a second, however slow the machine."""
    begun = time.perf_counter()
    waypost("prices", "show", "--provider", "openai")
    assert time.perf_counter() - begun < 1
