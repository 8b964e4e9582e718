"""What the pages under /api/admin for projects, keys and the audit log have in common: who may, what is read, how.

They are plain functions, which FastAPI runs in threads: the database may take its time. The invariant: nothing is read
of a request before it is known that an administrator sent it.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from fastapi import Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from waypost.errors import (
    AuthenticationRequired,
    Conflict,
    DatabaseUnavailable,
    InvalidRequest,
    NotAllowed,
    OriginRefused,
    ServerBusy,
    UnknownObject,
    UnsupportedMediaType,
    WaypostError,
)
from waypost.ledger.books import now_ms
from waypost.ledger.definitions import MICRO, TAG_NAME, UnusableField
from waypost.ledger.moments import moment_ms
from waypost.server.application import served_by
from waypost.server.body import read_body
from waypost.server.callers import Callers, caller_of
from waypost.server.documentation import PAGE_RESPONSES, error_responses, json_of
from waypost.server.jsonwire import json_bytes
from waypost.server.validation import InvalidFields
from waypost.store.lazy import LazyDatabase

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.ledger.audit import Change
    from waypost.store.database import Database

logger = logging.getLogger("waypost.server")
ModelT = TypeVar("ModelT", bound=BaseModel)
EXAMPLE: Final = '{"name": "…"}'
PAGE: Final = 50
LONGEST_PAGE: Final = 200
LONGEST_TEXT: Final = 200
MOST_NUMBER: Final = 2**53
RETRY_AFTER_S: Final = 5.0


class UnusableFields(UnusableField):
    """A body with wrong fields: `findings` tells all of them."""

    def __init__(self, error: InvalidFields) -> None:
        super().__init__(error.message, hint=error.hint, param=error.param)
        self.findings = error.findings


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who administers, and what with."""

    actor: str
    database: LazyDatabase
    callers: Callers

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot of the database. Raises DatabaseUnavailable."""
        with _answering(self.database), self.database.open().read() as connection:
            yield connection

    @contextmanager
    def using(self) -> Iterator[Database]:
        """The database, for what makes transactions of its own. Raises DatabaseUnavailable."""
        with _answering(self.database):
            yield self.database.open()

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """One transaction with its line in the audit log; this server knows what it did when the block is left."""
        with _answering(self.database):
            from waypost.ledger.audit import changing

            with changing(self.database.open(), self.actor) as change:
                yield change
        self.look()

    def delete_project(self, project_id: str) -> None:
        """With all that it has. Raises UnknownObject, DatabaseUnavailable."""
        with _answering(self.database):
            from waypost.ledger.erasure import delete_project

            delete_project(self.database.open(), self.actor, project_id)
        self.look()

    def look(self) -> None:
        """Others see a change within a second; who made it may use it at once."""
        if self.callers.watch is not None:
            self.callers.watch.look_soon()


async def administrator(request: Request) -> Administrator:
    """Who sent the request. Raises NotAllowed."""
    caller, served = caller_of(request.scope), served_by(request)
    caller.demand_admin()
    return Administrator(caller.account.key_id, served.database, served.callers)


ByAdministrator = Annotated[Administrator, Depends(administrator)]


def body_of(model: type[ModelT]) -> Callable[..., Awaitable[ModelT]]:
    """A dependency: an administrator's body as that model. Raises UnusableField, InvalidRequest."""

    async def read(request: Request, _: ByAdministrator) -> ModelT:
        try:
            return await read_body(request, model, EXAMPLE)
        except InvalidFields as error:
            raise UnusableFields(error) from error

    return read


@contextmanager
def _answering(database: LazyDatabase) -> Iterator[None]:
    from waypost.store.database import DatabaseError
    from waypost.store.troubles import trouble

    try:
        yield
    except DatabaseError as error:
        logger.error("an administrator's request failed: %s", trouble(error, database.url))  # noqa: TRY400
        raise DatabaseUnavailable("The database does not answer now.", retry_after_s=RETRY_AFTER_S) from error


