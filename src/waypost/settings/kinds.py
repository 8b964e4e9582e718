"""Kinds of analysis of the user's own: what is asked about a content, and the JSON schema of the answer.

A prompt is plain text with the place for the content; nothing in it is executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from waypost.settings.answer_schema import MOST_SCHEMA_BYTES, schema_problem
from waypost.settings.fields import AnchoredPath, Part, refuse_boolean
from waypost.settings.problems import KeyPath, nearest
from waypost.settings.references import NAME, Finding

BUILT_IN_KIND: Final = "analysis"
PLACEHOLDERS: Final = ("content",)
"""What may stand in braces in a prompt."""
BRACED: Final = re.compile(r"\{\{(?P<literal>\w*)\}\}|\{(?P<name>[A-Za-z_]\w*)\}")
"""A placeholder, or a word that is to stay in single braces."""


class KindSettings(Part):
    """A kind of analysis: what is asked about a content, and the form of the answer."""

    prompt: Annotated[str, Field(min_length=1, max_length=50_000)]
    """What is asked; {content} stands for the content, which else comes after it, and {{word}} for {word}."""
    json_schema: dict[str, Any] | None = None
    """The JSON schema of the answer: an object, with references to its own parts only."""
    json_schema_file: AnchoredPath | None = None
    """A JSON file with the schema, instead of json_schema."""
    system: Annotated[str, Field(min_length=1, max_length=50_000)] | None = None
    """Instructions before the prompt; null has none but those that keep the content apart."""
    model: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """The model, route or alias to ask where a request names none; null is the default route."""
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")] | None = None
    """What results of this wording are marked with; null is a hash of prompt, system and schema."""
    max_output_tokens: Annotated[int, Field(ge=64, le=65_536), BeforeValidator(refuse_boolean)] = 2048
    """Most tokens of an answer; of a model that writes less, what it writes."""

    @model_validator(mode="after")
    def _some_schema(self) -> KindSettings:
        if self.json_schema is None:
            raise ValueError("needs json_schema or json_schema_file")
        return self


def kind_findings(kinds: Mapping[str, Any], providers: Mapping[str, Any]) -> list[Finding]:
    """What is wrong with kinds as they are written, beyond the types of their values."""
    findings: list[Finding] = []
    for name, kind in kinds.items():
        findings += _name_findings(name)
        written = kind if isinstance(kind, Mapping) else kind.model_dump() if isinstance(kind, KindSettings) else {}
        findings += _prompt_findings(name, written.get("prompt"))
        findings += _schema_findings(name, written.get("json_schema"))
        findings += _model_findings(name, written.get("model"), providers)
    return findings


def _name_findings(name: str) -> Iterator[Finding]:
    if not NAME.fullmatch(name):
        yield ("kinds", name), f'the name "{name}" in kinds may hold only letters, digits, and . _ : -'
    if name == BUILT_IN_KIND:
        yield ("kinds", name), f"kinds.{name} has the name of the built-in kind; choose another name"


def _prompt_findings(name: str, prompt: Any) -> Iterator[Finding]:
    if not isinstance(prompt, str):
        return
    for match in BRACED.finditer(prompt):
        word = match["name"]
        if word is not None and word not in PLACEHOLDERS:
            guess = nearest(word, PLACEHOLDERS)
            mend = f"did you mean {{{guess}}}?" if guess else "only {content} is."
            told = f"kinds.{name}.prompt holds {{{word}}}, which nothing is put in for; {mend}"
            yield ("kinds", name, "prompt"), f"{told} {{{{{word}}}}} stands for the word in braces"


def _schema_findings(name: str, schema: Any) -> Iterator[Finding]:
    problem = schema_problem(schema) if isinstance(schema, Mapping) else None
    if problem is not None:
        inner, text = problem
        path: KeyPath = ("kinds", name, "json_schema", *inner)
        where = "".join(f"/{step}" for step in inner)
        yield path, f"kinds.{name}.json_schema{f' at {where}' if where else ''} {text}"


def _model_findings(name: str, model: Any, providers: Mapping[str, Any]) -> Iterator[Finding]:
    provider, slash, _ = model.partition("/") if isinstance(model, str) else ("", "", "")
    if slash and provider not in providers:
        guess = nearest(provider, sorted(providers))
        mend = f"did you mean {guess}?" if guess else f"the providers are {', '.join(sorted(providers))}"
        yield ("kinds", name, "model"), f'kinds.{name}.model names the unknown provider "{provider}"; {mend}'


def read_schema(path: Path) -> Any:
    """The JSON value of a schema file. Raises ValueError with a sentence's end that names the file, and the line."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_SCHEMA_BYTES + 1)
        if len(data) > MOST_SCHEMA_BYTES:
            raise ValueError(f"names {path}, which is over the limit of {MOST_SCHEMA_BYTES} bytes")
        return json.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"names {path}, which cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"names {path}, which is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"names {path}, which is not valid JSON: line {error.lineno}: {error.msg}") from error
    except RecursionError:
        raise ValueError(f"names {path}, which is nested too deep") from None
