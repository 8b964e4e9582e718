"""Pydantic's findings about a request as sentences that name the field, the limit and the nearest right name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from waypost.errors import InvalidRequest
from waypost.server.envelope import sentence_list
from waypost.server.models import EMPTY_PROMPT

Finding = Mapping[str, Any]
ModelT = TypeVar("ModelT", bound=BaseModel)

EXPECTED: Mapping[str, str] = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
}
"""Pydantic's type errors as what should have been sent."""
UNIONS: Mapping[str, str] = {
    "stop": "a string or a list of strings",
    "tool_choice": '"auto", "none", "required" or an object',
}
"""Fields that take several types; Pydantic reports each of them, and one sentence is enough."""
EXAMPLE = '{"prompt": "…"}'
"""A body that would do."""
LONGEST_SHOWN = 60
MOST_FINDINGS = 20
"""A body with more has not been written for this endpoint."""


class InvalidFields(InvalidRequest):
    """A body with wrong fields. The message tells the first finding, `findings` all of them."""

    def __init__(self, findings: Sequence[tuple[str, str]], *, hint: str) -> None:
        super().__init__(findings[0][1], hint=hint, param=findings[0][0][:LONGEST_SHOWN] or None)
        self.findings = tuple(
            {"param": param[:LONGEST_SHOWN], "message": message} for param, message in findings[:MOST_FINDINGS]
        )


def checked(model: type[ModelT], value: Any, example: str = EXAMPLE) -> ModelT:
    """The value as that model. Raises InvalidRequest."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"The body must be a JSON object, not {_kind(value)}.", hint=f"For instance {example}.")
    fields = tuple(model.model_fields)
    unknown = tuple(islice((name for name in value if name not in model.model_fields), MOST_FINDINGS))
    if len(unknown) == MOST_FINDINGS:
        # Pydantic would first make a finding of every one, and there may be hundreds of thousands.
        raise InvalidFields([(name, _unknown(name, fields)) for name in unknown], hint=_known(fields))
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise explain(error, fields) from error


def explain(error: ValidationError, fields: Sequence[str]) -> InvalidRequest:
    """Pydantic's error as ours. `fields` are the names that would have been right."""
    by_place: dict[str, list[Finding]] = {}
    for finding in error.errors(include_url=False):
        by_place.setdefault(_place(finding), []).append(finding)
    findings = [(place, _sentence(place, found, fields)) for place, found in islice(by_place.items(), MOST_FINDINGS)]
    if by_place.keys() == {""} and by_place[""][0]["type"] == EMPTY_PROMPT:
        return InvalidRequest("The prompt is empty.", hint="Send a prompt, or messages.", param="prompt")
    first = next(iter(by_place.values()))[0]
    hint = "" if first["type"] != "extra_forbidden" else _known(fields)
    return InvalidFields(findings, hint=hint)


def _known(fields: Sequence[str]) -> str:
    return f"Known fields: {', '.join(fields)}."


def _place(finding: Finding) -> str:
    """`messages[0]`. For a union only the field: what comes then is the branch that was tried."""
    field, *steps = finding["loc"] or ("",)
    entry = f"[{steps[0]}]" if steps and isinstance(steps[0], int) else ""
    return f"{field}{entry}"


def _sentence(place: str, findings: Sequence[Finding], fields: Sequence[str]) -> str:
    first = next((finding for finding in findings if finding["type"] in _LIMITS), findings[0])
    limit = _LIMITS.get(first["type"])
    if place in UNIONS and limit is None:
        return f"{place} must be {UNIONS[place]}."
    expected = [EXPECTED[finding["type"]] for finding in findings if finding["type"] in EXPECTED]
    if expected and len(expected) == len(findings):
        wanted = sentence_list(dict.fromkeys(expected))
        return f"{place} must be {wanted}, not {_kind(findings[0]['input'])}."
    if first["type"] == "missing":
        return f"{place} is missing."
    if first["type"] == "value_error":
        return f"{place} {first['ctx']['error']}."
    if first["type"] == "extra_forbidden":
        return _unknown(str(first["loc"][0]), fields)
    if limit is not None:
        return f"{place} must be {limit(first['ctx'])}{_shown(first['input'])}."
    return f"{place}: {first['msg']}."


def _unknown(name: str, fields: Sequence[str]) -> str:
    # The comparison takes time with the length, and no field has a name as long as this.
    guess = difflib.get_close_matches(name, fields, n=1, cutoff=0.6) if len(name) <= LONGEST_SHOWN else []
    mend = f": did you mean {guess[0]}?" if guess else "."
    return f'There is no field "{name[:LONGEST_SHOWN]}"{mend}'


_LIMITS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda context: f"at least {context['ge']:g}",
    "greater_than": lambda context: f"more than {context['gt']:g}",
    "less_than_equal": lambda context: f"at most {context['le']:g}",
    "too_long": lambda context: f"a list of at most {context['max_length']} entries",
    "too_short": lambda context: f"a list of at least {context['min_length']} entries",
    "string_too_short": lambda context: f"at least {context['min_length']} characters long",
    "string_too_long": lambda context: f"at most {context['max_length']} characters long",
}


def _shown(value: Any) -> str:
    return f", not {value}" if isinstance(value, int | float) and len(str(value)) <= LONGEST_SHOWN else ""


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value) if len(str(value)) <= LONGEST_SHOWN else "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"
