"""What settings come out of which file and environment."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from waypost.errors import ConfigurationError
from waypost.settings import (
    HttpProviderSettings,
    KeyedProviderSettings,
    KeySettings,
    LlamaCppSettings,
    PluginProviderSettings,
    PolicySettings,
    Settings,
    Target,
    json_schema,
    load_settings,
    read_settings,
    unknown_variables,
)

KEYS = {"ANTHROPIC_API_KEY": "sk-ant-1", "OPENAI_API_KEY": "sk-2"}
OTHER_KEYS = ("OPENROUTER_API_KEY", "OPENAI_API_KEY_2", "APPLICATION_KEY")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "given.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_file_and_keys_only_the_local_model_answers() -> None:
    settings = load_settings(environ={})
    assert settings.providers == {"local": LlamaCppSettings()}
    assert settings.targets() == (Target("local"),)
    assert settings == Settings()


@pytest.mark.parametrize(
    ("environ", "providers", "targets"),
    [
        (KEYS, ["anthropic", "openai", "local"], (Target("anthropic"), Target("openai"))),
        ({"OPENAI_API_KEY": "k"}, ["openai", "local"], (Target("openai"),)),
        ({"ANTHROPIC_API_KEY": "k"}, ["anthropic", "local"], (Target("anthropic"),)),
        (
            {"GEMINI_API_KEY": "k", "OPENAI_API_KEY": "k"},
            ["openai", "gemini", "local"],
            (Target("openai"), Target("gemini")),
        ),
        ({"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": " "}, ["local"], (Target("local"),)),
    ],
)
def test_keys_in_the_environment_make_providers_and_the_default_route_leaves_the_local_model_out(
    environ: dict[str, str], providers: list[str], targets: tuple[Target, ...]
) -> None:
    settings = load_settings(environ=environ)
    assert list(settings.providers) == providers
    assert settings.targets() == targets
    assert settings.targets("local") == (Target("local"),)


def test_base_urls_in_the_environment_go_with_their_keys() -> None:
    environ = {**KEYS, "ANTHROPIC_BASE_URL": "http://127.0.0.1:8100/", "OPENAI_BASE_URL": "http://127.0.0.1:8100/v1"}
    settings = load_settings(environ=environ)
    addresses = [getattr(settings.providers[name], "base_url", None) for name in ("anthropic", "openai")]
    assert addresses == ["http://127.0.0.1:8100", "http://127.0.0.1:8100/v1"]


def test_a_file_without_providers_still_takes_them_from_the_environment(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "server: {port: 9000}\nproviders:\n"), KEYS)
    assert (settings.server.port, list(settings.providers)) == (9000, ["anthropic", "openai", "local"])


@pytest.mark.parametrize(
    ("providers", "targets"),
    [
        ("{l: {kind: llama_cpp}, b: {kind: openai}, a: {kind: anthropic}}", ["b", "a"]),
        ("{l: {kind: llama_cpp}, m: {kind: llama_cpp}}", ["l", "m"]),
    ],
)
def test_the_default_route_is_the_files_order_and_local_models_only_if_there_is_nothing_else(
    tmp_path: Path, providers: str, targets: list[str]
) -> None:
    settings = load_settings(write(tmp_path, f"providers: {providers}"), {})
    assert [str(target) for target in settings.targets()] == targets


def test_every_kind_of_provider_is_read_with_its_own_keys(tmp_path: Path) -> None:
    text = """
providers:
  vllm:
    {kind: openai_compatible, base_url: "http://127.0.0.1:8001/v1/", headers: {X-Team: blue}, deadlines: {idle_s: 5}}
  local: {kind: llama_cpp, model: weights/tiny.gguf, threads: 3}
  mine: {kind: special, options: {deep: {list: [1]}}}
plugins: [special]
"""
    settings = load_settings(write(tmp_path, text), {})
    vllm, local, mine = settings.providers.values()
    assert isinstance(vllm, HttpProviderSettings)
    assert (vllm.base_url, vllm.headers, vllm.deadlines.idle_s) == ("http://127.0.0.1:8001/v1", {"X-Team": "blue"}, 5)
    assert isinstance(local, LlamaCppSettings)
    assert (local.model, local.threads) == (str(tmp_path / "weights/tiny.gguf"), 3)
    assert isinstance(mine, PluginProviderSettings)
    assert mine.options == {"deep": {"list": [1]}}


def test_routes_and_aliases_are_followed_to_targets_each_once(tmp_path: Path) -> None:
    text = """
