"""One step of an analysis: a part is asked about, and its answer is held to the kind's schema.

A step is JSON in and JSON out, with no state of its own; run twice it asks the same questions. What goes wrong comes
back as a value: only CancelledError passes. The validator has the last word: an answer that does not fit is shown its
errors at most MOST_REPAIRS times, and then those of its fields are kept that are valid.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from waypost.analysis.answers import NoAnswer, json_objects
from waypost.analysis.ask import Asker, Said
from waypost.analysis.combine import combine
from waypost.analysis.fitting import Fitted, fit
from waypost.analysis.held import held_schema, is_strict
from waypost.analysis.kinds import Kind
from waypost.analysis.plan import Part, part_told
from waypost.analysis.prompts import (
    WEAK_SCHEMA,
    messages_for_chunk,
    messages_for_reduce,
    repair_messages,
    weak_messages,
)
from waypost.analysis.results import PartResult, error_told, usage_sum, usage_told
from waypost.chat import Message, Request, ResponseFormat, Sampling
from waypost.errors import (
    AllTargetsFailed,
    ContentPolicyViolation,
    ProviderBadRequest,
    SchemaNotMet,
    UnsupportedFeature,
    WaypostError,
)
from waypost.settings.answer_schema import schema_problem

__all__ = ["MOST_REPAIRS", "Part", "PartResult", "combine", "run_part"]

MOST_REPAIRS: Final = 2
"""A model on this machine is not asked again: it would not do better."""
_LOG: Final = logging.getLogger("waypost.analysis")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_CUT_OFF: Final = "It was cut off at the end: be shorter."
_ANSWER_CHARACTERS_A_TOKEN: Final = 8
"""How much of an answer that is to be repaired is shown again."""


async def run_part(part: Part, kind: Kind, asker: Asker, earlier: Sequence[Mapping[str, Any]]) -> PartResult:
    """What comes of a part. `earlier` holds, as JSON, the results of the parts it joins; others are passed over."""
    blank = PartResult(part.index, kind.name, kind.version, part.step, part.start, part.end, is_weak=part.is_weak)
    try:
        values = _values_joined(part, earlier)
        if part.step == "reduce" and len(values) < 2:
            return _without_asking(blank, values)
        questions = _Questions(part, _asked_schema(part, kind), asker, _Form.of(part, kind, values, asker))
        return await _answered(questions, blank)
    except Exception as error:  # noqa: BLE001 - a durable step's boundary: the next step reads what went wrong
        if not isinstance(error, WaypostError):
            _LOG.exception("A part of an analysis failed")
        return replace(blank, error=error_told(error))


def _values_joined(part: Part, earlier: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    by_index = {result["index"]: result.get("value") for result in earlier}
    return [value for index in part.inputs if (value := by_index.get(index)) is not None]


def _without_asking(blank: PartResult, values: Sequence[Mapping[str, Any]]) -> PartResult:
    if values:
        return replace(blank, value=dict(values[0]), origin="offline")
    error = {"code": "nothing_to_join", "message": "None of the parts before it has a result."}
    return replace(blank, error={**error, "retryable": False, "retry_after_s": None}, origin="offline")


def _asked_schema(part: Part, kind: Kind) -> Mapping[str, Any]:
    """Raises SchemaNotMet for a schema that nothing fits: one that did not come from checked settings."""
    problem = schema_problem(kind.schema)
    if problem is not None:
        where, text = problem
        place = "".join(f"/{step}" for step in where)
        raise SchemaNotMet(f'The schema of the kind "{kind.name}"{f" at {place}" if place else ""} {text}.')
    return WEAK_SCHEMA if part.is_weak else kind.schema


@dataclass(frozen=True, slots=True)
class _Form:
    """The same question in two forms: for a target that holds to a schema, and with the schema in the prompt."""

    held: tuple[Message, ...] | None
    told: tuple[Message, ...]
    format: ResponseFormat | None

    @classmethod
    def of(cls, part: Part, kind: Kind, values: Sequence[Mapping[str, Any]], asker: Asker) -> _Form:
        def messages(*, tell_schema: bool) -> tuple[Message, ...]:
            if part.is_weak:
                return weak_messages(part.text)
            if part.step == "reduce":
                return messages_for_reduce(kind, values, tell_schema=tell_schema)
            where = part_told(part.number, part.count)
            return messages_for_chunk(kind, part.text, where, tell_schema=tell_schema)

        if not asker.structured_output(part.model):
            return cls(None, messages(tell_schema=True), None)
        held = WEAK_SCHEMA if part.is_weak else held_schema(kind.schema)
        told = not part.is_weak and held != kind.schema
        name = _NOT_IN_NAMES.sub("_", part.kind)[:60]
        form = ResponseFormat("json_schema", held, name=name, strict=True if is_strict(held) else None)
        return cls(messages(tell_schema=told), messages(tell_schema=True), form)


@dataclass(slots=True)
class _Questions:
    """The questions of one part, numbered, and what was used for them."""

    part: Part
    schema: Mapping[str, Any]
    asker: Asker
    form: _Form
    said: list[Said] = field(default_factory=list)
    asked: int = 0
    is_held: bool = True
    """Is the provider asked to hold the answer to the schema? Not again after one refused that."""

    async def ask(self, following: tuple[Message, ...]) -> Said:
        """One question: the first one, with what `following` goes on with. Raises WaypostError."""
        if self.is_held and self.form.held is not None:
            try:
                return await self._ask(self.form.held, following, self.form.format)
            except (ProviderBadRequest, UnsupportedFeature, AllTargetsFailed) as error:
                if not _is_refusal(error):
                    raise
                # A schema may use what this provider's structured output does not know.
                self.is_held = False
        return await self._ask(self.form.told, following, None)

    async def _ask(
        self, messages: tuple[Message, ...], following: tuple[Message, ...], form: ResponseFormat | None
    ) -> Said:
        sampling = Sampling(max_tokens=self.part.output_tokens)
        request = Request(self.part.model, (*messages, *following), sampling=sampling, response_format=form)
        name = f"{self.part.index}.{self.asked}"
        self.asked += 1
        said = await self.asker.ask(request, part=name)
        self.said.append(said)
        return said


def _is_refusal(error: WaypostError) -> bool:
    """Was the request found invalid, by all who were asked?"""
    if isinstance(error, AllTargetsFailed):
        return isinstance(error.common, ProviderBadRequest | UnsupportedFeature)
    return True


async def _answered(questions: _Questions, blank: PartResult) -> PartResult:
    """The first answer that fits, else the best of all, else an error."""
    best = Fitted(None, problems=("nothing came",))
    error: WaypostError | None = None
    cut_off = False
    try:
        async for said, fitted in _answers(questions, 1 if blank.is_weak else MOST_REPAIRS + 1):
            if fitted.better_than(best):
                best, cut_off = fitted, said.reason == "length"
    except WaypostError as raised:
        error = raised
    done = _accounted(blank, questions.said)
    if best.value is not None:
        return replace(done, value=best.value, missing=best.missing, cut_off=cut_off)
    unusable = SchemaNotMet(f"The model's answer cannot be used: {best.problems[0]}")
    return replace(done, error=error_told(error or unusable))


async def _answers(questions: _Questions, most: int) -> AsyncIterator[tuple[Said, Fitted]]:
    """Answers until one fits, each asked for with what was wrong with the one before. Raises WaypostError."""
    following: tuple[Message, ...] = ()
    for _ in range(most):
        said = await questions.ask(following)
        fitted = _fitted(said, questions.schema)
        yield said, fitted
        if not fitted.problems:
            return
        if fitted.value is None and said.reason == "content_filter":
            raise ContentPolicyViolation("The provider's content policy stopped the answer.", provider=said.provider)
        shown = said.text[: questions.part.output_tokens * _ANSWER_CHARACTERS_A_TOKEN]
        following = repair_messages(shown, fitted.problems)


def _fitted(said: Said, schema: Mapping[str, Any]) -> Fitted:
    """The first object of the answer, or one further on or within it that fits as a whole."""
    cut_off = (_CUT_OFF,) if said.reason == "length" else ()
    try:
        objects = json_objects(said.text)
        first = fit(next(objects), schema)
        if not first.problems:
            return first
        others = (fit(each, schema) for each in objects) if schema.get("required") else ()
        whole = next((each for each in others if not each.problems), None)
    except NoAnswer as error:
        return Fitted(None, problems=(str(error), *cut_off))
    return whole or replace(first, problems=(*first.problems, *cut_off))


def _accounted(result: PartResult, said: Sequence[Said]) -> PartResult:
    """With who answered last and what all answers used. Nothing is known of a question that failed."""
    if not said:
        return result
    costs = [each.cost_micro_usd for each in said]
    return replace(
        result,
        provider=said[-1].provider,
        model=said[-1].model,
        usage=usage_sum([usage_told(each.usage) for each in said]),
        cost_micro_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        request_ids=tuple(each.request_id for each in said if each.request_id),
        repaired=len(said) - 1,
        structured=said[-1].structured,
    )
