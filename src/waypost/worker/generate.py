"""Jobs of the type `generate`: one prompt, one answer. The whole of it is one step."""

from __future__ import annotations

from waypost.chat import Message, Request, Text
from waypost.jobs.body import JobContext, StepDone
from waypost.jobs.job import JobEnd
from waypost.worker.calls import JobCalls


class GenerateBody:
    """Implements JobBody. The request has `prompt`, and `model` if it is not the default route."""

    def __init__(self, calls: JobCalls) -> None:
        self._calls = calls

    async def run(self, context: JobContext) -> JobEnd:
        """Ask, and give the text with who answered."""
        told = context.job.request
        request = Request(told.get("model") or "", (Message("user", (Text(told.get("prompt") or ""),)),))

        async def ask() -> StepDone:
            called = await self._calls.generate(context.job, request, step="answer")
            text = called.response.text if called.response is not None else ""
            told = {"text": text, "provider": called.provider, "model": called.model}
            return StepDone(told, called.cost, called.request_id)

        return JobEnd("succeeded", await context.step("answer", ask))
