"""The built-in model and the offline analyzer together, on real texts, as a person would judge their results."""

from __future__ import annotations

from typing import Any

import pytest
from tests.analysis.asking import FIXTURES, GatewayAsker
from tests.analysis.test_offline import EXPECTED, check

from waypost.analysis.kinds import kinds_of
from waypost.analysis.limits import limits_of
from waypost.analysis.plan import parts_of
from waypost.analysis.run import combine, run_part
from waypost.app import build
from waypost.settings import Settings

pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]


async def test_real_texts_are_analyzed_on_this_machine() -> None:
    settings = Settings.model_validate({"providers": {"local": {"kind": "llama_cpp"}}, "ledger": {"enabled": False}})
    application = build(settings)
    kind = kinds_of(settings)["analysis"]
    asker = GatewayAsker(application.gateway)
    try:
        limits = limits_of(application.gateway, settings, None)
        assert limits.is_weak
        for name, expected in EXPECTED.items():
            text = (FIXTURES / name).read_text(encoding="utf-8")
            results = [await run_part(part, kind, asker, []) for part in parts_of(text, [kind], limits)]
            result = combine([kind], results, text)
            told: dict[str, Any] = result["results"]["analysis"]
            assert (told["status"], told["error"]) == ("complete", None)
            check(told["value"], text, expected)
            assert told["computed"]["sentiment"] != "model"
            assert (result["provider"], result["cost_micro_usd"]) == ("local", 0)
    finally:
        await application.close()
