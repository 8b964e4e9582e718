"""How a model is asked and what it said: the seam between an analysis and whoever makes the calls.

The worker implements `Asker` over the gateway, in the name of the account that the analysis is for. Nothing in this
package calls a provider by another way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from waypost.chat import FinishReason, Request, Usage


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. `cost_micro_usd` None: not known. `structured`: was it held to the schema by the provider?

    `reason` is the finish reason: after "length" the answer was cut off.
    """

    text: str
    provider: str
    model: str
    usage: Usage
    cost_micro_usd: int | None
    request_id: str | None
    structured: bool
    reason: FinishReason = "stop"


class Asker(Protocol):
    """Makes the calls of an analysis."""

    async def ask(self, request: Request, *, part: str) -> Said:
        """The whole answer. `part` names the question: the same in each run of the step, another for each question.

        Raises WaypostError.
        """

    def structured_output(self, model: str) -> bool:
        """Is every target behind this name known to hold its answers to a JSON schema?"""
