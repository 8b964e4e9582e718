"""settings/prices.py: amounts are exactly those that are written, and every slip is told in a sentence."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from waypost.settings import InvalidSettings, PriceSettings, Settings, load_settings

PROVIDERS = "providers: {openai: {kind: openai}, mine: {kind: openai_compatible, base_url: 'http://127.0.0.1:1/v1'}}\n"


def load(tmp_path: Path, prices: str, environ: dict[str, str] | None = None) -> Settings:
    file = tmp_path / "waypost.yaml"
    file.write_text(PROVIDERS + prices)
    return load_settings(file, environ or {})


@pytest.mark.parametrize(
    ("written", "micro_usd"),
    [
        ("0.1", 100_000),
        ("2.5", 2_500_000),
        ("'0.30'", 300_000),
        ("0.000001", 1),
        ("1e-6", 1),
        ("1234567.123457", 1_234_567_123_457),
        ("10000000", 10_000_000_000_000),
        ("0", 0),
        ('"${PRICE}"', 70_000),
    ],
)
def test_amounts_are_exact(tmp_path: Path, written: str, micro_usd: int) -> None:
    price = load(tmp_path, f"prices: {{openai/m: {{input: {written}}}}}", {"PRICE": "0.07"}).prices["openai/m"]
    assert price.micro_usd() == {"input": micro_usd}


@given(st.integers(0, 10**13))
def test_no_amount_suffers_from_binary_fractions(micro_usd: int) -> None:
    """As YAML reads it, and written out again."""
    text = yaml.safe_dump({"input": float(Decimal(micro_usd).scaleb(-6))})
    price = PriceSettings.model_validate(yaml.safe_load(text))
    assert price.micro_usd() == {"input": micro_usd}
    assert PriceSettings.model_validate(price.model_dump(mode="json")) == price


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        ("openai/m: {input: 0.0000001}", "prices.openai/m.input is finer than a millionth of a dollar"),
        ("openai/m: {input: -0.1}", "prices.openai/m.input must be from 0 to 10000000 US dollars"),
        ("openai/m: {input: .inf}", "prices.openai/m.input must be from 0 to 10000000 US dollars"),
        ("openai/m: {input: .nan}", "prices.openai/m.input must be from 0 to 10000000 US dollars"),
        ("openai/m: {input: a lot}", "prices.openai/m.input must be an amount in US dollars, such as 0.25"),
        ("openai/m: {input: true}", "prices.openai/m.input must be a number"),
        ("openai/m: {output: 1}", "prices.openai/m needs input, or free: true"),
        ("openai/m: {free: true, output: 1}", "prices.openai/m has free and prices; use one of them"),
        ("openai/m: {inptu: 1}", "unknown key prices.openai/m.inptu; did you mean input?"),
        (
            "openai/m: {input: 1, tiers: {batch: {longer_prompts: [{ovr: 1}]}}}",
            "unknown key prices.openai/m.tiers.batch.longer_prompts[0].ovr; did you mean over?",
        ),
        ("openai/m: {input: 1, longer_prompts: [{over: 0}]}", "longer_prompts[0].over must be at least 1"),
        ("openai/m: {input: 1, longer_prompts: [{over: 9}, {over: 9}]}", "longer_prompts must rise in over"),
        (
            "openai/m: {input: 1, longer_prompts: [{over: 9}], tiers: {batch: {input: 0.5}}}",
            "has longer_prompts, but tiers.batch has none",
        ),
        ("gpt-4o: {input: 1}", 'prices holds "gpt-4o"; a key here is provider/model'),
        ("opnai/m: {input: 1}", 'prices.opnai/m names the unknown provider or kind "opnai"; did you mean openai?'),
        ("elsewhere/m: {input: 1}", "the providers are mine and openai"),
    ],
)
def test_a_slip_is_told_with_its_line(tmp_path: Path, prices: str, told: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load(tmp_path, f"prices:\n  {prices}")
    assert told in str(caught.value)
    assert "line " in str(caught.value)


def test_names_may_be_of_providers_kinds_or_patterns(tmp_path: Path) -> None:
    keys = ("mine/a", "openai/b", "bedrock/c", "*/d", "m*/e", "mine/meta-llama/llama-*")
    prices = "\n".join(f"  '{key}': {{free: true}}" for key in keys)
    assert set(load(tmp_path, f"prices:\n{prices}").prices) == set(keys)


def test_a_program_s_settings_are_checked_too() -> None:
    with pytest.raises(ValueError, match="unknown provider or kind"):
        Settings.model_validate({"prices": {"elsewhere/m": {"input": 1}}})
