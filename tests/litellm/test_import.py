"""waypost.litellm: configurations as people write them, each thing of theirs in the settings or told as left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from waypost.errors import ConfigurationError
from waypost.litellm import Finding, Imported, import_config
from waypost.litellm.deployments import READERS
from waypost.litellm.vendors import PREFIXES
from waypost.settings import Settings, load_settings


def take(tmp_path: Path, text: str) -> Imported:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return import_config(file)


def loaded(tmp_path: Path, imported: Imported) -> Settings:
    """By Waypost's own reader, with values for the variables."""
    file = tmp_path / "waypost.yaml"
    file.write_text(yaml.safe_dump(imported.settings))
    return load_settings(file, imported.placeholders)


def told(imported: Imported, where: str) -> list[str]:
    return [finding.text for finding in imported.findings if where in finding.where]


def one(tmp_path: Path, parameters: str, about: str = "{}") -> Imported:
    """One model, "m"."""
    text = f"model_list:\n  - model_name: m\n    litellm_params: {parameters}\n    model_info: {about}\n"
    return take(tmp_path, text)


BALANCED = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/our-gpt-4o
      api_base: https://ours-eu.openai.azure.com/
      api_key: os.environ/AZURE_KEY_EU
      api_version: "2024-10-21"
      rpm: 900
  - model_name: gpt-4o
    litellm_params:
      model: azure/our-gpt-4o
      api_base: https://ours-us.openai.azure.com
      api_key: os.environ/AZURE_KEY_US
      api_version: "2024-10-21"
      rpm: 100
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5}
router_settings:
  num_retries: 2
  timeout: 45
  stream_timeout: 7
  fallbacks: [{gpt-4o: [claude]}, {claude: [gpt-4o]}]
  content_policy_fallbacks: [{claude: [gpt-4o]}]
"""


def test_a_balanced_group_with_fallbacks(tmp_path: Path) -> None:
    """Two groups that fall back on each other, as is common, are no circle here."""
    settings = loaded(tmp_path, take(tmp_path, BALANCED))
    azure = settings.providers["azure"]
    assert azure.model_dump(include={"kind", "base_url", "api_version"}) == {
        "kind": "azure_openai",
        "base_url": "https://ours-eu.openai.azure.com",
        "api_version": "2024-10-21",
    }
    assert {name: provider.model_dump()["deadlines"]["total_s"] for name, provider in settings.providers.items()} == {
        "azure": 45,
        "azure-2": 45,
        "anthropic": 45,
    }
    shares = {str(target): share for target, share in settings.shares("gpt-4o").items()}
    assert shares == {
        "azure/our-gpt-4o": pytest.approx(0.9),
        "azure-2/our-gpt-4o": pytest.approx(0.1),
        "anthropic/claude-sonnet-4-5": 0,
    }
    policy = settings.policy("gpt-4o")
    assert (policy.balance, policy.max_retries, policy.max_attempts, policy.first_token_s) == ("weighted", 2, 9, 7)
    claude = settings.policy("claude")
    assert (claude.balance, claude.fall_back_on) == ("priority", ("context_length", "content_policy"))
    assert str(settings.targets("claude")[0]) == "anthropic/claude-sonnet-4-5"
    assert settings.targets("default") == settings.targets("gpt-4o")


def test_no_secret_is_copied_and_each_is_told(tmp_path: Path) -> None:
    imported = take(
        tmp_path,
        """
model_list:
  - {model_name: a, litellm_params: {model: openai/gpt-4o, api_key: sk-SECRET-one}}
  - {model_name: b, litellm_params: {model: openai/gpt-4o, api_key: sk-SECRET-two}}
  - {model_name: c, litellm_params: {model: openai/gpt-4o}}
  - model_name: d
    litellm_params:
      model: hosted_vllm/qwen
      api_base: http://10.0.0.1:8000/v1
      extra_headers: {Authorization: Bearer SECRET-three, X-Team: ours}
  - {model_name: e, litellm_params: {model: azure/x, litellm_credential_name: shared}}
  - {model_name: f, litellm_params: {model: bedrock/anthropic.claude-x, aws_secret_access_key: SECRET-four}}
  - {model_name: g, litellm_params: {model: vertex_ai/gemini-x, vertex_credentials: '{"private_key": "SECRET-five"}'}}