class Query:
    """A request's query. Raises UnusableField for a parameter that is unknown, is there twice, or makes no sense.

    Tags may be several; `is_paged` False: there are no pages.
    """

    def __init__(self, request: Request, *known: str, is_paged: bool = True, many_tags: bool = False) -> None:
        self._given: dict[str, str] = {}
        self._tags: list[str] = []
        known = (*known, *PAGE_PARAMETERS) if is_paged else known
        for name, text in request.query_params.multi_items():
            if name not in known:
                raise UnusableField(f'There is no parameter "{name[:60]}".', hint=f"There are {', '.join(known)}.")
            if name in self._given and not (many_tags and name == "tag"):
                raise UnusableField(f"{name} is there twice.", param=name)
            self._given[name] = text
            if name == "tag":
                self._tags.append(text)

    @property
    def limit(self) -> int:
        """Entries a page."""
        text = self._given.get("limit", str(PAGE))
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LONGEST_PAGE):
            raise UnusableField(f"limit must be a whole number from 1 to {LONGEST_PAGE}.", param="limit")
        return int(text)

    @property
    def after(self) -> str | None:
        """The last id of the page before."""
        return self.text("after")

    def text(self, name: str) -> str | None:
        """Text of one line."""
        text = self._given.get(name)
        if text is not None and not (0 < len(text) <= LONGEST_TEXT and text.isprintable()):
            raise UnusableField(f"{name} must be 1 to {LONGEST_TEXT} characters of one line.", param=name)
        return text

    def choice(self, name: str, options: Sequence[str]) -> Any:
        """One of those words."""
        text = self._given.get(name)
        if text is not None and text not in options:
            raise UnusableField(f"{name} must be one of {', '.join(options)}.", param=name)
        return text

    def flag(self, name: str) -> bool | None:
        """True or false."""
        text = self.choice(name, ("true", "false"))
        return None if text is None else text == "true"

    def tag(self) -> tuple[str, str] | None:
        """`tag=team=search`: a tag's name and value."""
        return next(iter(self.tags().items()), None)

    def tags(self) -> dict[str, str]:
        """All of them."""
        found: dict[str, str] = {}
        for text in self._tags:
            name, equals, value = text.partition("=")
            if not equals or not TAG_NAME.fullmatch(name) or len(text) > LONGEST_TEXT or not text.isprintable():
                raise UnusableField("tag must be a name, an equals sign and a value: tag=team=search.", param="tag")
            if found.setdefault(name, value) != value:
                raise UnusableField(f"tag asks for two values of {name}.", param="tag")
        return found

    def number(self, name: str, *, most: int = MOST_NUMBER) -> int | None:
        """A whole number from 0 on."""
        text = self._given.get(name)
        if text is not None and not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
            raise UnusableField(f"{name} must be a whole number from 0 to {most}.", param=name)
        return None if text is None else int(text)

    def micro_usd(self, name: str) -> int | None:
        """An amount of US dollars, in micro-dollars, rounded up."""
        text = self._given.get(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,12})?", text, re.ASCII):
            raise UnusableField(f"{name} must be an amount of US dollars such as 0.05.", param=name)
        return math.ceil(Decimal(text) * MICRO)

    def moment_ms(self, name: str) -> int | None:
        """A time, or how long ago, as Unix milliseconds."""
        text = self.text(name)
        return None if text is None else moment_ms(text, now_ms(), param=name)


PAGE_PARAMETERS: Final = ("limit", "after")


def answer(content: Mapping[str, Any], status: int = 200) -> Response:
    """JSON that nobody may keep."""
    return Response(json_bytes(dict(content)), status, {"cache-control": "no-store"}, "application/json")


def page_of(items: Sequence[Mapping[str, Any]], limit: int) -> Response:
    """One page of a list, from what was found when one more than `limit` was asked for. `next` is null at the end."""
    shown = list(items[:limit])
    return answer({"items": shown, "next": shown[-1]["id"] if len(items) > limit else None})


def documented(
    status: int, description: str, model: type[BaseModel], *errors: type[WaypostError]
) -> dict[int | str, dict[str, Any]]:
    """What an endpoint for administrators may answer."""
    return {status: {"description": description, "content": json_of(model)}, **refusals(*errors)}


def refusals(*errors: type[WaypostError]) -> dict[int | str, dict[str, Any]]:
    """The errors that an endpoint for administrators may answer with."""
    return {
        **PAGE_RESPONSES,
        **error_responses((AuthenticationRequired, OriginRefused, NotAllowed, ServerBusy, *errors)),
    }


MISTAKES: Final = (InvalidRequest, UnusableField)
OF_ONE: Final = (UnknownObject,)
OF_CHANGES: Final = (*OF_ONE, *MISTAKES, UnsupportedMediaType, Conflict)


def request_of(model: type[BaseModel], example: Mapping[str, Any]) -> dict[str, Any]:
    """The document's part about a JSON body."""
    content = json_of(model, examples={"example": {"value": dict(example)}})
    return {"requestBody": {"required": True, "content": content}}


def path_of(name: str, description: str) -> dict[str, Any]:
    """The document's part about an id in the path."""
    parameter = {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}
    return {"parameters": [parameter]}


def parameters_of(*places: tuple[str, str, Mapping[str, Any]], is_paged: bool = True) -> dict[str, Any]:
    """The document's part about a query: name, description and schema of each parameter."""
    pages = (
        ("limit", "Entries a page.", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE}),
        ("after", "`next` of the page before.", {"type": "string"}),
    )
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "description": description, "schema": dict(schema)}
            for name, description, schema in (*places, *(pages if is_paged else ()))
        ]
    }