providers: {a: {kind: anthropic}, o: {kind: openai}}
routes: {best: {targets: [quick, a/large, o]}, safe: {targets: [best, default, "o/x/y"]}}
aliases: {quick: o/small, top: safe}
"""
    settings = load_settings(write(tmp_path, text), {})
    assert [str(target) for target in settings.targets("top")] == ["o/small", "a/large", "o", "a", "o/x/y"]


def test_a_long_chain_of_aliases_is_followed_without_recursion(tmp_path: Path) -> None:
    chain = "".join(f"  a{number}: a{number + 1}\n" for number in range(1500))
    settings = load_settings(write(tmp_path, f"providers: {{o: {{kind: openai}}}}\naliases:\n{chain}  a1500: o\n"), {})
    assert settings.targets("a0") == (Target("o"),)


@pytest.mark.parametrize(
    ("written", "environ", "value"),
    [
        ("${MODEL}", {"MODEL": "m1"}, "m1"),
        ("${MODEL:-m2}", {}, "m2"),
        ("${MODEL:-m2}", {"MODEL": ""}, "m2"),
        ("a-${MODEL}-${SIZE:-s}", {"MODEL": "m"}, "a-m-s"),
        ("$${MODEL}", {"MODEL": "m"}, "${MODEL}"),
        ("$MODEL", {"MODEL": "m"}, "$MODEL"),
        ("${MODEL}", {"MODEL": "${SIZE}", "SIZE": "s"}, "${SIZE}"),
    ],
)
def test_variables_in_values(tmp_path: Path, written: str, environ: dict[str, str], value: str) -> None:
    file = write(tmp_path, f'providers: {{o: {{kind: openai, default_model: "{written}"}}}}')
    provider = load_settings(file, environ).providers["o"]
    assert isinstance(provider, HttpProviderSettings)
    assert provider.default_model == value


def test_a_variable_fits_a_number_too(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, 'server: {port: "${PORT:-81}"}'), {"PORT": "82"}).server.port == 82


def test_the_environment_comes_before_the_file_and_options_come_before_both(tmp_path: Path) -> None:
    file = write(tmp_path, "server: {port: 1, host: localhost, log_level: error, max_body_bytes: 5000}")
    environ = {
        "WAYPOST_PORT": "2",
        "WAYPOST_HOST": "127.0.0.2",
        "WAYPOST_LOG_LEVEL": "DEBUG",
        "WAYPOST_CORS_ORIGINS": "http://a.example, http://b.example:81/",
        "WAYPOST_SHUTDOWN_GRACE_S": "1.5",
        "WAYPOST_MAX_BODY_BYTES": "",
        "WAYPOST_DATA_DIR": "there",
        "WAYPOST_MODELS_DIR": "/models",
        "WAYPOST_WORKERS": "3",
    }
    settings = read_settings(file, environ, {"--port": (("server", "port"), 3)}).settings
    server = settings.server
    assert (server.port, server.host, server.log_level, server.max_body_bytes) == (3, "127.0.0.2", "debug", 5000)
    assert server.cors_origins == ("http://a.example", "http://b.example:81")
    assert (server.shutdown_grace_s, settings.data_dir, server.workers) == (1.5, tmp_path / "there", 3)
    assert settings.models_folder == Path("/models")


def test_the_file_is_the_named_one_then_the_environments_then_the_usual_one(tmp_path: Path) -> None:
    for name, port in (("named", 1), ("variable", 2), ("waypost", 3)):
        (tmp_path / f"{name}.yaml").write_text(f"server: {{port: {port}}}")
    environ = {"WAYPOST_CONFIG": "variable.yaml"}
    assert load_settings(Path("named.yaml"), environ).server.port == 1
    assert load_settings(None, environ).server.port == 2
    assert load_settings(None, {}).server.port == 3
    Path("waypost.yaml").unlink()
    assert load_settings(None, {}).server.port == 8000


@pytest.mark.parametrize(
    ("path", "environ", "text"),
    [
        (Path("nope.yaml"), {}, "nope.yaml does not exist. Name another file, or write one with: waypost config init"),
        (
            None,
            {"WAYPOST_CONFIG": "gone.yaml"},
            "WAYPOST_CONFIG names the file gone.yaml, which does not exist. Correct it or unset it.",
        ),
        (Path(), {}, ". cannot be read: Is a directory."),
    ],
)
def test_a_named_file_that_cannot_be_read_is_an_error(path: Path | None, environ: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, environ)
    assert str(caught.value) == text


def test_paths_in_the_file_are_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    text = """
data_dir: data
models_dir: models
providers:
  o: {kind: openai, ca_file: ca.pem, api_key_file: keys}
  l: {kind: llama_cpp, model: plain-name}
