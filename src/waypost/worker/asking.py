"""How an analysis asks: each question a call of the job's, and how long it goes on asking when it gets no answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from waypost.analysis.ask import Said
from waypost.analysis.kinds import Kind
from waypost.analysis.limits import structured_output
from waypost.analysis.plan import Part
from waypost.analysis.results import PartResult
from waypost.analysis.run import run_part
from waypost.chat import Request
from waypost.errors import DatabaseUnavailable, JournalFull, LimitExceeded, ServerBusy
from waypost.gateway.gateway import Gateway
from waypost.jobs.body import StepDone, note_lost
from waypost.jobs.costs import total
from waypost.jobs.job import Cost, Job
from waypost.worker.calls import JobCalls

OWN_LIMITS: Final = frozenset(kind.code for kind in (LimitExceeded, ServerBusy, DatabaseUnavailable, JournalFull))
"""What passes by itself: a job waits for it, where a caller would have to come back."""
FIRST_QUESTION: Final = ".0"
"""How the name of a part's first question ends."""
LONGEST_WAIT_S: Final = 60.0
FIRST_WAIT_S: Final = 2.0


class PartFailed(Exception):
    """Nothing came of a part: its step has not come to its end, and may be done again."""

    def __init__(self, result: PartResult) -> None:
        super().__init__(result.error)
        self.result = result
        self.error: Mapping[str, Any] = result.error or {}


class JobAsker:
    """Implements Asker for one part of one job."""

    def __init__(self, calls: JobCalls, gateway: Gateway, job: Job, step: str, *, at_lower_price: bool = False) -> None:
        self._at_lower_price = at_lower_price
        self._calls = calls
        self._gateway = gateway
        self._job = job
        self._step = step
        self._costs: list[Cost] = []
        self._request_id: str | None = None

    async def ask(self, request: Request, *, part: str) -> Said:
        """See Asker."""
        asked = replace(request, end_user_id=self._job.end_user)
        # Only the first question: what is asked because of its answer is asked at once.
        cheap = self._at_lower_price and part.endswith(FIRST_QUESTION)
        called = await self._calls.generate(self._job, asked, step=f"{self._step}.{part}", at_lower_price=cheap)
        self._costs.append(called.cost)
        self._request_id = called.request_id
        choices = () if called.response is None else called.response.choices
        return Said(
            choices[0].text if choices else "",
            called.provider,
            called.model,
            called.usage,
            called.cost_micro_usd,
            called.request_id,
            structured=request.response_format is not None,
            reason=choices[0].reason if choices else "other",
        )

    def structured_output(self, model: str) -> bool:
        """See Asker."""
        return structured_output(self._gateway, model)

    async def step(self, part: Part, kind: Kind, earlier: Sequence[Mapping[str, Any]]) -> StepDone:
        """Ask about the part. Raises PartFailed; what its questions cost counts all the same."""
        self._costs.clear()
        self._request_id = None
        result = await run_part(part, kind, self, earlier)
        spent = total(self._costs)
        if result.error is not None:
            note_lost(spent)
            raise PartFailed(result)
        return StepDone(result.to_dict(), spent, self._request_id)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a part is asked about: so many times while providers fail, so long while our own limits hold it back."""

    provider_tries: int = 3
    own_limits_s: float = 900.0

    @classmethod
    def of(cls, *, allow_offline: bool) -> Patience:
        """Where something stands in for a model, providers are asked once, as often as the gateway does."""
        return cls(provider_tries=1, own_limits_s=60.0) if allow_offline else cls()

    def tries(self, clock: Callable[[], float] = time.monotonic) -> Tries:
        """Those of one part, which begin now."""
        return Tries(self, clock)


class Tries:
    """How often one part was asked about."""

    def __init__(self, patience: Patience, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._began = clock()
        self._made = 0

    async def again(self, error: Mapping[str, Any]) -> bool:
        """Is it to be tried once more? Then the time that it takes has passed."""
        wait_s = self.wait_s(error)
        if wait_s is None:
            return False
        await asyncio.sleep(wait_s)
        return True

    def wait_s(self, error: Mapping[str, Any]) -> float | None:
        """How long to wait before the next try; None: there is none."""
        told_s: float | None = error.get("retry_after_s")
        if error.get("code") in OWN_LIMITS:
            # Without a time the request alone is too large: no wait helps.
            if told_s is None or self._clock() + told_s > self._began + self._patience.own_limits_s:
                return None
            return min(told_s, LONGEST_WAIT_S)
        self._made += 1
        if not error.get("retryable") or self._made >= self._patience.provider_tries:
            return None
        return min(told_s if told_s is not None else FIRST_WAIT_S * 2 ** (self._made - 1), LONGEST_WAIT_S)
