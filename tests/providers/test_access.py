"""providers/access.py: which address and which key a request gets, and what a key's fate does to the next."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest

from waypost.errors import (
    ConfigurationError,
    InvalidRequest,
    ProviderAuthenticationError,
    ProviderError,
    ProviderPermissionError,
    ProviderQuotaExceeded,
    ProviderRateLimited,
    ProviderServerError,
)
from waypost.providers.access import ProviderAccess
from waypost.providers.azure_openai import vendor_for
from waypost.providers.hosted import HostedOptions, access_for
from waypost.providers.vendors import ANTHROPIC, GEMINI, OPENAI, OPENAI_COMPATIBLE, OPENAI_RESPONSES, Vendor

KEYS = ("first-key", "second-key")


def access(vendor: Vendor = OPENAI, options: HostedOptions | None = None) -> ProviderAccess:
    return access_for("ours", vendor, options or HostedOptions(api_keys=KEYS))


async def headers(access: ProviderAccess) -> Mapping[str, str]:
    sent, _key = await access.authorize("POST", access.url_for("m", stream=False), b"{}")
    return sent


@pytest.mark.parametrize(
    ("vendor", "base_url", "whole", "streamed"),
    [
        (OPENAI, None, "https://api.openai.com/v1/chat/completions", None),
        (OPENAI_RESPONSES, None, "https://api.openai.com/v1/responses", None),
        (ANTHROPIC, "http://127.0.0.1:1/", "http://127.0.0.1:1/v1/messages", None),
        (
            GEMINI,
            "http://127.0.0.1:1",
            "http://127.0.0.1:1/models/a%2Fb%3Fc:generateContent",
            "http://127.0.0.1:1/models/a%2Fb%3Fc:streamGenerateContent?alt=sse",
        ),
        (
            vendor_for("2024-10-21"),
            "http://127.0.0.1:1/openai",
            "http://127.0.0.1:1/openai/deployments/a%2Fb%3Fc/chat/completions?api-version=2024-10-21",
            None,
        ),
    ],
)
def test_the_address_of_a_model(vendor: Vendor, base_url: str | None, whole: str, streamed: str | None) -> None:
    made = access(vendor, HostedOptions(base_url=base_url))
    assert made.url_for("a/b?c", stream=False) == whole
    assert made.url_for("a/b?c", stream=True) == (streamed or whole)


def test_without_an_address_there_is_no_access() -> None:
    with pytest.raises(ConfigurationError, match="Provider ours needs a base_url"):
        access(OPENAI_COMPATIBLE)


@pytest.mark.parametrize(
    ("vendor", "expected"),
    [
        (OPENAI, {"authorization": "Bearer first-key"}),
        (ANTHROPIC, {"anthropic-version": "2023-06-01", "x-api-key": "first-key"}),
        (GEMINI, {"x-goog-api-key": "first-key"}),
        (vendor_for(None), {"api-key": "first-key"}),
    ],
)
async def test_each_vendor_has_its_own_header_for_a_key(vendor: Vendor, expected: Mapping[str, str]) -> None:
    options = HostedOptions(api_key="first-key", base_url="http://127.0.0.1:1", headers={"x-team": "blue"})
    assert await headers(access(vendor, options)) == {**expected, "x-team": "blue"}


async def test_without_a_key_only_the_configured_headers_go_out() -> None:
    made = access(OPENAI, HostedOptions(headers={"x-team": "blue"}))
    assert await made.authorize("POST", "http://127.0.0.1:1", b"") == ({"x-team": "blue"}, None)
    assert not made.report(None, ProviderAuthenticationError("no"))


async def test_keys_take_turns_and_are_named_by_their_labels() -> None:
    made = access()
    sent = [await made.authorize("POST", "", b"") for _ in range(3)]
    assert [headers["authorization"] for headers, _ in sent] == [
        "Bearer first-key",
        "Bearer second-key",
        "Bearer first-key",
    ]
    assert [key.label for _, key in sent if key] == ["#1", "#2", "#1"]
    assert "first-key" not in repr(sent[0][1])


@pytest.mark.parametrize(
    "error",
    [ProviderAuthenticationError("no"), ProviderQuotaExceeded("empty"), ProviderRateLimited("wait", retry_after_s=30)],
    ids=lambda error: type(error).__name__,
)
async def test_a_key_in_trouble_rests_and_another_is_ready_until_all_rest(error: ProviderError) -> None:
    made = access()
    _, first = await made.authorize("POST", "", b"")
    assert made.report(first, error)
    assert [(await headers(made))["authorization"] for _ in range(2)] == ["Bearer second-key"] * 2
    _, second = await made.authorize("POST", "", b"")
    assert not made.report(second, error)
    # All rest: the provider has the last word.
    assert (await headers(made))["authorization"] == "Bearer first-key"


@pytest.mark.parametrize("error", [None, ProviderServerError("broken"), ProviderPermissionError("not this model")])
async def test_other_endings_say_nothing_about_the_key(error: ProviderError | None) -> None:
    made = access()
    _, first = await made.authorize("POST", "", b"")
    assert not made.report(first, error)
    await headers(made)
    assert (await headers(made))["authorization"] == "Bearer first-key"


async def test_the_log_tells_of_a_refused_key_without_showing_it(caplog: pytest.LogCaptureFixture) -> None:
    made = access()
    _, first = await made.authorize("POST", "", b"")
    with caplog.at_level(logging.WARNING):
        made.report(first, ProviderAuthenticationError("no"))
    assert "ours: key #1 rests for 60 s (provider_authentication)" in caplog.text
    assert "first-key" not in caplog.text


def test_other_paths_are_below_the_providers_own_address() -> None:
    made = access(OPENAI)
    assert made.raw_url("/files", "limit=3") == "https://api.openai.com/v1/files?limit=3"
    dated = access(vendor_for("2024-10-21"), HostedOptions(base_url="https://ours.example/openai"))
    assert dated.raw_url("/files") == "https://ours.example/openai/files?api-version=2024-10-21"
    with pytest.raises(InvalidRequest):
        made.raw_url("/../files")
