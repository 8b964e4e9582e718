"""app.py: settings reach the objects that act on them."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from waypost.app import build
from waypost.chat import Message, Request, Text
from waypost.gateway.policy import Policy
from waypost.providers.asked import Asked
from waypost.settings import PolicySettings, Settings


def test_the_policys_defaults_and_names_are_those_of_the_settings() -> None:
    assert PolicySettings().model_dump() == asdict(Policy())
    assert set(PolicySettings.model_fields) == {item.name for item in fields(Policy)}


async def test_a_routes_policy_holds_for_that_route_alone() -> None:
    settings = Settings.model_validate(
        {
            "providers": {"vllm": {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}},
            "routes": {"default": {"targets": ["vllm"]}, "quick": {"targets": ["vllm/m"], "policy": {"total_s": 2}}},
            "aliases": {"fast": "quicker", "quicker": "quick"},
        }
    )
    application = build(settings)
    messages = (Message("user", (Text("hi"),)),)
    for model, total_s in (("quick", 2), ("fast", 2), ("", 600), ("vllm/other", 600)):
        gateway = application.gateway
        schedule = gateway._schedule(gateway._planned(Asked.of(Request(model, messages))))
        assert schedule.remaining_s == pytest.approx(total_s, abs=1)
    await application.close()
