"""What a process sends of what it does, built of its settings: the queue, whom providers are, and how traces begin."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waypost.settings.otlp import OtlpSettings
from waypost.telemetry.metrics.models import ModelNames
from waypost.telemetry.otlp.names import Peer
from waypost.telemetry.otlp.options import OtlpOptions, otlp_options
from waypost.telemetry.otlp.peers import Peers, is_own
from waypost.telemetry.otlp.pipeline import Pipeline
from waypost.telemetry.sampling import sampler_from
from waypost.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from waypost.telemetry.otlp.pipeline import Sender

FLUSH_S: Final = 3.0
"""Time for what waits to be sent when the process ends."""


@dataclass(frozen=True, slots=True)
class Otlp:
    """One process's, over all reloads."""

    settings: OtlpSettings
    traces: bool
    pipeline: Pipeline
    peers: Peers
    models: ModelNames

    def tracing(self, peers: Mapping[str, Peer], environ: Mapping[str, str] = os.environ) -> Tracing | None:
        """How requests are traced from now on, with these providers. None: metrics alone are sent."""
        self.peers.known = peers
        if not self.traces:
            return None
        sampler = sampler_from(self.settings.sample_ratio, environ)
        told = frozenset(self.settings.propagate_to) | told_of_traces(self.settings, peers)
        return Tracing(sampler, told.__contains__, self.settings.content)

    async def close(self) -> None:
        """Send what waits, as far as the collector takes it soon."""
        await asyncio.to_thread(self.pipeline.close, FLUSH_S)


def told_of_traces(settings: OtlpSettings, peers: Mapping[str, Peer]) -> frozenset[str]:
    """The providers that are told by what `propagate` says."""
    if settings.propagate == "all":
        return frozenset(peers)
    if settings.propagate == "none":
        return frozenset()
    return frozenset(name for name, peer in peers.items() if is_own(peer.address))


def configured_otlp(
    settings: OtlpSettings, models: ModelNames | None = None, environ: Mapping[str, str] = os.environ
) -> Otlp | None:
    """None: nothing is sent. Nothing is imported or started yet. Raises ConfigurationError.

    `models` are those that metrics tell apart, if somebody else tells them apart too.
    """
    options = otlp_options(settings, environ)
    if options is None:
        return None
    peers, known = Peers(), models or ModelNames()
    pipeline = Pipeline(lambda: _sender(options, peers, known), options.queue, options.delay_s)
    return Otlp(settings, options.traces, pipeline, peers, known)


def _sender(options: OtlpOptions, peers: Peers, models: ModelNames) -> Sender:
    from waypost.telemetry.otlp.sender import OtlpSender

    return OtlpSender(options, peers, models)