"""
    file = write(folder, text)
    settings = load_settings(file.relative_to(tmp_path), {})
    hosted, local = settings.providers.values()
    assert (settings.data_dir, settings.models_folder) == (folder / "data", folder / "models")
    assert isinstance(hosted, KeyedProviderSettings)
    assert (hosted.ca_file, hosted.api_key_file) == (folder / "ca.pem", folder / "keys")
    assert isinstance(local, LlamaCppSettings)
    assert local.model == "plain-name"


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings(write(tmp_path, "data_dir: ~/w"), {}).data_dir == tmp_path / "home/w"


def test_models_are_in_the_data_folder_unless_they_have_one_of_their_own(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "data_dir: d"), {})
    assert settings.models_folder == tmp_path / "d" / "models"


def test_yaml_anchors_and_merge_keys_work_and_the_mappings_own_keys_win(tmp_path: Path) -> None:
    text = """
providers:
  a: &a {kind: openai, default_model: one, deadlines: {idle_s: 7}}
  b: {<<: *a, default_model: two}
"""
    first, second = load_settings(write(tmp_path, text), {}).providers.values()
    assert isinstance(first, HttpProviderSettings)
    assert isinstance(second, HttpProviderSettings)
    assert (first.default_model, second.default_model, second.deadlines.idle_s) == ("one", "two", 7)


def test_a_file_in_utf8_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfserver: {port: 5}")
    assert load_settings(file, {}).server.port == 5


def test_no_text_form_shows_a_secret(tmp_path: Path) -> None:
    text = """
providers:
  o: {kind: openai, api_key: "SECRET1", headers: {X-Key: SECRET2}, proxy: "http://user:SECRET3@proxy:3128"}
  p: {kind: special, options: {token: SECRET4, deep: [SECRET5]}}
  q: {kind: openai, api_keys: [SECRET6, SECRET7]}
plugins: [special]
keys:
  a: {key: SECRET8-of-16-signs}
  b: {sha256: "${HASH}"}
"""
    settings = load_settings(write(tmp_path, text), {"HASH": "5EC2E7" + "0" * 58})
    forms = [repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())]
    forms += [json.dumps(settings.model_dump(mode="json")), f"{settings.providers}"]
    assert [form for form in forms if "SECRET" in form or "5ec2e7" in form.lower()] == []
    provider = settings.providers["o"]
    assert isinstance(provider, KeyedProviderSettings)
    assert provider.api_key is not None
    assert provider.api_key.get_secret_value() == "SECRET1"
    assert (provider.headers, provider.proxy) == ({"X-Key": "SECRET2"}, "http://user:SECRET3@proxy:3128")


def test_a_key_loses_the_line_break_that_files_of_secrets_end_with() -> None:
    provider = load_settings(environ={"OPENAI_API_KEY": "k\n"}).providers["openai"]
    assert isinstance(provider, KeyedProviderSettings)
    assert provider.api_key is not None
    assert provider.api_key.get_secret_value() == "k"


def test_a_key_is_known_by_its_hash_whichever_form_it_is_written_in(tmp_path: Path) -> None:
    key = "a-key-of-16-signs-or-more"
    text = f"""
keys:
  plain: {{key: "${{KEY}}"}}
  hashed: {{sha256: {sha256(b"another-key-of-16-signs").hexdigest()}, admin: true}}
