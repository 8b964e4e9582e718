"""What LiteLLM's prefixes of models' names stand for here, as data: a kind, and perhaps an address and a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Prefix:
    """`base_url` None: the vendor's own, or the file must say it. `variable` is where LiteLLM looks for a key."""

    kind: str
    variable: str | None = None
    base_url: str | None = None


def _compatible(base_url: str | None, variable: str | None = None) -> Prefix:
    return Prefix("openai_compatible", variable, base_url)


PREFIXES: Final[Mapping[str, Prefix]] = {
    "openai": Prefix("openai", "OPENAI_API_KEY"),
    "anthropic": Prefix("anthropic", "ANTHROPIC_API_KEY"),
    "gemini": Prefix("gemini", "GEMINI_API_KEY"),
    "azure": Prefix("azure_openai", "AZURE_API_KEY"),
    "azure_ai": Prefix("azure_openai", "AZURE_AI_API_KEY"),
    "vertex_ai": Prefix("vertex"),
    "vertex_ai_beta": Prefix("vertex"),
    "bedrock": Prefix("bedrock", "AWS_BEARER_TOKEN_BEDROCK"),
    "bedrock_converse": Prefix("bedrock", "AWS_BEARER_TOKEN_BEDROCK"),
    "ollama": _compatible("http://localhost:11434/v1"),
    "ollama_chat": _compatible("http://localhost:11434/v1"),
    "groq": _compatible("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": _compatible("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "codestral": _compatible("https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY"),
    "deepseek": _compatible("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "xai": _compatible("https://api.x.ai/v1", "XAI_API_KEY"),
    "together_ai": _compatible("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "fireworks_ai": _compatible("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "perplexity": _compatible("https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "openrouter": _compatible("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "cerebras": _compatible("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "cohere": _compatible("https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY"),
    "cohere_chat": _compatible("https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY"),
    "nvidia_nim": _compatible("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "deepinfra": _compatible("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "sambanova": _compatible("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    "moonshot": _compatible("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    "zai": _compatible("https://api.z.ai/api/paas/v4", "ZAI_API_KEY"),
    "minimax": _compatible("https://api.minimax.io/v1", "MINIMAX_API_KEY"),
    "dashscope": _compatible("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
    "novita": _compatible("https://api.novita.ai/v3/openai", "NOVITA_API_KEY"),
    "hyperbolic": _compatible("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY"),
    "ai21": _compatible("https://api.ai21.com/studio/v1", "AI21_API_KEY"),
    "ai21_chat": _compatible("https://api.ai21.com/studio/v1", "AI21_API_KEY"),
    "voyage": _compatible("https://api.voyageai.com/v1", "VOYAGE_API_KEY"),
    "jina_ai": _compatible("https://api.jina.ai/v1", "JINA_AI_API_KEY"),
    "huggingface": _compatible("https://router.huggingface.co/v1", "HF_TOKEN"),
    "github": _compatible("https://models.inference.ai.azure.com", "GITHUB_API_KEY"),
    "llamafile": _compatible("http://127.0.0.1:8080/v1"),
    "hosted_vllm": _compatible(None),
    "vllm": _compatible(None),
    "openai_like": _compatible(None),
    "custom_openai": _compatible(None),
    "lm_studio": _compatible(None),
    "litellm_proxy": _compatible(None),
    "xinference": _compatible(None),
    "databricks": _compatible(None, "DATABRICKS_API_KEY"),
}
"""The first part of a model's name -> who is meant."""

OWN_HOSTS: Final[Mapping[str, str]] = {
    "openai": "api.openai.com",
    "anthropic": "api.anthropic.com",
    "gemini": "generativelanguage.googleapis.com",
}
"""A kind whose address need not be written if it is the vendor's own."""

OTHER_MODES: Final[Mapping[str, str]] = {
    "image_generation": "pictures",
    "audio_transcription": "transcriptions",
    "audio_speech": "speech",
    "rerank": "rankings",
    "moderation": "moderations",
    "completion": "completions of the old kind",
    "realtime": "realtime sessions",
    "video_generation": "films",
    "ocr": "text recognition",
}
"""LiteLLM's modes of models that no route of ours serves -> what they make."""
