"""What is measured of facts, by the conventions for generative AI: instruments with their buckets, and their points.

Attributes are few and bounded: vendors, operations, error codes, and the models that are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from waypost.telemetry.facts import AttemptFacts, RequestFacts
from waypost.telemetry.metrics.models import ModelNames
from waypost.telemetry.otlp import names
from waypost.telemetry.otlp.names import Peer
from waypost.telemetry.otlp.spans import Attributes

_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_FIRST_TOKEN_S: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instrument:
    """A histogram. Source of names, units and buckets: the conventions' page on metrics."""

    name: str
    unit: str
    description: str
    buckets: tuple[float, ...]


TOKEN_USAGE: Final = Instrument(
    "gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS
)
CALL_DURATION: Final = Instrument("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _SECONDS)
CALL_FIRST_CHUNK: Final = Instrument(
    "gen_ai.client.operation.time_to_first_chunk", "s", "Time to the first chunk of a stream.", _SECONDS
)
REQUEST_DURATION: Final = Instrument(
    "gen_ai.server.request.duration", "s", "Time to the end of the answer, as the caller saw it.", _SECONDS
)
REQUEST_FIRST_TOKEN: Final = Instrument(
    "gen_ai.server.time_to_first_token", "s", "Time to the first token, as the caller saw it.", _FIRST_TOKEN_S
)
INSTRUMENTS: Final = (TOKEN_USAGE, CALL_DURATION, CALL_FIRST_CHUNK, REQUEST_DURATION, REQUEST_FIRST_TOKEN)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one instrument."""

    instrument: Instrument
    value: float
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Known:
    """What attributes are told by: where providers are, and which models are told apart."""

    peers: Mapping[str, Peer]
    models: ModelNames


def points(facts: RequestFacts, known: Known) -> Iterator[Point]:
    """What a request and its calls come to."""
    sent = [each for each in facts.attempts if each.is_sent]
    for attempt in sent:
        yield from _of_call(facts, attempt, known)
    if sent and facts.door != "job":
        yield from _of_request(facts, sent[-1], known)


def _of_call(facts: RequestFacts, attempt: AttemptFacts, known: Known) -> Iterator[Point]:
    about = _about(facts, attempt, known)
    failed = {names.ERROR_TYPE: attempt.error_code or names.OTHER} if attempt.outcome == "failed" else {}
    yield Point(CALL_DURATION, attempt.duration_ms / 1000, {**about, **failed})
    if facts.is_stream and attempt.first_token_ms is not None:
        yield Point(CALL_FIRST_CHUNK, attempt.first_token_ms / 1000, about)
    for kind, count in (("input", attempt.tokens.input), ("output", attempt.tokens.output)):
        if count is not None:
            yield Point(TOKEN_USAGE, count, {**about, names.TOKEN_TYPE: kind})


def _of_request(facts: RequestFacts, last: AttemptFacts, known: Known) -> Iterator[Point]:
    about = _about(facts, last, known)
    failed = {names.ERROR_TYPE: facts.error_code or names.OTHER} if facts.outcome == "failed" else {}
    yield Point(REQUEST_DURATION, facts.duration_s, {**about, **failed})
    if facts.is_stream and facts.first_token_ms is not None:
        yield Point(REQUEST_FIRST_TOKEN, facts.first_token_ms / 1000, about)


def _about(facts: RequestFacts, attempt: AttemptFacts, known: Known) -> Attributes:
    peer = names.peer_of(known.peers, attempt)
    about: Attributes = {names.OPERATION: names.operation_of(facts, attempt), names.PROVIDER: peer.vendor}
    if attempt.model:
        was_answered = attempt.outcome == "answered"
        about[names.REQUEST_MODEL] = known.models.label(
            attempt.provider, attempt.kind, attempt.model, was_answered=was_answered
        )
    if peer.address:
        about[names.SERVER_ADDRESS] = peer.address
        if peer.port is not None:
            about[names.SERVER_PORT] = peer.port
    return about
