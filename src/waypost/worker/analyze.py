"""Jobs of the type `analyze`: a text or document, asked about part by part. What is asked is in `waypost.analysis`.

Each part is a step, so that none is asked about, or paid, twice over a crash. The invariant: the parts of a job are
planned once; its steps are named by the wording that is asked for, so that another wording is asked anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from waypost.analysis.combine import combine
from waypost.analysis.extract import ExtractLimits, extract_text
from waypost.analysis.kinds import Kind, chosen_kinds, kinds_of
from waypost.analysis.limits import limits_of
from waypost.analysis.plan import MOST_CONTENT_BYTES, Part, parts_of
from waypost.analysis.results import PartResult
from waypost.errors import EmptyDocument, UnknownModel
from waypost.gateway.gateway import Gateway
from waypost.jobs.batch import LOWER_PRICE
from waypost.jobs.body import JobContext, StepDone
from waypost.jobs.job import Input, JobEnd, JobError
from waypost.settings import Settings
from waypost.worker.asking import JobAsker, PartFailed, Patience
from waypost.worker.calls import JobCalls

PLAIN: Final = "text/plain"
PARTS_AT_ONCE: Final = 4
"""Of one job: others want to be done too."""
EXTRACT: Final = "extract"
PLAN: Final = "plan"


@dataclass(frozen=True, slots=True)
class Document:
    """The text that is analyzed, and what is told of where it came from."""

    text: str
    told: Mapping[str, Any]


class AnalyzeBody:
    """Implements JobBody. The request has `kinds`, `model` and `allow_offline`."""

    def __init__(self, calls: JobCalls, gateway: Gateway, settings: Settings) -> None:
        self._calls = calls
        self._gateway = gateway
        self._settings = settings
        # A document's text may be longer than the document, which is packed.
        self._most_bytes = max(settings.jobs.max_content_bytes, MOST_CONTENT_BYTES)

    async def run(self, context: JobContext) -> JobEnd:
        """Read the document, ask about its parts, and put together what came of them."""
        request = context.job.request
        allow_offline = bool(request.get("allow_offline"))
        kinds = chosen_kinds(kinds_of(self._settings), request.get("kinds"))
        document = await self._document(context)
        parts = await self._planned(context, document.text, kinds, allow_offline=allow_offline)
        patience = Patience.of(allow_offline=allow_offline)
        # What is asked in several rounds would take as many days.
        cheap = bool(request.get(LOWER_PRICE)) and len(parts) == 1
        asking = _Asking(context, self._calls, self._gateway, kinds, patience, at_lower_price=cheap)
        results = await asking.all_of(parts)
        # In a thread: the offline analyzer takes its time over a long text.
        result = await asyncio.to_thread(combine, kinds, results, document.text, allow_offline=allow_offline)
        return _end({**result, "document": dict(document.told)})

    async def _document(self, context: JobContext) -> Document:
        """Raises UnreadableDocument."""
        content = await context.input()
        if content is None:
            raise EmptyDocument("The job has no content.")
        if content.media_type == PLAIN and content.name is None:
            told: Mapping[str, Any] = {"name": None, "media_type": PLAIN, "pages": None, "notes": []}
            return Document(content.data.decode(), told)
        extracted: Mapping[str, Any] = await context.step(EXTRACT, lambda: self._extracted(content))
        return Document(extracted["text"], {name: value for name, value in extracted.items() if name != "text"})

    async def _extracted(self, content: Input) -> StepDone:
        limits = ExtractLimits(text_bytes=self._most_bytes)
        if len(content.data) > limits.document_bytes:
            limits = replace(limits, document_bytes=len(content.data))
        read = await extract_text(content.data, content.name or "", content.media_type, limits)
        told = {"name": content.name, "media_type": read.media_type, "pages": read.pages, "notes": list(read.notes)}
        return StepDone({**told, "text": read.text})

    async def _planned(
        self, context: JobContext, text: str, kinds: Sequence[Kind], *, allow_offline: bool
    ) -> Sequence[Part]:
        """Once, and kept without the text: other settings, after a crash, must not give other parts."""

        async def plan() -> StepDone:
            parts = await asyncio.to_thread(self._parts, context, text, kinds, allow_offline=allow_offline)
            return StepDone([{**part.to_dict(), "text": ""} for part in parts])

        told: Sequence[dict[str, Any]] = await context.step(PLAN, plan)
        return [Part.from_dict({**part, "text": text[part["start"] : part["end"]]}) for part in told]

    def _parts(self, context: JobContext, text: str, kinds: Sequence[Kind], *, allow_offline: bool) -> Sequence[Part]:
        model: str | None = context.job.request.get("model")
        try:
            limits = {kind.name: limits_of(self._gateway, self._settings, model or kind.model) for kind in kinds}
        except UnknownModel:
            # Without any provider there is nobody to ask.
            if not allow_offline or model is not None:
                raise
            return []
        return parts_of(text, kinds, limits, most_bytes=self._most_bytes)


class _Asking:
    """The parts of one job, some beside each other. Each waits for those that it joins."""

    def __init__(
        self,
        context: JobContext,
        calls: JobCalls,
        gateway: Gateway,
        kinds: Sequence[Kind],
        patience: Patience,
        *,
        at_lower_price: bool,
    ) -> None:
        self._at_lower_price = at_lower_price
        self._context = context
        self._calls = calls
        self._gateway = gateway
        self._kinds = {kind.name: kind for kind in kinds}
        self._patience = patience
        self._places = asyncio.Semaphore(PARTS_AT_ONCE)
        self._done = 0

    async def all_of(self, parts: Sequence[Part]) -> Sequence[PartResult]:
        """What came of each, in their order. Raises what is no failure of a part."""
        total = len(parts)
        await self._context.progress(0, total)
        tasks: dict[int, asyncio.Task[PartResult]] = {}

        async def do(part: Part) -> PartResult:
            earlier = [await tasks[index] for index in part.inputs]
            async with self._places:
                result = await self._ask(part, [each.to_dict() for each in earlier])
            self._done += 1
            await self._context.progress(self._done, total)
            return result

        try:
            for part in parts:
                tasks[part.index] = asyncio.ensure_future(do(part))
            return await asyncio.gather(*tasks.values())
        finally:
            # One that failed ends all; whoever is cancelled leaves nothing running behind.
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _ask(self, part: Part, earlier: Sequence[Mapping[str, Any]]) -> PartResult:
        kind = self._kinds[part.kind]
        name = f"{part.index}:{kind.version}"
        asker = JobAsker(self._calls, self._gateway, self._context.job, "part", at_lower_price=self._at_lower_price)
        tries = self._patience.tries()
        while True:
            try:
                told = await self._context.step(name, lambda: asker.step(part, kind, earlier))
            except PartFailed as failed:
                if not await tries.again(failed.error):
                    return failed.result
            else:
                return PartResult.from_dict(told)


def _end(result: Mapping[str, Any]) -> JobEnd:
    """It failed if nothing came of any kind; a part of the result may be there all the same."""
    kinds = list(result["results"].values())
    if any(kind["status"] != "failed" for kind in kinds):
        return JobEnd("succeeded", result)
    error = kinds[0]["error"] or {}
    why = JobError(error.get("code", "no_result"), error.get("message", "Nothing came of it."), _HINT)
    return JobEnd("failed", result, why)


_HINT: Final = "Retry the job; what was done is kept. With allow_offline an analysis without a model would stand in."
