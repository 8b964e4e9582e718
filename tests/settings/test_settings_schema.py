"""The JSON schema says of a file what the loader says, and nothing in it is left undescribed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from pydantic import ValidationError
from tools.generate import PART_TITLES

from waypost.settings import InvalidSettings, Settings, json_schema, load_settings
from waypost.settings.environment import OVERRIDES
from waypost.settings.fields import Part
from waypost.settings.providers import BUILT_IN_KINDS
from waypost.settings.sentences import PARTS, SENTENCES

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def parts(kind: type[Part] = Part) -> Iterator[type[Part]]:
    for under in kind.__subclasses__():
        yield under
        yield from parts(under)


@pytest.mark.parametrize("part", list(parts()), ids=lambda part: part.__name__)
def test_every_field_has_one_sentence(part: type[Part]) -> None:
    for name, field in part.model_fields.items():
        assert field.description, f"{part.__name__}.{name} has no description"
        assert field.description.endswith("."), f"{part.__name__}.{name}"
        assert field.description.count(". ") == 0, f"{part.__name__}.{name}"


def test_every_field_of_the_schema_has_its_sentence() -> None:
    schema = json_schema()
    for name, part in {"top level": schema, **schema["$defs"]}.items():
        missing = [key for key, field in part["properties"].items() if "description" not in field]
        assert missing == [], name


def test_every_part_is_known_where_unknown_keys_are_told() -> None:
    ends = {part for part in parts() if not part.__subclasses__()}
    assert set(PARTS.values()) == ends


def test_every_part_has_its_section_in_the_reference() -> None:
    assert set(PART_TITLES) == set(json_schema()["$defs"])


def test_every_constraint_in_the_models_has_a_sentence() -> None:
    """What Pydantic may find wrong with a file, for the kinds of fields there are."""
    wrong: tuple[Any, ...] = (5, "x", None, -1, 10**12, 1.5, "", [], {"a": 5}, True, float("nan"), "9" * 5000)
    types = {kind for path in _leaves(json_schema()) for value in wrong for kind in _error_types(path, value)}
    assert len(types) > 10
    assert types - set(SENTENCES) <= {"extra_forbidden", "missing", "union_tag_not_found", "waypost_reference"}


def _leaves(schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    places: dict[str, tuple[str, ...]] = {
        "ServerSettings": ("server",),
        "LedgerSettings": ("ledger",),
        "JobSettings": ("jobs",),
        "WebhookSettings": ("webhooks",),
        "TelemetrySettings": ("telemetry",),
        "KeySettings": ("keys", "mine"),
        "VendorSettings": ("providers", "anthropic"),
        "OpenAISettings": ("providers", "openai"),
        "AzureOpenAISettings": ("providers", "azure_openai"),
        "VertexSettings": ("providers", "vertex"),
        "BedrockSettings": ("providers", "bedrock"),
        "LlamaCppSettings": ("providers", "llama_cpp"),
        "PluginProviderSettings": ("providers", "special"),
        "Deadlines": ("providers", "openai", "deadlines"),
        "RouteSettings": ("routes", "default"),
        "PolicySettings": ("routes", "default", "policy"),
        "CacheSettings": ("routes", "default", "cache"),
        "KindSettings": ("kinds", "mine"),
        "PriceSettings": ("prices", "openai/gpt"),
        "LongerPromptPrices": ("prices", "openai/gpt", "longer_prompts"),
        "TierPrices": ("prices", "openai/gpt", "tiers", "batch"),
        "TargetSettings": ("routes", "default", "targets"),
    }
    yield from ((key,) for key in schema["properties"])
    for name, part in schema["$defs"].items():
        yield from ((*places[name], key) for key in part["properties"])


def _error_types(path: tuple[str, ...], value: Any) -> set[str]:
    data: dict[str, Any] = {"providers": {kind: {"kind": kind} for kind in (*BUILT_IN_KINDS, "special")}}
    holder = data
    for step in path[:-1]:
        holder = holder.setdefault(step, {})
    holder[path[-1]] = value
    if path[-2:-1] == ("targets",):
        data["routes"]["default"]["targets"] = [holder]
    try:
        Settings.model_validate(data)
    except ValidationError as error:
        return {detail["type"] for detail in error.errors()}
    return set()


FILES: list[tuple[str, bool]] = [
    ("{}", True),
    ("server: {port: 1, log_level: debug}", True),
    ("server: {port: '${PORT:-1}', shutdown_grace_s: '${PORT:-1}', log_level: '${LEVEL:-info}'}", True),
    ("data_dir: null", True),
    ("providers: {o: {kind: openai, deadlines: {first_byte_s: null, idle_s: 2}}, l: {kind: llama_cpp}}", True),
    ("plugins: [special]\nproviders: {s: {kind: special, options: {a: [1]}}}", True),
    (
        "server: {host: 0.0.0.0}\nkeys: {a: {key: a-key-of-16-signs-or-more, admin: true, routes: [fast, 'openai/*']}}",
        True,
    ),
    ("providers: {o: {kind: openai, api_keys: [a, b], wire: responses, key_cool_down_s: 5}}", True),
    ("providers: {o: {kind: azure_openai, base_url: 'https://a.example', api_version: 2024-10-21-preview}}", True),
    ("providers: {o: {kind: vertex, project: ours}}", True),
    ("providers: {o: {kind: openai}}\nroutes: {r: {targets: [o, {target: o/x, weight: 3}], cache: {ttl_s: 5}}}", True),
    ("providers: {o: {kind: openai}}\nroutes: {r: {targets: [o], cache: null, policy: {fall_back_on: []}}}", True),
    (
        "prices: {openai/a: {input: 2.5, output: 15, tiers: {batch: {input: 1.25}}}, 'llama_cpp/*': {free: true}}",
        True,
    ),
    ("prices: {'*/a': {input: 1, longer_prompts: [{over: 10, input: 2}]}}", True),
    ("prices: {openai/a: {input: -1}}", False),
    ("prices: {openai/a: {input: cheap}}", False),
    ("prices: {openai/a: {imput: 1}}", False),
    ("prices: {openai/a: {input: 1, tiers: {batch: {free: true}}}}", False),
    ("prices: {openai/a: {input: 1, longer_prompts: [{input: 2}]}}", False),
    ("keys: {a: {key: a-key-of-16-signs-or-more, roots: []}}", False),
    ("keys: {a: {key: a-key-of-16-signs-or-more, admin: perhaps}}", False),
    ("keys: {a: {key: a-key-of-16-signs-or-more, routes: []}}", False),
    ("providers: {o: {kind: bedrock, region: eu-central-1, wire: chat}}", True),
    ("providers: {o: {kind: bedrock}}", False),
    ("providers: {o: {kind: azure_openai}}", False),
    ("providers: {o: {kind: anthropic, wire: chat}}", False),
    ("providers: {o: {kind: vertex, project: ours, api_key: x}}", False),
    ("providers: {o: {kind: openai, api_keys: []}}", False),
    ("providers: {o: {kind: openai}}\nroutes: {r: {targets: [{weight: 3}]}}", False),
    ("providers: {o: {kind: openai}}\nroutes: {r: {targets: [{target: o, weight: -1}]}}", False),
    ("providers: {o: {kind: openai}}\nroutes: {r: {targets: [o, {target: o/x, weight: 0}]}}", True),
    ("providers: {o: {kind: openai}}\nroutes: {r: {targets: [o], policy: {fall_back_on: [anything]}}}", False),
    ("server: {prot: 1}", False),
    ("server: {port: abc}", False),
    ("server: {port: 65536}", False),
    ("server: {log_level: loud}", False),
    ("providers: {o: {kind: openai, api_kye: x}}", False),
    ("providers: {o: {api_key: x}}", False),
    ("providers: {o: {kind: openai, deadlines: {idle_s: 0}}}", False),
    ("providers: {l: {kind: llama_cpp, parallel: 0}}", False),
    ("providers: {o: {kind: openai}}\nroutes: {default: {targets: []}}", False),
]


@pytest.mark.parametrize(("text", "valid"), FILES)
def test_schema_and_loader_agree(tmp_path: Path, text: str, valid: bool) -> None:
    file = tmp_path / "waypost.yaml"
    file.write_text(text)
    assert VALIDATOR.is_valid(yaml.safe_load(text)) is valid
    if valid:
        load_settings(file, {})
    else:
        with pytest.raises(InvalidSettings, match="line"):
            load_settings(file, {})


def test_the_example_fits_the_schema() -> None:
    text = (Path(__file__).parents[2] / "waypost.example.yaml").read_text()
    VALIDATOR.validate(yaml.safe_load(text))


def test_every_override_stands_for_a_setting_that_exists() -> None:
    for override in OVERRIDES:
        model: Any = Settings
        for step in override.path or ():
            field = model.model_fields[step]
            model = field.annotation
        assert override.meaning.endswith("."), override.variable