"""
    keys = load_settings(write(tmp_path, text), {"KEY": key}).keys
    assert keys["plain"].digest() == sha256(key.encode()).digest()
    assert keys["hashed"].digest() == sha256(b"another-key-of-16-signs").digest()
    assert [keys[name].admin for name in keys] == [False, True]


@pytest.mark.parametrize(
    ("routes", "name", "allowed"),
    [
        (None, "anything/at-all", True),
        (("fast",), "fast", True),
        (("fast",), "faster", False),
        (("fast",), "FAST", False),
        (("fast", "openai/*"), "openai/gpt-5", True),
        (("openai/gpt-?",), "openai/gpt-55", False),
    ],
)
def test_a_key_may_ask_for_what_its_patterns_name(routes: tuple[str, ...] | None, name: str, allowed: bool) -> None:
    key = KeySettings.model_validate({"key": "a-key-of-16-signs-or-more", "routes": routes})
    assert key.allows(name) is allowed


def test_a_route_hands_its_share_on_by_weight(tmp_path: Path) -> None:
    text = """
providers: {a: {kind: anthropic}, o: {kind: openai}, g: {kind: gemini}}
routes:
  all: {targets: [{target: half, weight: 3}, a]}
  half: {targets: [o/x, {target: quick, weight: 2}, a]}
aliases: {quick: g, top: all}
"""
    settings = load_settings(write(tmp_path, text), {})
    shares = {str(target): share for target, share in settings.shares("top").items()}
    assert list(shares) == [str(target) for target in settings.targets("top")] == ["o/x", "g", "a"]
    assert shares == pytest.approx({"o/x": 3 / 16, "g": 6 / 16, "a": 3 / 16 + 1 / 4})
    assert settings.shares("o/y") == {Target("o", "y"): 1.0}


def test_a_target_of_weight_0_has_no_share_and_neither_has_what_it_leads_to() -> None:
    routes = {
        "all": {"targets": ["local/a", {"target": "others", "weight": 0}]},
        "others": {"targets": ["local/b", "local/a"]},
    }
    settings = Settings.model_validate({"routes": routes})
    assert settings.shares("all") == {Target("local", "a"): 1.0, Target("local", "b"): 0.0}


def test_shares_over_ever_forking_routes_are_found_in_no_time() -> None:
    """Each of 60 routes names the next one twice: 2^60 ways, one target."""
    routes = {f"r{level}": {"targets": [f"r{level + 1}", f"r{level + 1}"]} for level in range(60)}
    settings = Settings.model_validate({"routes": {**routes, "r60": {"targets": ["local"]}}})
    assert settings.shares("r0") == {Target("local"): pytest.approx(1)}


def test_policy_and_cache_are_those_of_the_route_an_alias_leads_to() -> None:
    route = {"targets": ["local"], "policy": {"balance": "weighted"}, "cache": {"ttl_s": 7}}
    settings = Settings.model_validate({"routes": {"r": route}, "aliases": {"x": "y", "y": "r"}})
    cache = settings.cache("x")
    assert settings.policy("x").balance == "weighted"
    assert cache is not None
    assert cache.ttl_s == 7
    assert (settings.cache("default"), settings.cache("nobody")) == (None, None)
    assert settings.policy("nobody") == PolicySettings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().server.port = 5


def test_unknown_variables_come_with_the_nearest_one() -> None:
    environ = {"WAYPOST_PROT": "1", "WAYPOST_PORT": "1", "WAYPOST_QQ": "1", "OTHER": "1"}
    assert unknown_variables(environ) == (("WAYPOST_PROT", "WAYPOST_PORT"), ("WAYPOST_QQ", None))


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WAYPOST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WAYPOST_PORT", "123")
    assert load_settings().server.port == 123


def test_the_example_is_valid() -> None:
    example = Path(__file__).parents[2] / "waypost.example.yaml"
    assert example.read_text().splitlines()[0] == "# yaml-language-server: $schema=./docs/reference/waypost.schema.json"
    secret = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    others = {**dict.fromkeys(OTHER_KEYS, "a-key-of-16-signs-or-more"), "WEBHOOK_SECRET": secret}
    settings = load_settings(example, {**KEYS, **others})
    assert [str(target) for target in settings.targets("offline")] == ["vllm", "local"]


def test_the_example_holds_every_setting() -> None:
    """But those that only a plugin's provider has."""
    written = set(keys_in(yaml.safe_load((Path(__file__).parents[2] / "waypost.example.yaml").read_text())))
    schema = json_schema()
    parts = {"": schema, **schema["$defs"]}
    named = {key for name, part in parts.items() if name != "PluginProviderSettings" for key in part["properties"]}
    assert named - written == set()


def keys_in(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from keys_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys_in(item)
