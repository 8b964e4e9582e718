"""Costs by each vendor's published rules, worked out by hand. Dollars for a million tokens are micro-dollars for one.

A case names its rule and the page that says it. Where the packaged list and such a page differ, the list is mended in
catalogue/genai.py (MISSING), never the case. Pages as of November 2026; of models that are older, as they last stood.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from waypost.catalogue.configured import price_book
from waypost.chat import Usage
from waypost.settings import Settings

ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/pricing"
ANTHROPIC_BATCH = "https://platform.claude.com/docs/en/build-with-claude/batch-processing"
ANTHROPIC_FAST = "https://platform.claude.com/docs/en/build-with-claude/fast-mode"
OPENAI = "https://developers.openai.com/api/docs/pricing"
OPENAI_FAST = "https://openai.com/api-fast-mode/"
GOOGLE = "https://ai.google.dev/gemini-api/docs/pricing"
AZURE = "https://azure.microsoft.com/en-us/pricing/details/cognitive-services/openai-service/"
BEDROCK = "https://aws.amazon.com/bedrock/pricing/"
GROQ = "https://groq.com/pricing"
MISTRAL = "https://mistral.ai/pricing"
XAI = "https://docs.x.ai/docs/models"
DEEPSEEK = "https://api-docs.deepseek.com/quick_start/pricing"
COHERE = "https://cohere.com/pricing"
CEREBRAS = "https://www.cerebras.ai/pricing"

MILLION = 1_000_000
NOVEMBER_2026 = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    rule: str
    source: str
    provider: str
    model: str
    usage: Usage
    expected: int | None
    at: datetime = NOVEMBER_2026


def compatible(address: str) -> dict[str, Any]:
    return {"kind": "openai_compatible", "base_url": address}


BOOK = price_book(
    Settings.model_validate(
        {
            "providers": {
                "anthropic": {"kind": "anthropic"},
                "openai": {"kind": "openai"},
                "gemini": {"kind": "gemini"},
                "vertex": {"kind": "vertex", "project": "ours"},
                "vertex-eu": {"kind": "vertex", "project": "ours", "region": "europe-west4"},
                "azure": {"kind": "azure_openai", "base_url": "https://ours.openai.azure.com"},
                "bedrock": {"kind": "bedrock", "region": "eu-central-1"},
                "groq": compatible("https://api.groq.com/openai/v1"),
                "mistral": compatible("https://api.mistral.ai/v1"),
                "xai": compatible("https://api.x.ai/v1"),
                "deepseek": compatible("https://api.deepseek.com"),
                "cohere": compatible("https://api.cohere.ai/compatibility/v1"),
                "cerebras": compatible("https://api.cerebras.ai/v1"),
                "vllm": compatible("http://127.0.0.1:8001/v1"),
            }
        }
    )
)
KINDS = {
    "anthropic": "anthropic",
    "openai": "openai",
    "gemini": "gemini",
    "vertex": "vertex",
    "vertex-eu": "vertex",
    "azure": "azure_openai",
    "bedrock": "bedrock",
}

CASES = [
    # Anthropic
    Case(
        "Opus 5: $5 in, $25 out",
        ANTHROPIC,
        "anthropic",
        "claude-opus-5",
        Usage(input_tokens=1000, output_tokens=500),
        1000 * 5 + 500 * 25,
    ),
    Case(
        "Opus 5: written to the cache for five minutes $6.25, for an hour $10, read from it $0.50",
        ANTHROPIC,
        "anthropic",
        "claude-opus-5",
        Usage(
            input_tokens=10_000,
            input_cache_read_tokens=4000,
            input_cache_write_5m_tokens=2000,
            input_cache_write_1h_tokens=1000,
            output_tokens=100,
        ),
        3000 * 5 + 4000 // 2 + 12_500 + 1000 * 10 + 100 * 25,
    ),
    Case(
        "Fable 5.1 reads from the cache at $0.25, a fortieth of its $10, and not at a tenth",
        ANTHROPIC,
        "anthropic",
        "claude-fable-5-1",
        Usage(input_tokens=8000, input_cache_read_tokens=8000, output_tokens=10),
        2000 + 10 * 50,
    ),
    Case(
        "Opus 5.5: thoughts are output, at $20",
        ANTHROPIC,
        "anthropic",
        "claude-opus-5-5",
        Usage(input_tokens=100, output_tokens=1000, output_reasoning_tokens=900),
        100 * 4 + 1000 * 20,
    ),
    Case(
        "Sonnet 5.5 has one price up to a million tokens: $2 and $10",
        ANTHROPIC,
        "anthropic",
        "claude-sonnet-5-5",
        Usage(input_tokens=900_000, output_tokens=100),
        1_800_000 + 1000,
    ),
    Case(
        "Haiku 5.5 up to 100,000 tokens of prompt: $0.10 and $0.50",
        ANTHROPIC,
        "anthropic",
        "claude-haiku-5-5",
        Usage(input_tokens=100_000, output_tokens=1000),
        10_000 + 500,
    ),
    Case(
        "Haiku 5.5 beyond: all tokens at $0.50 and $2.50",
        ANTHROPIC,
        "anthropic",
        "claude-haiku-5-5",
        Usage(input_tokens=100_002, output_tokens=1000),
        50_001 + 2500,
    ),
    Case(
        "Sonnet 4.6 had a price for long prompts, $6 and $22.50 over 200,000 tokens, until 2026-03-13",
        ANTHROPIC,
        "anthropic",
        "claude-sonnet-4-6",
        Usage(input_tokens=300_000, output_tokens=1000),
        1_800_000 + 22_500,
        datetime(2026, 3, 1, tzinfo=UTC),
    ),
    Case(
        "Sonnet 4.6 from that day on: $3 and $15 for every length",
        ANTHROPIC,
        "anthropic",
        "claude-sonnet-4-6",
        Usage(input_tokens=300_000, output_tokens=1000),
        900_000 + 15_000,
    ),
    Case(
        "Batches cost half: Opus 5 $2.50 and $12.50, and its cache half as well",
        ANTHROPIC_BATCH,
        "anthropic",
        "claude-opus-5",
        Usage(input_tokens=4000, input_cache_read_tokens=2000, output_tokens=200, service_tier="batch"),
        2000 * 5 // 2 + 2000 // 4 + 200 * 25 // 2,
    ),
    Case(
        "Fast mode: Opus 5.5 at $8 and $40",
        ANTHROPIC_FAST,
        "anthropic",
        "claude-opus-5-5",
        Usage(input_tokens=1000, output_tokens=100, service_tier="fast"),
        8000 + 4000,
    ),
    Case(
        "Web searches $10 for a thousand; fetching pages only its tokens",
        ANTHROPIC,
        "anthropic",
        "claude-sonnet-4-5-20250929",
        Usage(input_tokens=100, output_tokens=10, server_tool_calls={"web_search": 3, "web_fetch": 2}),
        300 + 150 + 30_000,
    ),
    Case(
        "A priority tier is sold by agreement: no price is published",
        ANTHROPIC,
        "anthropic",
        "claude-opus-5",
        Usage(input_tokens=1000, output_tokens=500, service_tier="priority"),
        None,
    ),
    # OpenAI
    Case(
        "GPT-5.4 mini: $0.75, $0.075 from the cache, $4.50",
        OPENAI,
        "openai",
        "gpt-5.4-mini-2026-03-17",
        Usage(input_tokens=12_000, input_cache_read_tokens=3000, output_tokens=800, service_tier="default"),
        6750 + 225 + 3600,
    ),
    Case(
        "GPT-4o reads from the cache at half: $2.50, $1.25, $10",
        OPENAI,
        "openai",
        "gpt-4o",
        Usage(input_tokens=2000, input_cache_read_tokens=1000, output_tokens=100),
        2500 + 1250 + 1000,
    ),
    Case(
        "Thoughts are output: GPT-5 at $10, of which none is seen",
        OPENAI,
        "openai",
        "gpt-5",
        Usage(input_tokens=800, output_tokens=2000, output_reasoning_tokens=1990),
        1000 + 20_000,
    ),
    Case(
        "GPT-5.6 Sol writes to the cache at $5, reads at $0.40: $4 and $20 beside",
        OPENAI,
        "openai",
        "gpt-5.6-sol",
        Usage(
            input_tokens=10_000,
            input_cache_read_tokens=5000,
            input_cache_write_5m_tokens=2000,
            output_tokens=100,
        ),
        3000 * 4 + 2000 + 2000 * 5 + 100 * 20,
    ),
    Case(
        "Over 272,000 tokens of prompt all cost twice, and output half as much again: Sol $8 and $30",
        OPENAI,
        "openai",
        "gpt-5.6-sol",
        Usage(input_tokens=300_000, output_tokens=1000),
        2_400_000 + 30_000,
    ),
    Case(
        "Batches cost half: GPT-4o $1.25 and $5",
        OPENAI,
        "openai",
        "gpt-4o",
        Usage(input_tokens=10_000, output_tokens=1000, service_tier="batch"),
        12_500 + 5000,
    ),
    Case(
        "Flex costs half: GPT-5.4 $1.25 and $7.50",
        OPENAI,
        "openai",
        "gpt-5.4",
        Usage(input_tokens=1000, output_tokens=100, service_tier="flex"),
        1250 + 750,
    ),
    Case(
        "Flex with a long prompt: half of $5 and $22.50",
        OPENAI,
        "openai",
        "gpt-5.4",
        Usage(input_tokens=300_000, output_tokens=1000, service_tier="flex"),
        750_000 + 11_250,
    ),
    Case(
        "Fast mode (priority): GPT-5.6 Terra $4, $0.40 from the cache, $24",
        OPENAI_FAST,
        "openai",
        "gpt-5.6-terra",
        Usage(input_tokens=2000, input_cache_read_tokens=1000, output_tokens=100, service_tier="priority"),
        4000 + 400 + 2400,
    ),
    Case(
        "Fast mode with a long prompt: GPT-5.6 Luna $0.80 and $3.60",
        OPENAI_FAST,
        "openai",
        "gpt-5.6-luna",
        Usage(input_tokens=500_000, output_tokens=1000, service_tier="fast"),
        400_000 + 3600,
    ),
    Case(
        "GPT-5.6 Luna was $1 and $6 until 2026-07-30, then a fifth",
        OPENAI,
        "openai",
        "gpt-5.6-luna",
        Usage(input_tokens=1000, output_tokens=1000),
        1000 + 6000,
        datetime(2026, 7, 29, tzinfo=UTC),
    ),
    Case(
        "Sound: gpt-audio $32 heard and $64 spoken, text $2.50 and $10",
        OPENAI,
        "openai",
        "gpt-audio",
        Usage(input_tokens=600, input_audio_tokens=500, output_tokens=300, output_audio_tokens=250),
        250 + 16_000 + 500 + 16_000,
    ),
    Case(
        "Sound at GPT-4o's first audio model: $40 heard and $80 spoken",
        OPENAI,
        "openai",
        "gpt-4o-audio-preview",
        Usage(input_tokens=1000, input_audio_tokens=1000, output_tokens=100, output_audio_tokens=100),
        40_000 + 8000,
    ),
    Case(
        "text-embedding-3-small: $0.02, a micro-dollar begun counts",
        OPENAI,
        "openai",
        "text-embedding-3-small",
        Usage(input_tokens=51),
        2,
    ),
    Case(
        "Web searches $10 for a thousand",
        OPENAI,
        "openai",
        "gpt-5.4",
        Usage(input_tokens=0, output_tokens=0, server_tool_calls={"web_search": 2}),
        20_000,
    ),
    # Google
    Case(
        "Gemini 2.5 Pro up to 200,000 tokens: $1.25 and $10",
        GOOGLE,
        "gemini",
        "gemini-2.5-pro",
        Usage(input_tokens=200_000, output_tokens=10),
        250_000 + 100,
    ),
    Case(
        "Gemini 2.5 Pro beyond: $2.50, $0.25 from the cache, $15 with thinking",
        GOOGLE,
        "gemini",
        "gemini-2.5-pro",
        Usage(input_tokens=400_000, input_cache_read_tokens=100_000, output_tokens=1000, output_reasoning_tokens=900),
        750_000 + 25_000 + 15_000,
    ),
    Case(
        "Gemini 2.5 Pro, batch: $0.625 and $5, beyond 200,000 tokens $1.25 and $7.50",
        GOOGLE,
        "gemini",
        "gemini-2.5-pro",
        Usage(input_tokens=300_000, output_tokens=1000, service_tier="batch"),
        375_000 + 7500,
    ),
    Case(
        "Gemini 2.5 Flash hears at $1, reads at $0.30, writes at $2.50",
        GOOGLE,
        "gemini",
        "gemini-2.5-flash",
        Usage(input_tokens=1500, input_audio_tokens=500, output_tokens=200, output_reasoning_tokens=150),
        300 + 500 + 500,
    ),
    Case(
        "Gemini 3.8 Flash: $0.75 and $3.75 until the end of 2026",
        GOOGLE,
        "gemini",
        "gemini-3.8-flash",
        Usage(input_tokens=4000, output_tokens=1000),
        3000 + 3750,
    ),
    Case(
        "Gemini 3.8 Flash: twice as much from 2027 on",
        GOOGLE,
        "gemini",
        "gemini-3.8-flash",
        Usage(input_tokens=4000, output_tokens=1000),
        6000 + 7500,
        datetime(2027, 1, 1, tzinfo=UTC),
    ),
    Case(
        "gemini-embedding-001: $0.15",
        GOOGLE,
        "gemini",
        "gemini-embedding-001",
        Usage(input_tokens=2000),
        300,
    ),
    Case(
        "Vertex AI's global endpoint costs what the Gemini API does",
        GOOGLE,
        "vertex",
        "gemini-2.5-flash",
        Usage(input_tokens=1000, output_tokens=100),
        300 + 250,
    ),
    Case(
        "Its regions cost more, by how much depends on the model: not known",
        GOOGLE,
        "vertex-eu",
        "gemini-2.5-flash",
        Usage(input_tokens=1000, output_tokens=100),
        None,
    ),
    # Others
    Case(
        "Azure sells OpenAI's models at OpenAI's prices",
        AZURE,
        "azure",
        "gpt-4o-2024-08-06",
        Usage(input_tokens=2000, input_cache_read_tokens=1000, output_tokens=100),
        2500 + 1250 + 1000,
    ),
    Case(
        "Bedrock's regional endpoints cost a tenth more: Haiku 4.5 $1.10 and $5.50",
        BEDROCK,
        "bedrock",
        "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        Usage(input_tokens=1000, output_tokens=100),
        1100 + 550,
    ),
    Case(
        "Bedrock's global ones do not: $1 and $5",
        BEDROCK,
        "bedrock",
        "global.anthropic.claude-haiku-4-5-20251001-v1:0",
        Usage(input_tokens=1000, output_tokens=100),
        1000 + 500,
    ),
    Case(
        "Groq: gpt-oss-120b $0.15, half of it from the cache, $0.60; on_demand is its usual tier",
        GROQ,
        "groq",
        "openai/gpt-oss-120b",
        Usage(input_tokens=4000, input_cache_read_tokens=2000, output_tokens=100, service_tier="on_demand"),
        300 + 150 + 60,
    ),
    Case(
        "Groq: llama-3.3-70b-versatile $0.59 and $0.79",
        GROQ,
        "groq",
        "llama-3.3-70b-versatile",
        Usage(input_tokens=1000, output_tokens=1000),
        590 + 790,
    ),
    Case(
        "Mistral: codestral-2508 $0.30 and $0.90, batches half",
        MISTRAL,
        "mistral",
        "codestral-2508",
        Usage(input_tokens=2000, output_tokens=1000, service_tier="batch"),
        300 + 450,
    ),
    Case(
        "xAI: grok-4 $3, $0.75 from the cache, $15",
        XAI,
        "xai",
        "grok-4",
        Usage(input_tokens=2000, input_cache_read_tokens=1000, output_tokens=100),
        3000 + 750 + 1500,
    ),
    Case(
        "DeepSeek by day (until September 2025): deepseek-chat $0.27, $0.07 from the cache, $1.10",
        DEEPSEEK,
        "deepseek",
        "deepseek-chat",
        Usage(input_tokens=2000, input_cache_read_tokens=1000, output_tokens=100),
        270 + 70 + 110,
        datetime(2025, 8, 1, 12, tzinfo=UTC),
    ),
    Case(
        "DeepSeek by night, 16:30 to 00:30 UTC: half of it",
        DEEPSEEK,
        "deepseek",
        "deepseek-chat",
        Usage(input_tokens=2000, input_cache_read_tokens=1000, output_tokens=100),
        135 + 35 + 55,
        datetime(2025, 8, 1, 16, 30, tzinfo=UTC),
    ),
    Case(
        "Cohere: command-r-plus $2.50 and $10",
        COHERE,
        "cohere",
        "command-r-plus",
        Usage(input_tokens=1000, output_tokens=100),
        2500 + 1000,
    ),
    Case(
        "Cerebras: gpt-oss-120b $0.35 and $0.75",
        CEREBRAS,
        "cerebras",
        "gpt-oss-120b",
        Usage(input_tokens=1000, output_tokens=1000),
        350 + 750,
    ),
    Case(
        "A server of one's own sells the same model at no published price",
        CEREBRAS,
        "vllm",
        "gpt-oss-120b",
        Usage(input_tokens=1000, output_tokens=1000),
        None,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_published_rules(case: Case) -> None:
    kind = KINDS.get(case.provider, "openai_compatible")
    cost = BOOK.cost_micro_usd(case.provider, kind, case.model, case.usage, case.at.timestamp())
    assert cost == case.expected, f"{case.rule} ({case.source})"


def test_the_cases_cover_every_kind_of_price() -> None:
    """So that none of them is only trusted."""
    counted = {
        name
        for case in CASES
        for name in case.usage.__slots__
        if case.expected is not None and getattr(case.usage, name)
    }
    assert counted == set(Usage.__slots__)
    assert {"batch", "flex", "priority", "fast", "default", "on_demand"} <= {case.usage.service_tier for case in CASES}
