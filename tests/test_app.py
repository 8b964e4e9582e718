"""app.py: settings reach the objects that act on them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pytest

from waypost.app import Application, build, without_several_models
from waypost.chat import Message, Request, Text, Usage
from waypost.errors import ConfigurationError
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


def built_twice(before: dict[str, Any], after: dict[str, Any]) -> tuple[Application, Application]:
    old = build(Settings.model_validate(before))
    return old, build(Settings.model_validate(after), old)


VLLM = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "default_model": "m"}


def test_a_reload_keeps_what_is_unchanged_and_nothing_else() -> None:
    """Another address is another provider; a route's kept answers are forgotten with its old targets."""
    cached = {"targets": ["a"], "cache": {"ttl_s": 60}}
    providers = {"a": VLLM, "b": VLLM}
    old, new = built_twice(
        {"providers": providers, "routes": {"default": cached, "other": cached}},
        {
            "providers": {"a": VLLM, "b": {**VLLM, "base_url": "http://127.0.0.1:8/v1"}},
            "routes": {"default": cached, "other": {**cached, "targets": ["b"]}},
        },
    )
    assert new.providers["a"] is old.providers["a"]
    assert new.providers["b"] is not old.providers["b"]
    assert new.stores.idempotency is old.stores.idempotency
    assert new.stores.streams is old.stores.streams
    assert new.stores.caches["default"] is old.stores.caches["default"]
    assert new.stores.caches["other"] is not old.stores.caches["other"]


def test_failed_keys_are_counted_on_unless_the_keys_change() -> None:
    key = {"key": "a-key-of-sixteen-characters"}
    old, new = built_twice({"keys": {"ann": key}}, {"keys": {"ann": key}, "aliases": {"x": "local"}})
    assert new.callers is old.callers
    old, new = built_twice({"keys": {"ann": key}}, {"keys": {"bob": key}})
    assert new.callers is not old.callers


LOCAL = {"local": {"kind": "llama_cpp"}, "vllm": VLLM}


def test_several_workers_leave_out_a_local_model_that_no_route_leads_to() -> None:
    settings = Settings.model_validate({"server": {"workers": 2}, "providers": LOCAL})
    assert list(without_several_models(settings).providers) == ["vllm"]
    one = Settings.model_validate({"providers": LOCAL})
    assert without_several_models(one) is one


@pytest.mark.parametrize(
    "named", [{"routes": {"default": {"targets": ["vllm", "local"]}}}, {"aliases": {"small": "local"}}]
)
def test_several_workers_refuse_a_local_model_that_is_asked_for_by_name(named: dict[str, Any]) -> None:
    settings = Settings.model_validate({"server": {"workers": 2}, "providers": LOCAL, **named})
    with pytest.raises(ConfigurationError, match="each of the 2 workers would run one of its own"):
        without_several_models(settings)


def test_prices_are_those_of_the_settings_and_new_with_each_reload() -> None:
    """What began before goes on with the prices it began with."""
    providers = {"mine": {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1/v1", "default_model": "m"}}
    price = {"prices": {"mine/*": {"input": 2, "output": 3}}}
    before = build(Settings.model_validate({"providers": providers}))
    after = build(Settings.model_validate({"providers": providers, **price}), before)
    usage = Usage(input_tokens=10, output_tokens=1)
    old, new = (each.gateway.prices.cost_micro_usd("mine", "openai_compatible", "m", usage) for each in (before, after))
    assert (old, new) == (None, 23)
