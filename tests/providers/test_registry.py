"""providers/registry.py: settings become providers; plugins load only when they are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from waypost.errors import ConfigurationError
from waypost.providers.registry import create_providers
from waypost.settings import Settings
from waypost.settings.providers import HTTP_TAGS

PLUGIN = """
LOADED = []

class Echo:
    default_model = "echo-1"
    slow_start = False
    def __init__(self, name, options):
        self.name, self.options = name, options

def create(name, options):
    LOADED.append(name)
    return Echo(name, options)
"""


def settings(providers: dict[str, Any], **others: Any) -> Settings:
    return Settings.model_validate({"providers": providers, **others})


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package on the path that offers the kind "echo"."""
    (tmp_path / "echo_plugin.py").write_text(PLUGIN)
    metadata = tmp_path / "echo_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[waypost.providers]\necho = echo_plugin:create\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "echo_plugin", raising=False)
    return "echo"


def test_built_in_kinds_keep_the_files_order_and_their_names() -> None:
    made = create_providers(
        settings(
            {
                "second-account": {"kind": "openai", "api_key": "key-1"},
                "claude": {"kind": "anthropic", "api_key": "key-2", "default_model": "claude-x"},
                "vllm": {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"},
                "small": {"kind": "llama_cpp", "model": "/models/my-model.gguf"},
            }
        )
    )
    assert [(name, provider.name, provider.default_model) for name, provider in made.items()] == [
        ("second-account", "second-account", "gpt-5.4-mini"),
        ("claude", "claude", "claude-x"),
        ("vllm", "vllm", None),
        ("small", "small", "my-model"),
    ]


def test_every_kind_over_http_can_be_made() -> None:
    needs = {
        "openai_compatible": {"base_url": "http://127.0.0.1:9/v1"},
        "azure_openai": {"base_url": "http://127.0.0.1:9"},
        "vertex": {"project": "ours"},
        "bedrock": {"region": "eu-central-1"},
    }
    made = create_providers(settings({f"a-{kind}": {"kind": kind, **needs.get(kind, {})} for kind in HTTP_TAGS}))
    assert [provider.name for provider in made.values()] == [f"a-{kind}" for kind in HTTP_TAGS]


def test_making_one_vendor_loads_no_other_and_nothing_of_the_clouds() -> None:
    code = """
import sys
from waypost.providers.registry import create_providers
from waypost.settings import Settings
create_providers(Settings.model_validate({"providers": {"o": {"kind": "openai", "api_key": "k"}}}))
print([name for name in sys.modules if name.startswith(("google", "waypost.providers.", "waypost.codecs."))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    for absent in ("google", "gemini", "anthropic", "azure", "vertex", "bedrock", "responses"):
        assert absent not in done.stdout


def test_a_vendor_without_a_key_says_how_to_set_one() -> None:
    (state,) = [provider.state() for provider in create_providers(settings({"a": {"kind": "anthropic"}})).values()]
    assert state.status == "unavailable"
    assert "ANTHROPIC_API_KEY" in state.detail


def test_a_plugin_that_is_named_is_loaded_with_its_options(plugin: str) -> None:
    (made,) = create_providers(
        settings({"mine": {"kind": plugin, "options": {"volume": 11}}}, plugins=[plugin])
    ).values()
    assert (made.name, made.options) == ("mine", {"volume": 11})  # type: ignore[attr-defined]


def test_an_installed_plugin_that_is_not_named_is_not_loaded(plugin: str) -> None:
    with pytest.raises(ConfigurationError, match='add "echo" to plugins'):
        create_providers(settings({"mine": {"kind": plugin}}))
    assert "echo_plugin" not in sys.modules


def test_a_plugin_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigurationError, match='No installed package offers the plugin "absent"'):
        create_providers(settings({"mine": {"kind": "absent"}}, plugins=["absent"]))
