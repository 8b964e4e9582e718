"""Ready-made providers of the library face: `AnthropicProvider(api_key)` and its like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waypost.errors import ConfigurationError
from waypost.manager.provider import ModelProvider
from waypost.providers import anthropic, gemini, openai, openai_compatible
from waypost.providers.hosted import HostedOptions
from waypost.providers.vendors import ANTHROPIC, GEMINI, OPENAI, Vendor


class AnthropicProvider(ModelProvider):
    """Claude models. `options` are those of HostedOptions: base_url, default_model, headers, deadlines, proxy, ca_file.

    Without `api_key` the variable ANTHROPIC_API_KEY is read. Raises ConfigurationError if there is none.
    """

    def __init__(self, api_key: str | None = None, *, name: str = "anthropic", **options: Any) -> None:
        super().__init__(anthropic.create(name, HostedOptions(api_key=_key(api_key, ANTHROPIC), **options)))


class OpenAIProvider(ModelProvider):
    """OpenAI's models. As AnthropicProvider, with OPENAI_API_KEY."""

    def __init__(self, api_key: str | None = None, *, name: str = "openai", **options: Any) -> None:
        super().__init__(openai.create(name, HostedOptions(api_key=_key(api_key, OPENAI), **options)))


class GeminiProvider(ModelProvider):
    """Google's Gemini models. As AnthropicProvider, with GEMINI_API_KEY."""

    def __init__(self, api_key: str | None = None, *, name: str = "gemini", **options: Any) -> None:
        super().__init__(gemini.create(name, HostedOptions(api_key=_key(api_key, GEMINI), **options)))


class OpenAICompatibleProvider(ModelProvider):
    """Any server that speaks OpenAI's chat format, at `base_url` (with its /v1, where it has one)."""

    def __init__(
        self, base_url: str, api_key: str | None = None, *, name: str = "openai_compatible", **options: Any
    ) -> None:
        super().__init__(openai_compatible.create(name, HostedOptions(api_key=api_key, base_url=base_url, **options)))


class LocalProvider(ModelProvider):
    """A model run on this machine: a name from `waypost models list`, or a path to a .gguf file."""

    def __init__(
        self,
        model: str = "smollm2-135m-instruct",
        *,
        name: str = "local",
        data_dir: Path | None = None,
        context_tokens: int = 4096,
    ) -> None:
        from waypost.providers import llama_cpp
        from waypost.settings import LlamaCppSettings, Settings

        settings = LlamaCppSettings(model=model, context_tokens=context_tokens)
        folder = data_dir / "models" if data_dir else Settings().models_folder
        super().__init__(llama_cpp.create(name, settings, folder))


def _key(given: str | None, vendor: Vendor, environ: Mapping[str, str] = os.environ) -> str:
    key = given or environ.get(vendor.environment, "")
    if not key:
        raise ConfigurationError(
            f"No API key for {vendor.kind}.", hint=f"Pass api_key, or set the variable {vendor.environment}."
        )
    return key