credential_list:
  - credential_name: shared
    credential_values: {api_key: SECRET-six, api_base: https://ours.openai.azure.com}
litellm_settings: {cache: true, cache_params: {type: redis, password: SECRET-seven}}
router_settings: {redis_password: SECRET-eight}
general_settings: {master_key: sk-SECRET-nine, database_url: "postgresql://u:SECRET-ten@h/d"}
environment_variables: {ANYTHING: SECRET-eleven}
""",
    )
    assert "SECRET" not in repr(imported).replace("SECRET_", "")
    settings = imported.settings
    keys = [settings["providers"][name]["api_key"] for name in ("openai", "openai-2", "openai-3", "azure")]
    assert keys == ["${OPENAI_API_KEY_2}", "${OPENAI_2_API_KEY}", "${OPENAI_API_KEY}", "${AZURE_API_KEY}"]
    assert settings["providers"]["hosted-vllm"]["headers"] == {
        "Authorization": "${HOSTED_VLLM_AUTHORIZATION}",
        "X-Team": "ours",
    }
    assert settings["keys"] == {"master": {"key": "${LITELLM_MASTER_KEY}", "admin": True}}
    assert settings["database_url"] == "${DATABASE_URL}"
    assert "set OPENAI_2_API_KEY to it" in told(imported, "providers.openai-2.api_key")[0]
    assert told(imported, "environment_variables.ANYTHING")
    assert "too short" in str(told(imported, "master_key"))
    assert set(imported.variables) >= {
        "OPENAI_API_KEY",
        "LITELLM_MASTER_KEY",
        "DATABASE_URL",
        "HOSTED_VLLM_AUTHORIZATION",
    }
    loaded(tmp_path, imported)


@pytest.mark.parametrize(
    ("parameters", "provider", "target"),
    [
        ("{model: gpt-4o}", {"kind": "openai", "api_key": "${OPENAI_API_KEY}"}, "openai/gpt-4o"),
        ("{model: claude-opus-5}", {"kind": "anthropic", "api_key": "${ANTHROPIC_API_KEY}"}, "anthropic/claude-opus-5"),
        ("{model: openai/gpt-4o, api_base: https://api.openai.com/v1}", {"kind": "openai"}, "openai/gpt-4o"),
        (
            "{model: openai/org/mistral, api_base: http://vllm:8000/v1/, api_key: os.environ/K}",
            {"kind": "openai_compatible", "base_url": "http://vllm:8000/v1", "api_key": "${K}"},
            "openai/org/mistral",
        ),
        (
            "{model: my-model, api_base: os.environ/OUR_URL}",
            {"kind": "openai_compatible", "base_url": "${OUR_URL}"},
            "openai/my-model",
        ),
        (
            "{model: qwen, custom_llm_provider: hosted_vllm, api_base: 'http://v:1/v1'}",
            {"kind": "openai_compatible", "base_url": "http://v:1/v1"},
            "hosted-vllm/qwen",
        ),
        (
            "{model: gemini/gemini-2.5-flash}",
            {"kind": "gemini", "api_key": "${GEMINI_API_KEY}"},
            "gemini/gemini-2.5-flash",
        ),
        (
            "{model: gemini/gemini-2.5-flash, api_base: 'https://proxy.example'}",
            {"kind": "gemini", "base_url": "https://proxy.example/v1beta"},
            "gemini/gemini-2.5-flash",
        ),
        (
            "{model: anthropic/claude-x, api_base: 'https://proxy.example/v1/messages'}",
            {"kind": "anthropic", "base_url": "https://proxy.example"},
            "anthropic/claude-x",
        ),
        (
            "{model: azure/o_series/our-o3, api_base: 'https://x.openai.azure.com/openai/deployments/y'}",
            {"kind": "azure_openai", "base_url": "https://x.openai.azure.com", "api_key": "${AZURE_API_KEY}"},
            "azure/our-o3",
        ),
        (
            "{model: azure/dep, api_base: os.environ/BASE, api_version: os.environ/VERSION}",
            {"kind": "azure_openai", "base_url": "${BASE}", "api_version": "${VERSION}"},
            "azure/dep",
        ),
        (
            "{model: vertex_ai/gemini-x, vertex_project: ours, vertex_location: eu, vertex_credentials: ./key.json}",
            {"kind": "vertex", "project": "ours", "region": "eu", "credentials_file": "./key.json"},
            "vertex-ai/gemini-x",
        ),
        (
            "{model: gemini-2.5-pro}",
            {"kind": "vertex", "project": "${VERTEXAI_PROJECT}", "region": "${VERTEXAI_LOCATION:-us-central1}"},
            "vertex-ai/gemini-2.5-pro",
        ),
        (
            "{model: bedrock/converse/us.anthropic.claude-x-v1:0, aws_region_name: us-east-1}",
            {"kind": "bedrock", "region": "us-east-1", "wire": "anthropic", "api_key": "${AWS_BEARER_TOKEN_BEDROCK}"},
            "bedrock/us.anthropic.claude-x-v1:0",
        ),
        (
            "{model: bedrock/eu-central-1/openai.gpt-oss-120b-1:0}",
            {"kind": "bedrock", "region": "eu-central-1", "wire": "chat"},
            "bedrock/openai.gpt-oss-120b-1:0",
        ),
        (
            "{model: ollama_chat/llama3, api_base: 'http://gpu:11434'}",
            {"kind": "openai_compatible", "base_url": "http://gpu:11434/v1"},
            "ollama-chat/llama3",
        ),
        (
            "{model: groq/llama-3.3-70b-versatile}",
            {"kind": "openai_compatible", "base_url": "https://api.groq.com/openai/v1", "api_key": "${GROQ_API_KEY}"},
            "groq/llama-3.3-70b-versatile",
        ),
        (
            "{model: openrouter/meta-llama/llama-3.3-70b, organization: org-1, timeout: 9}",
            {"headers": {"OpenAI-Organization": "org-1"}, "deadlines": {"total_s": 9}},
            "openrouter/meta-llama/llama-3.3-70b",
        ),
    ],
)
def test_each_way_to_name_a_provider(tmp_path: Path, parameters: str, provider: dict[str, Any], target: str) -> None:
    imported = one(tmp_path, parameters)
    name = target.partition("/")[0]
    taken = imported.settings["providers"][name]
    assert {key: taken.get(key) for key in provider} == provider
    assert imported.settings["routes"]["m"]["targets"] == [target]
    loaded(tmp_path, imported)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_makes_a_provider_that_waypost_takes(tmp_path: Path, prefix: str) -> None:
    model = "gemini-x" if prefix.startswith("vertex") else "anthropic.x"
    imported = one(tmp_path, f"{{model: {prefix}/{model}, api_base: 'https://base.example/v1'}}")
    loaded(tmp_path, imported)
    assert PREFIXES[prefix].kind in READERS


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("{model: sagemaker/x}", "does not know LiteLLM's provider sagemaker"),
        ("{model: who-knows}", "its name has no known provider"),
        ("{model: hosted_vllm/x}", "it has no api_base"),
        ("{model: ollama/x, api_base: your-base}", "its base_url cannot be used: must be an address such as"),
        ("{model: vertex_ai/claude-opus-5}", "Google's own models at Vertex AI only"),
        (
            "{model: azure_ai/claude-opus-5, api_base: 'https://x.services.ai.azure.com'}",
            "does not reach Claude at Azure",
        ),
        ("{model: openai/x, litellm_credential_name: gone}", "its credential gone is not in the file"),
        ("{model: openai/x, custom_llm_provider: replicate}", "does not know LiteLLM's provider replicate"),
        ("{model: openai/x, extra_headers: {'a b': c}}", "which is no header name"),
        ("{}", "it names no model"),
    ],
)
def test_what_cannot_be_taken_over_says_why(tmp_path: Path, parameters: str, reason: str) -> None:
    imported = one(tmp_path, parameters)
    assert imported.is_empty
    assert reason in told(imported, "model_list[0]")[0]


def test_names_that_routes_cannot_have_are_changed_and_told(tmp_path: Path) -> None:
    imported = take(
        tmp_path,
        """
model_list:
  - {model_name: "openai/gpt-4o", litellm_params: {model: openai/gpt-4o}}
  - {model_name: "team/our model", litellm_params: {model: openai/gpt-4o-mini}}
  - {model_name: "team our model", litellm_params: {model: openai/gpt-4o-mini}}
  - {model_name: openai, litellm_params: {model: groq/llama-x}}
  - {model_name: "groq/*", litellm_params: {model: "groq/*", api_key: os.environ/GROQ_API_KEY}}
  - {model_name: "*", litellm_params: {model: "openai/*", api_key: os.environ/OTHER}}
  - {model_name: "fast-*", litellm_params: {model: openai/gpt-4o-mini}}
router_settings:
  model_group_alias: {"GPT 4": openai/gpt-4o, mini: {model: "team/our model", hidden: true}, odd: nowhere}
""",
    )
    settings = loaded(tmp_path, imported)
    assert set(settings.routes) == {"openai-gpt-4o", "team-our-model", "team-our-model-2", "openai", "default"}
    assert settings.aliases == {"GPT-4": "openai-gpt-4o", "mini": "team-our-model"}
    assert settings.providers["groq"].kind == "openai_compatible", "groq/anything goes on meaning what it did"
    assert "ask for team-our-model-2" in told(imported, "(team our model)")[0]
    assert "openai-2/MODEL" in told(imported, "model_list[5]")[0]
    assert "a pattern cannot lead to one model" in told(imported, "model_list[6]")[0]
    assert not told(imported, "model_list[4]")
    assert "nowhere was not taken over" in told(imported, "model_group_alias.odd")[0]


def test_a_name_that_is_provider_and_model_already_needs_no_route(tmp_path: Path) -> None:
    imported = take(tmp_path, 'model_list: [{model_name: "openai/gpt-4o", litellm_params: {model: openai/gpt-4o}}]')
    assert "routes" not in imported.settings
    assert [str(target) for target in loaded(tmp_path, imported).targets("openai/gpt-4o")] == ["openai/gpt-4o"]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((None, None), [1, 1]),
        ((2, 1), [2, 1]),
        ((0.9, 0.1), [1000, 111]),
        ((60_000, 600), [1000, 10]),
        ((5, None), [5, 0]),
        ((10**9, 1), [1000, 1]),
    ],
)
def test_weights_keep_their_proportions(tmp_path: Path, weights: tuple[Any, ...], expected: list[int]) -> None:
    entries = [
        {"model_name": "m", "litellm_params": {"model": f"openai/m{number}", "weight": weight}}
        for number, weight in enumerate(weights)
    ]
    imported = take(tmp_path, yaml.safe_dump({"model_list": entries}))
    assert [weight for _, weight in loaded(tmp_path, imported).routes["m"].weights] == expected


def test_an_order_is_the_order_of_the_targets(tmp_path: Path) -> None:
    imported = take(
        tmp_path,
        """
model_list:
  - {model_name: m, litellm_params: {model: openai/third, order: 2}}
  - {model_name: m, litellm_params: {model: openai/first, order: 1}}
  - {model_name: m, litellm_params: {model: openai/second, order: 1}}
""",
    )
    assert imported.settings["routes"]["m"]["targets"] == ["openai/first", "openai/second", "openai/third"]
    assert "one after the other" in told(imported, ".order")[0]


@pytest.mark.parametrize(
    ("strategy", "balance"),
    [
        ("simple-shuffle", "weighted"),
        ("latency-based-routing", "least_latency"),
        ("least-busy", "weighted"),
        ("usage-based-routing-v2", "weighted"),
        ("cost-based-routing", "priority"),
        ("something-new", "weighted"),
    ],
)
def test_strategies(tmp_path: Path, strategy: str, balance: str) -> None:
    entries = [{"model_name": "m", "litellm_params": {"model": model}} for model in ("gpt-4o", "gpt-5")]
    written = {"model_list": entries, "router_settings": {"routing_strategy": strategy}}
    imported = take(tmp_path, yaml.safe_dump(written))
    assert loaded(tmp_path, imported).policy("m").balance == balance
    assert bool(told(imported, "routing_strategy")) is (strategy not in ("simple-shuffle", "latency-based-routing"))


def test_prices_for_a_token_become_prices_for_a_million_exactly(tmp_path: Path) -> None:
    costs = (
        "input_cost_per_token: 0.00000125, output_cost_per_token: 1e-05, cache_read_input_token_cost: 1.25e-07, "
        "cache_creation_input_token_cost: 0.0000015625, cache_creation_input_token_cost_above_1hr: 2.5e-06, "
        "output_cost_per_reasoning_token: 0.00001, input_cost_per_audio_token: 1e-06, "
        "input_cost_per_token_above_200k_tokens: 2.5e-06, output_cost_per_token_above_200k_tokens: 1.5e-05, "
        "input_cost_per_token_batches: 6.25e-07, output_cost_per_token_batches: 5e-06, input_cost_per_second: 0.1, "
        "output_cost_per_image: 0.04, cache_read_input_token_cost_flex: 1e-13"
    )
    imported = one(tmp_path, "{model: hosted_vllm/m, api_base: 'http://v:1/v1'}", f"{{{costs}}}")
    assert imported.settings["prices"] == {
        "hosted-vllm/m": {
            "input": 1.25,
            "output": 10,
            "cache_read": 0.125,
            "cache_write_5m": 1.5625,
            "cache_write_1h": 2.5,
            "reasoning": 10,
            "input_audio": 1,
            "longer_prompts": [{"over": 200_000, "input": 2.5, "output": 15}],
            "tiers": {"batch": {"input": 0.625, "output": 5, "longer_prompts": []}},
        }
    }
    assert [told(imported, f".{name}") != [] for name in ("input_cost_per_second", "output_cost_per_image")] == [
        True
    ] * 2
    assert "finer than a millionth" in told(imported, "cache_read_input_token_cost_flex")[0]
    loaded(tmp_path, imported)


@pytest.mark.parametrize(
    ("costs", "price"),
    [
        ("{input_cost_per_token: 0, output_cost_per_token: 0}", {"free": True}),
        ("{output_cost_per_token: 0.1}", None),
        ("{input_cost_per_token: null}", None),
        ("{input_cost_per_token: dear}", None),
    ],
)
def test_prices_that_say_little(tmp_path: Path, costs: str, price: dict[str, Any] | None) -> None:
    prices = one(tmp_path, "{model: openai/m}", costs).settings.get("prices", {})
    assert prices.get("openai/m") == price


def test_everything_that_is_not_understood_is_told(tmp_path: Path) -> None:
    """One line of the report for each key of the file that did nothing."""
    imported = take(
        tmp_path,
        """
model_list:
  - model_name: m
    litellm_params: {model: openai/gpt-4o, temperature: 0.3, brand_new: 1, tags: [a], max_parallel_requests: 3}
    model_info: {id: x, access_groups: [beta], supports_vision: true}
  - model_name: pictures
    litellm_params: {model: openai/gpt-image-1}
    model_info: {mode: image_generation}
litellm_settings: {success_callback: [langfuse], set_verbose: true, max_budget: 5, brand_new: 1, json_logs: false}
router_settings: {allowed_fails: 3, cooldown_time: 30, redis_host: h, brand_new: 1, enable_pre_call_checks: true}
general_settings: {alerting: [slack], store_model_in_db: true, brand_new: 1, completion_model: gone}
guardrails: [{guardrail_name: g}]
mcp_servers: {m: {url: u}}
brand_new: {}
""",
    )
    left_out = {finding.where for finding in imported.findings if finding.outcome == "left out"}
    assert left_out == {
        "model_list[0] (m).temperature",
        "model_list[0] (m).brand_new",
        "model_list[0] (m).tags",
        "model_list[0] (m).max_parallel_requests",
        "model_list[0] (m).model_info",
        "model_list[1] (pictures)",
        "litellm_settings.success_callback",
        "litellm_settings.set_verbose",
        "litellm_settings.max_budget",
        "litellm_settings.brand_new",
        "router_settings.allowed_fails",
        "router_settings.cooldown_time",
        "router_settings.redis_host",
        "router_settings.brand_new",
        "router_settings.enable_pre_call_checks",
        "general_settings.alerting",
        "general_settings.store_model_in_db",
        "general_settings.brand_new",
        "general_settings.completion_model",
        "guardrails",
        "mcp_servers",
        "brand_new",
    }
    assert all(not finding.text.endswith(".") and len(finding.text) > 10 for finding in imported.findings)


def test_fallbacks_may_name_a_deployment_and_hold_for_all(tmp_path: Path) -> None:
    imported = take(
        tmp_path,
        """
model_list:
  - {model_name: a, litellm_params: {model: openai/one}, model_info: {id: the-one}}
  - {model_name: a, litellm_params: {model: openai/two}}
  - {model_name: b, litellm_params: {model: groq/three}}
litellm_settings:
  default_fallbacks: [the-one]
  fallbacks: [{b: [a, gone, {model: x, messages: []}]}]
  context_window_fallbacks: [{a: [b]}]
""",
    )
    routes = imported.settings["routes"]
    assert routes["b"]["targets"] == ["groq/three", "openai/one", "openai/two"]
    assert routes["a"]["targets"] == ["openai/one", "openai/two", {"target": "groq/three", "weight": 0}]
    assert told(imported, "fallbacks.b") == [
        "a fallback with parameters of its own",
        "gone was not taken over, or is not in the file",
    ]
    assert "after other failures too" in told(imported, "context_window_fallbacks.a")[0]


def test_files_that_are_included_count(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("model_list: [{model_name: b, litellm_params: {model: openai/two}}]")
    imported = take(
        tmp_path,
        "include: [models.yaml]\nmodel_list: [{model_name: a, litellm_params: {model: openai/one}}]\n",
    )
    assert {"a", "b"} <= set(imported.settings["routes"])


def test_limits_of_the_server_and_the_cache(tmp_path: Path) -> None:
    imported = take(
        tmp_path,
        """
model_list: [{model_name: a, litellm_params: {model: openai/one, stream_timeout: 3, timeout: 900}}]
litellm_settings: {cache: true, cache_params: {type: local, ttl: 60}, request_timeout: 20, drop_params: true}
router_settings: {retry_after: 2, num_retries: 99}
general_settings: {global_max_parallel_requests: 50, max_request_size_mb: 3, completion_model: a}
""",
    )
    settings = loaded(tmp_path, imported)
    assert (settings.server.max_in_flight, settings.server.max_body_bytes) == (50, 3 * 1024 * 1024)
    cache, policy = settings.cache("a"), settings.policy("a")
    assert cache is not None
    assert (cache.ttl_s, policy.unsupported, policy.max_retries, policy.max_attempts) == (60, "drop", 10, 11)
    assert (policy.backoff_first_s, policy.first_token_s, policy.total_s) == (2, 3, 900)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("providers: {}", "holds no model_list"),
        ("", "holds no model_list"),
        ("model_list: {}", "holds no model_list"),
        ("model_list: [", "not valid YAML"),
        ("model_list: []\nmodel_list: []", "is there twice"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        take(tmp_path, text)


def test_an_empty_list_takes_over_nothing(tmp_path: Path) -> None:
    imported = take(tmp_path, "model_list: [5, {}, {model_name: x}]")
    assert imported.is_empty
    assert len([finding for finding in imported.findings if finding.outcome == "left out"]) == 3
    assert isinstance(imported.findings[0], Finding)
