"""A stream that goes on when its provider breaks off: asks the next target by the way that `recovery` allows.

The caller sees one stream. The invariant: what was handed out and what follows are together one whole answer, or the
error of the break is raised (or RecoveryDiverged, if somebody answered otherwise), with every attempt in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self, cast

from waypost.chat import Event, Usage, is_token
from waypost.errors import AllTargetsFailed, Attempt, ProviderError, RecoveryDiverged, TargetPaused, WaypostError
from waypost.gateway.candidate import Candidate
from waypost.gateway.fallback import FirstStream
from waypost.gateway.handed_out import HandedOut
from waypost.gateway.policy import Policy
from waypost.gateway.recovery import RecoveryTarget, chosen_way, request_for
from waypost.gateway.schedule import Schedule
from waypost.gateway.seam import SEAMS, Seam
from waypost.gateway.sent import Sent, SentRecord, Unrecoverable, Way
from waypost.gateway.total_usage import TotalUsage
from waypost.providers.answers import AnswerStream, Batch, PassOn, passes_on
from waypost.providers.asked import Asked
from waypost.providers.provider import Provider

KEPT_TOO_LITTLE: Final = "more had been sent than is kept for it"


class OpenStream(Protocol):
    """Tries candidates until one gives a token; see `fallback.first_stream`."""

    def __call__(
        self, schedule: Schedule[Provider], asked_of: Callable[[Candidate[Provider]], Asked]
    ) -> FirstStream[Provider, Batch]:
        """A stream that is not open yet."""


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """Who may go on, in order, and how; `traits` says what recovery must know of each."""

    asked: Asked
    policy: Policy
    candidates: Sequence[Candidate[Provider]]
    traits: Callable[[Candidate[Provider]], RecoveryTarget]
    open_stream: OpenStream
    go_on: Callable[[Sequence[Candidate[Provider]], Schedule[Provider]], Schedule[Provider]]
    """A schedule for these candidates that shares the first one's budget and deadline."""


