"""What came of a job's call, whoever made it. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from waypost.chat import Response, Usage
from waypost.chat.usage import COUNTS
from waypost.jobs.job import Cost


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a call, all its attempts together. `cost_micro_usd` None: of one of them no price is known."""

    response: Response | None
    provider: str
    model: str
    usage: Usage
    cost_micro_usd: int | None
    cost_is_estimate: bool
    request_id: str

    @property
    def cost(self) -> Cost:
        """For `StepDone`."""
        counts = {name: count for name in COUNTS if (count := getattr(self.usage, name)) is not None}
        return Cost(self.cost_micro_usd, self.cost_is_estimate, counts, self.provider, self.model)
