"""What tells the vendors apart, as data: address, path, headers, default model and the shapes of model names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Vendor:
    """One row of the table. `authorize` gives the headers for a key; `environment` names the key's variable."""

    kind: str
    base_url: str
    path: str
    authorize: Callable[[str], Mapping[str, str]]
    headers: Mapping[str, str]
    default_model: str | None
    model_prefixes: tuple[str, ...]
    environment: str
    stream_path: str | None = None
    """Where streams are asked for, if not at `path`. In both, "{model}" stands for the model."""
    raw_query: Mapping[str, str] = field(default_factory=dict)
    """Parameters for every other path of the vendor's."""


def _bearer(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}"}


ANTHROPIC = Vendor(
    kind="anthropic",
    base_url="https://api.anthropic.com",
    path="/v1/messages",
    authorize=lambda key: {"x-api-key": key},
    headers={"anthropic-version": "2023-06-01"},
    default_model="claude-sonnet-5-5",
    model_prefixes=("claude",),
    environment="ANTHROPIC_API_KEY",
)

OPENAI = Vendor(
    kind="openai",
    base_url="https://api.openai.com/v1",
    path="/chat/completions",
    authorize=_bearer,
    headers={},
    default_model="gpt-5.4-mini",
    model_prefixes=("gpt-", "chatgpt-", "o1", "o3", "o4", "codex-", "computer-use-", "ft:"),
    environment="OPENAI_API_KEY",
)

OPENAI_RESPONSES = replace(OPENAI, path="/responses")

GEMINI = Vendor(
    kind="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    path="/models/{model}:generateContent",
    stream_path="/models/{model}:streamGenerateContent?alt=sse",
    authorize=lambda key: {"x-goog-api-key": key},
    headers={},
    default_model="gemini-2.5-flash",
    model_prefixes=("gemini-", "gemma-", "learnlm-"),
    environment="GEMINI_API_KEY",
)

OPENAI_COMPATIBLE = Vendor(
    kind="openai_compatible",
    base_url="",
    path="/chat/completions",
    authorize=_bearer,
    headers={},
    default_model=None,
    model_prefixes=(),
    environment="",
)

AZURE_OPENAI = Vendor(
    kind="azure_openai",
    base_url="",
    path="/chat/completions",
    authorize=lambda key: {"api-key": key},
    headers={},
    default_model=None,
    model_prefixes=(),
    environment="AZURE_OPENAI_API_KEY",
)
"""Its models are deployments, which bear any name. The address is the resource's own."""

VERTEX = Vendor(
    kind="vertex",
    base_url="",
    path="/publishers/google/models/{model}:generateContent",
    stream_path="/publishers/google/models/{model}:streamGenerateContent?alt=sse",
    authorize=_bearer,
    headers={},
    default_model="gemini-2.5-flash",
    model_prefixes=("gemini-", "gemma-"),
    environment="",
)
"""The address names project and region. A Google Cloud token takes the place of a key."""

BEDROCK = Vendor(
    kind="bedrock",
    base_url="",
    path="/anthropic/v1/messages",
    authorize=_bearer,
    headers={"anthropic-version": "2023-06-01"},
    default_model=None,
    model_prefixes=(),
    environment="AWS_BEARER_TOKEN_BEDROCK",
)
"""The address names the region. Its models bear many vendors' names."""

BEDROCK_CHAT = replace(BEDROCK, path="/openai/v1/chat/completions", headers={})
BEDROCK_RESPONSES = replace(BEDROCK, path="/openai/v1/responses", headers={})

_ALL = (ANTHROPIC, OPENAI, GEMINI, OPENAI_COMPATIBLE, AZURE_OPENAI, VERTEX, BEDROCK)
VENDORS: Mapping[str, Vendor] = {vendor.kind: vendor for vendor in _ALL}


def serves(kind: str, model: str) -> bool | None:
    """Does the vendor have models named so? None: the vendor gives its models any name."""
    vendor = VENDORS.get(kind)
    if vendor is None or not vendor.model_prefixes:
        return None
    return model.startswith(vendor.model_prefixes)
