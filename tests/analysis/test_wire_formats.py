"""Every wire format is asked to hold its answer to the schema in its own way, and by no keyword that it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.analysis.asking import GatewayAsker
from tests.analysis.test_run import GOOD, TEXT
from tests.simulated import Wire, provider

from waypost.analysis.held import NOT_HELD
from waypost.analysis.kinds import kinds_of
from waypost.analysis.limits import limits_of
from waypost.analysis.plan import parts_of
from waypost.analysis.run import run_part
from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Simulator

PLACES: dict[Wire, tuple[str, ...]] = {
    "chat": ("response_format", "json_schema", "schema"),
    "responses": ("text", "format", "schema"),
    "anthropic": ("output_config", "format", "schema"),
    "gemini": ("generationConfig", "responseJsonSchema"),
}
MODELS: dict[Wire, str] = {
    "chat": "gpt-4o",
    "responses": "gpt-4o",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}


@pytest.mark.parametrize("wire", PLACES)
async def test_the_schema_goes_where_the_wire_format_has_it(wire: Wire) -> None:
    async with Simulator({"rules": [{"reply": {"text": json.dumps(GOOD)}}]}) as simulator:
        providers = {"one": {**provider(wire, simulator), "api_key": "any"}}
        settings = Settings.model_validate({"providers": providers, "ledger": {"enabled": False}})
        application = build(settings)
        kind = kinds_of(settings)["analysis"]
        try:
            [part] = parts_of(TEXT, [kind], limits_of(application.gateway, settings, f"one/{MODELS[wire]}"))
            result = await run_part(part, kind, GatewayAsker(application.gateway), [])
        finally:
            await application.close()
        [seen] = simulator.requests
    assert (result.value, result.structured, result.error) == (GOOD, True, None)
    schema: Any = seen.body
    for step in PLACES[wire]:
        schema = schema[step]
    assert set(schema["properties"]) == set(GOOD)
    assert not NOT_HELD & set(keywords(schema))


def keywords(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in keywords(item)]
    if not isinstance(schema, dict):
        return []
    return [*schema, *(name for value in schema.values() for name in keywords(value))]
