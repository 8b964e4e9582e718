"""What is decided of one request before anybody is asked: who is, in which order, for what, and by which policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from waypost.gateway.candidate import Candidate
from waypost.gateway.policy import FallbackClass, Policy
from waypost.providers.asked import Asked
from waypost.providers.provider import Provider


@dataclass(slots=True)
class Planned:
    """Whom one request asks, in order, and by which policy."""

    candidates: Sequence[Candidate[Provider]]
    policy: Policy
    notes: tuple[str, ...]
    route: str | None
    requests: Mapping[tuple[str, str | None], Asked]
    """What is asked of targets that get another request than the caller's."""

    def asked_of(self, candidate: Candidate[Provider], asked: Asked) -> Asked:
        """What is asked of this target."""
        return self.requests.get(candidate.target, asked) if self.requests else asked

    def going_on(self, candidates: Sequence[Candidate[Provider]]) -> Planned:
        """For these to go on with a broken stream: whatever one of them refuses, it is not the caller's fault."""
        return replace(self, candidates=candidates, policy=replace(self.policy, fall_back_on=get_args(FallbackClass)))

    def notes_of(self, candidate: Candidate[Provider]) -> tuple[str, ...]:
        """What the caller should know if this target answers."""
        return (*self.notes, candidate.note) if candidate.note else self.notes
