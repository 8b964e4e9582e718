"""An analysis that is asked for by a form: a file, and the fields of the JSON body. It is read as it comes.

Without keys, any page of another site could have a browser send a form. Such a request names its origin, which
`guard` looks at, and no page can leave that out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.types import Scope

from waypost.errors import InvalidRequest
from waypost.jobs.job import Input
from waypost.server.analyze_checks import too_large
from waypost.server.job_models import AnalyzeRequest
from waypost.server.middleware.headers import header_value, header_values
from waypost.server.middleware.json_only import FORM, says_form
from waypost.server.middleware.tags import tags_in
from waypost.server.multipart import FormDecoder, FormPart, boundary_of
from waypost.server.validation import checked

FILE: Final = "file"
TEXTS: Final = frozenset({"content", "prompt"})
MOST_FIELD_BYTES: Final = 16 * 1024
MOST_BESIDE_BYTES: Final = 256 * 1024
"""What a form may have beside its largest part."""
LONGEST_FILE_NAME: Final = 200


def is_form(scope: Scope) -> bool:
    """Does the body say that it is a form with files?"""
    types = header_values(scope, b"content-type")
    return len(types) == 1 and says_form(types[0])


async def read_form(request: Request, most_bytes: int) -> tuple[AnalyzeRequest, Input | None]:
    """The fields, and the file. Raises InvalidRequest, DocumentTooLarge."""
    declared = header_value(request.scope, b"content-length") or ""
    if declared.isdecimal() and int(declared[:19]) > most_bytes + MOST_BESIDE_BYTES:
        raise too_large(FILE, most_bytes)

    def limit_of(part: FormPart) -> int:
        return most_bytes if part.name == FILE or part.name in TEXTS else MOST_FIELD_BYTES

    decoder = FormDecoder(
        boundary_of(header_value(request.scope, b"content-type") or ""),
        limit_of,
        lambda part, limit: too_large(part.name[:60], limit),
    )
    async for piece in request.stream():
        decoder.feed(piece)
    return _taken(decoder.finish())


def _taken(parts: Sequence[FormPart]) -> tuple[AnalyzeRequest, Input | None]:
    file: Input | None = None
    fields: dict[str, Any] = {}
    for part in parts:
        if part.name == FILE:
            if file is not None:
                raise InvalidRequest("There are several files; send one at a time.", param=FILE)
            file = _file(part)
        else:
            _add(fields, part)
    return checked(AnalyzeRequest, fields, f"a {FORM} with a file"), file


def _file(part: FormPart) -> Input:
    if part.filename is None:
        raise InvalidRequest("The field file is no file.", hint="With curl: --form file=@report.pdf", param=FILE)
    name = part.filename.replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in name if character.isprintable())
    # The end has the type.
    return Input(part.data, part.media_type or "", name[-LONGEST_FILE_NAME:] or None)


def _add(fields: dict[str, Any], part: FormPart) -> None:
    name = part.name
    try:
        text = part.data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"{name[:60]} is not text in UTF-8.", hint="Send a document as file.", param=name[:60]
        ) from None
    read = READERS.get(name, _plain)
    value = read(name, text)
    if name in fields and name not in ("kinds", "tags"):
        raise InvalidRequest(f"{name[:60]} is there twice.", param=name[:60])
    match value:
        case list():
            fields[name] = [*fields.get(name, ()), *value]
        case dict():
            fields[name] = {**fields.get(name, {}), **value}
        case _:
            fields[name] = value


def _plain(_: str, text: str) -> Any:
    return text


def _kinds(_: str, text: str) -> list[str]:
    return [each.strip() for each in text.split(",")]


def _tags(name: str, text: str) -> Mapping[str, str]:
    tags = tags_in(text)
    if tags is None or len(tags) != len(text.split(",")):
        raise InvalidRequest("tags must be names and values: team=search, feature=summary.", param=name)
    return tags


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidRequest(f"{name} must be true or false.", param=name)
    return text == "true"


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidRequest(f"{name} must be a whole number.", param=name)
    return int(text)


READERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "kinds": _kinds,
    "tags": _tags,
    "allow_offline": _flag,
    "priority": _number,
}
"""How the text of a field becomes what JSON would have. All others are text."""