class RecoveringStream:
    """See `providers.answers.AnswerStream`. Used inside the block of the first stream, and closed by `aclose`."""

    def __init__(
        self, plan: RecoveryPlan, first: FirstStream[Provider, Batch], stream: AnswerStream, broken: Candidate[Provider]
    ) -> None:
        self.key_label = stream.key_label
        self.notes = stream.notes
        self.headers: Mapping[str, str] = stream.headers
        self.unrecoverable = ""
        """Why a break could not be mended, as a clause."""
        self._plan = plan
        self._first = first
        self._schedule = first.schedule
        self._stream = stream
        self._begun = [broken]
        """Those that began to answer, the one that does so now last."""
        self._handed_out = HandedOut(plan.policy.recover_buffer_bytes if plan.policy.recover else 0)
        self._in_hand: Batch | None = None
        self._finished = False
        self._record: SentRecord | None = None
        self._seam: Seam | None = None
        self._stack = AsyncExitStack()

    @property
    def usage(self) -> Usage:
        """Counts so far, over all attempts that gave some of the answer."""
        return self._stream.usage if self._seam is None else self._seam.total.usage

    @property
    def model(self) -> str:
        """The model that began to answer."""
        return self._stream.model

    @property
    def incomplete_usage(self) -> frozenset[str]:
        """The counts that are lower bounds: of a stream that has not ended well, all that count what it said."""
        known = frozenset[str]() if self._seam is None else self._seam.total.incomplete
        return known if self._finished else known | TotalUsage().plus(self.usage, broken=True).incomplete

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All calls so far."""
        return self._schedule.attempts

    def sent_events(self) -> Sequence[Event]:
        """What was handed out before the last batch, decoded; empty where it is not kept."""
        return self._handed_out.events

    def pass_on_by(self, send: PassOn) -> None:
        """See `answers.PassesOn`. Only of the first stream: what goes on after it is looked at here."""
        if not passes_on(self._stream):
            return

        def send_and_keep(raw: bytes) -> bool:
            sent = send(raw)
            if sent:
                self._handed_out.add_more(raw)
            return sent

        self._stream.pass_on_by(send_and_keep)

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        if self._in_hand is not None:
            # Whoever asks for the next one has dealt with it.
            self._keep(self._in_hand)
            self._in_hand = None
        while True:
            try:
                batch = await self._next()
            except StopAsyncIteration:
                self._finished = True
                raise
            except ProviderError as error:
                if not await self._goes_on_after(error):
                    raise
                continue
            if batch is not None:
                self._in_hand = batch
                return batch

    async def aclose(self) -> None:
        """End the streams that went on."""
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _next(self) -> Batch | None:
        batch = await anext(self._first)
        if self._seam is None:
            return batch
        try:
            events = [given for event in batch.events for given in self._seam.feed(event)]
        except RecoveryDiverged as error:
            self._first.failed(error)
            raise
        return Batch(events=events, token=any(map(is_token, events))) if events else None

    def _keep(self, batch: Batch) -> None:
        self._handed_out.add(batch)
        if self._record is not None:
            for event in batch.events:
                self._record.add(event)

    async def _goes_on_after(self, error: ProviderError) -> bool:
        """Is there another stream that goes on now? If not, the error is to be raised."""
        sent = self._sent() if _is_break(error) else None
        if sent is None:
            return False
        before = self._schedule
        candidates = self._candidates(sent)
        if not candidates or not before.calls_left or before.is_late:
            return False
        await self._first.aclose()
        before.leads_to("recovery")
        schedule = self._schedule = self._plan.go_on(candidates, before)
        first = self._plan.open_stream(schedule, lambda candidate: self._asked_of(candidate, sent))
        try:
            answered = await self._stack.enter_async_context(first)
        except WaypostError as failure:
            error.attempts = schedule.attempts
            if isinstance(error, RecoveryDiverged) or (diverged := _divergence(failure)) is None:
                return False
            diverged.attempts = schedule.attempts
            raise diverged from error
        schedule.note_key(cast("AnswerStream", first.opened).key_label)
        self._first = first
        self._begun.append(answered.candidate)
        self._seam = SEAMS[_way(answered.candidate)](sent, self._spent())
        return True

    def _sent(self) -> Sent | None:
        if not self._handed_out.is_kept:
            kept = self._plan.policy.recover
            self.unrecoverable = KEPT_TOO_LITTLE if kept else "the route does not recover streams"
            return None
        if self._record is None:
            self._record = SentRecord(self._plan.asked.request, self._plan.policy.recover_buffer_bytes)
            for event in self.sent_events():
                self._record.add(event)
        verdict = self._record.verdict()
        if isinstance(verdict, Unrecoverable):
            self.unrecoverable = verdict.reason
            return None
        return verdict

    def _spent(self) -> TotalUsage | None:
        return None if self._seam is None else self._seam.total

    def _candidates(self, sent: Sent) -> list[Candidate[Provider]]:
        """The targets in the route's order, those that failed before after the rest; then those that broke.

        Of those the last one comes last; none comes that refused.
        """
        broken = self._plan.traits(self._begun[-1])
        again = {each.target: each for each in reversed(self._begun)}
        asked = {(each.provider, each.model) for each in self.attempts}
        others = [each for each in self._plan.candidates if each.target not in again]
        others.sort(key=lambda each: each.target in asked)
        refused = {(each.provider, each.model) for each in self.attempts if _is_refusal(each.error)}
        user_turn = self._plan.policy.recover_through_user_turn
        found = []
        for candidate in (*others, *reversed(again.values())):
            way = chosen_way(sent, broken, self._plan.traits(candidate), user_turn=user_turn)
            if way is not None and candidate.target not in refused:
                found.append(replace(candidate, way=way))
        return found

    def _asked_of(self, candidate: Candidate[Provider], sent: Sent) -> Asked:
        way = _way(candidate)
        if way == "restart":
            # In the caller's own words, where the target speaks his dialect.
            return self._plan.asked
        return Asked.of(request_for(way, self._plan.asked.request, sent), stream=True)


def _way(candidate: Candidate[Provider]) -> Way:
    ways: dict[str | None, Way] = {"prefill": "prefill", "user_turn": "user_turn"}
    return ways.get(candidate.way, "restart")


def _is_break(error: ProviderError) -> bool:
    """Did the target break off, or answer something else than it had begun? A refusal is no break."""
    return error.unwell or isinstance(error, RecoveryDiverged)


def _is_refusal(error: Exception | None) -> bool:
    """Would the target say the same again? What diverged is not worth a third answer either."""
    if error is None or isinstance(error, TargetPaused):
        return False
    return isinstance(error, WaypostError) and not (error.unwell or error.retryable)


def _divergence(failure: WaypostError) -> RecoveryDiverged | None:
    errors = [attempt.error for attempt in failure.attempts] if isinstance(failure, AllTargetsFailed) else [failure]
    return next((error for error in reversed(errors) if isinstance(error, RecoveryDiverged)), None)
