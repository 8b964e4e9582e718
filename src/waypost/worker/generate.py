"""Jobs of the type `generate`: one prompt, one answer. The whole of it is one step."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from waypost.chat import Request
from waypost.doors.background import response_id_of
from waypost.doors.reply import whole_reply
from waypost.doors.telling import Telling as Canonical
from waypost.doors.telling import Told
from waypost.errors import WaypostError
from waypost.jobs.batch import LOWER_PRICE
from waypost.jobs.batch_told import ITEM_NAME
from waypost.jobs.body import JobContext, StepDone
from waypost.jobs.job import JobEnd
from waypost.jobs.patience import PatientDatabase
from waypost.manager.arguments import to_request
from waypost.manager.response import to_ai_response, usd
from waypost.manager.service import opened_stream
from waypost.providers.asked import Asked
from waypost.worker.telling import Telling

if TYPE_CHECKING:
    from waypost.worker.app import WorkerApplication

STEP: Final = "answer"
TEXTS: Final = {"delta": "content", "reasoning": "reasoning", "refusal": "refusal"}
"""Which member of the whole answer an event's text belongs to."""
EVENTS: Final = "events"
"""In a job's request: is its answer told as a stream?"""


class GenerateBody:
    """Implements JobBody. The request has `prompt`, and the arguments of `/api/ai/generate` that were given."""

    def __init__(self, application: WorkerApplication) -> None:
        self._calls = application.calls
        self._database = PatientDatabase(application.database)
        self._most_bytes = application.settings.jobs.max_stream_bytes

    async def run(self, context: JobContext) -> JobEnd:
        """Ask, and give the answer with who answered."""
        telling = _AnswerTelling(context)
        tells = bool(context.job.request.get(EVENTS))
        return await telling.end(context.step(STEP, lambda: self._streamed(telling) if tells else self._whole(telling)))

    async def _whole(self, telling: _AnswerTelling) -> StepDone:
        job = telling.context.job
        cheap = bool(job.request.get(LOWER_PRICE))
        called = await self._calls.generate(job, _request(job.request), step=STEP, at_lower_price=cheap)
        if called.response is None:
            return StepDone(None, called.cost, called.request_id)
        response = to_ai_response(called.response, called.provider)
        response.model, response.metadata["cost_usd"] = called.model, usd(called.cost_micro_usd)
        return StepDone(whole_reply(response, telling.answer_id), called.cost, called.request_id)

    async def _streamed(self, telling: _AnswerTelling) -> StepDone:
        job = telling.context.job
        await telling.begin_round(self._database, self._most_bytes)
        asked = Asked.of(_request(job.request), stream=True)
        async with (
            self._calls.stream(job, asked, step=STEP) as called,
            aclosing(called.served.events()) as events,
        ):
            stream = await opened_stream(events, called.served)
            canonical = Canonical(stream, telling.answer_id)
            async for event in stream:
                for told in canonical.tell(event):
                    await telling.take(told)
            done = canonical.done()
        await telling.flush()
        result = telling.answer(done.data)
        return (
            StepDone(result)
            if called.called is None
            else StepDone(result, called.called.cost, called.called.request_id)
        )


class _AnswerTelling(Telling):
    """One answer in the form of `/api/ai/generate`."""

    def __init__(self, context: JobContext) -> None:
        super().__init__(context, prelude=0)
        self.answer_id = response_id_of(context.job.id)
        self._texts: dict[str, list[str]] = {name: [] for name in TEXTS.values()}
        self._calls: list[Any] = []

    async def take(self, told: Told) -> None:
        """The next event."""
        if told.event in TEXTS:
            self._texts[TEXTS[told.event]].append(told.data["text"])
        elif told.event == "tool_call":
            self._calls.append(told.data)
        await self.tell([((told.event, told.data), len(str(told.data)))])

    def answer(self, done: Mapping[str, Any]) -> dict[str, Any]:
        """The whole answer."""
        return {**self._told(), **done}

    def _told(self) -> dict[str, Any]:
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        return {
            "content": texts["content"],
            "reasoning": texts["reasoning"] or None,
            "refusal": texts["refusal"] or None,
        }

    async def whole(self, done: Any) -> Any:
        """It is what the step gave."""
        return done

    def broken(self, status: str, error: WaypostError | None) -> Any:  # noqa: ARG002 - the job says both
        """What had come of it; None: nothing."""
        told = self._told()
        if not (any(told.values()) or self._calls):
            return None
        return {**told, "id": self.answer_id, "tool_calls": self._calls, "complete": False}


def _request(told: Mapping[str, Any]) -> Request:
    """Raises InvalidRequest."""
    arguments = {name: value for name, value in told.items() if name not in ("prompt", EVENTS, ITEM_NAME, LOWER_PRICE)}
    return to_request(told.get("prompt"), arguments)
