"""An `Asker` over a real gateway, whose provider is the simulator or the local model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waypost.analysis.ask import Said
from waypost.analysis.kinds import Kind, kinds_of
from waypost.analysis.limits import limits_of, structured_output
from waypost.analysis.plan import Part, parts_of
from waypost.analysis.run import PartResult, run_part
from waypost.app import build
from waypost.chat import Request
from waypost.gateway.gateway import Gateway
from waypost.providers.asked import Asked
from waypost.settings import Settings
from waypost.simulator import Simulator

FIXTURES = Path(__file__).parents[1] / "fixtures" / "analysis"
STRUCTURED = "openai/gpt-4o"
"""A model that is known to hold its answers to a schema, with a window of 128,000 tokens."""
PLAIN = "openai/gpt-4"
"""One that is not, with a window of 8,192."""


@dataclass
class GatewayAsker:
    """Implements `Asker`, and remembers what it asked."""

    gateway: Gateway
    asked: list[tuple[str, Request]] = field(default_factory=list)

    async def ask(self, request: Request, *, part: str) -> Said:
        self.asked.append((part, request))
        served = await self.gateway.generate(Asked.of(request))
        return Said(
            served.response.text,
            served.provider,
            served.model,
            served.usage,
            served.cost_micro_usd,
            served.response.id,
            structured=request.response_format is not None,
            reason=served.response.choices[0].reason,
        )

    def structured_output(self, model: str) -> bool:
        return structured_output(self.gateway, model)


@dataclass
class Bench:
    """A gateway in front of a simulator, and what an analysis needs."""

    settings: Settings
    gateway: Gateway
    simulator: Simulator
    asker: GatewayAsker

    @property
    def kinds(self) -> Mapping[str, Kind]:
        return kinds_of(self.settings)

    def parts(self, text: str, model: str, kind: str = "analysis") -> list[Part]:
        return list(parts_of(text, [self.kinds[kind]], limits_of(self.gateway, self.settings, model)))

    async def run(self, parts: list[Part]) -> list[PartResult]:
        """All steps, each with its result put through JSON as a durable engine would."""
        results: list[PartResult] = []
        for part in parts:
            told = Part.from_dict(part.to_dict())
            earlier = [result.to_dict() for result in results]
            results.append(await run_part(told, self.kinds[part.kind], self.asker, earlier))
        return results


@asynccontextmanager
async def bench(*rules: Any, kinds: Mapping[str, Any] | None = None) -> AsyncIterator[Bench]:
    """A gateway whose one provider answers by these rules, without retries."""
    async with Simulator({"rules": list(rules)}) as simulator:
        settings = Settings.model_validate(
            {
                "providers": {"openai": {"kind": "openai", "base_url": simulator.openai_url, "api_key": "any"}},
                "routes": {"default": {"targets": [STRUCTURED], "policy": {"max_retries": 0}}},
                "ledger": {"enabled": False},
                "kinds": kinds or {},
            }
        )
        application = build(settings)
        try:
            yield Bench(settings, application.gateway, simulator, GatewayAsker(application.gateway))
        finally:
            await application.close()
