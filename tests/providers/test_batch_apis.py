"""providers/anthropic_batches.py and openai_batches.py, against the simulated vendors: what is found again, and how."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from waypost.errors import MalformedResponse, ProviderRateLimited
from waypost.providers import anthropic, anthropic_batches, openai, openai_batches
from waypost.providers.batch_api import ApiCall, BatchApi, Marker
from waypost.providers.batch_lines import lines_of
from waypost.providers.hosted import HostedOptions
from waypost.providers.http_provider import HttpProvider
from waypost.simulator import Simulator

KEYS = ("first-key", "second-key")
BODIES = {
    "anthropic": b'{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}',
    "openai": b'{"model":"gpt-5-mini","messages":[{"role":"user","content":"hi"}]}',
}


class File:
    """Implements Entries."""

    def __init__(self, api: BatchApi, body: bytes, marker: Marker) -> None:
        entries = [api.entry(f"{number}-{marker.suffix}", body) for number in range(marker.requests)]
        self._whole = api.framing.before + api.framing.between.join(entries) + api.framing.after
        self.size_bytes = len(self._whole)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._whole


def provider(vendor: str, simulator: Simulator) -> HttpProvider:
    if vendor == "anthropic":
        return anthropic.create("any", HostedOptions(base_url=simulator.anthropic_url, api_keys=KEYS))
    return openai.create("any", HostedOptions(base_url=simulator.openai_url, api_keys=KEYS))


def marker(name: str, requests: int = 2) -> Marker:
    return Marker(name, name, requests, time.time())


@pytest.mark.parametrize("vendor", ["anthropic", "openai"])
async def test_a_batch_is_found_again_on_a_later_page_and_by_its_own_key(
    vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches belong to a key's account; those that are newer are listed first."""
    for module in (anthropic_batches, openai_batches):
        monkeypatch.setattr(module, "PAGE", 1)
    async with Simulator() as simulator:
        at = provider(vendor, simulator)
        api: Any = at.batches
        wanted = marker("wanted")
        made = await api.create(wanted, File(api, BODIES[vendor], wanted), "#2")
        for name in ("a", "b"):
            other = marker(name, 3)
            await api.create(other, File(api, BODIES[vendor], other), "#2")
        found = await api.made(wanted, "#2")
        assert [each.id for each in found] == [made.id]
        assert found[0].marker == (None if vendor == "anthropic" else "wanted")
        seen = {request.key_hash for request in simulator.requests if "batch" in request.path}
        assert len(seen) == 1
        await at.close()


async def test_a_key_that_rests_is_not_replaced_by_another_ones_account() -> None:
    async with Simulator({"rules": [{"match": {"path": "/v1/*"}, "fault": {"status": 429}}]}) as simulator:
        at = provider("openai", simulator)
        for _ in range(2):
            with pytest.raises(ProviderRateLimited):
                await at.send(ApiCall("GET", "/batches", "#1"))
        assert len(simulator.requests) == 1
        await at.close()


async def test_a_line_of_results_has_a_longest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost.providers.batch_lines.LONGEST_LINE_BYTES", 10)

    pieces = [b'{"a"', b":1}\n\n", b"x" * 11]

    class Reply:
        async def next_chunk(self) -> bytes:
            return pieces.pop(0) if pieces else b""

    lines = []
    with pytest.raises(MalformedResponse, match="10 bytes"):
        async for line in lines_of(Reply()):  # type: ignore[arg-type]
            lines.append(line)
    assert lines == [b'{"a":1}']
