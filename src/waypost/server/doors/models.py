"""GET /v1/models and /v1beta/models, all or one: the names that requests may ask for, as each vendor lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from waypost.chat import Json
from waypost.errors import UnknownModel
from waypost.server.application import served_by
from waypost.server.callers import caller_of
from waypost.server.doors.anthropic_messages import ANTHROPIC_MESSAGES
from waypost.server.doors.door import Door
from waypost.server.doors.gemini import GEMINI
from waypost.server.doors.headers import request_id_header
from waypost.server.doors.openai_chat import OPENAI_CHAT
from waypost.server.doors.table import door_at
from waypost.server.jsonwire import json_bytes
from waypost.server.middleware.request_id import request_id_of


@dataclass(frozen=True, slots=True)
class Form:
    """How a dialect writes one model (its name, and whose it is) and a list of them."""

    one: Callable[[str, str], Json]
    many: Callable[[Sequence[Json]], Json]


def _openai_model(name: str, owner: str) -> Json:
    # When a model was made is not known here, and clients demand a number.
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def _anthropic_model(name: str, _owner: str) -> Json:
    # Source: Anthropic's API reference: created_at may be the epoch if the date is unknown.
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _anthropic_page(models: Sequence[Json]) -> Json:
    ids = [model["id"] for model in models] or [None]
    return {"data": list(models), "has_more": False, "first_id": ids[0], "last_id": ids[-1]}


def _gemini_model(name: str, _owner: str) -> Json:
    # What a model takes at most, and whether it embeds, is not known here: members that may be missing are.
    methods = ["generateContent", "countTokens"]
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}


OPENAI: Final = Form(_openai_model, lambda models: {"object": "list", "data": list(models)})
FORMS: Final[Mapping[str, Form]] = {
    ANTHROPIC_MESSAGES.codec.name: Form(_anthropic_model, _anthropic_page),
    GEMINI.codec.name: Form(_gemini_model, lambda models: {"models": list(models)}),
}
"""By the dialect; every other one has OPENAI."""


async def list_models(request: Request) -> Response:
    """Routes, aliases, and each provider's default model as `provider/model`, as far as the key may ask for them."""
    form = _form(request)
    caller, names = caller_of(request.scope), served_by(request).gateway.names
    return _reply(request, form.many([form.one(name, owner) for name, owner in names.items() if caller.may_ask(name)]))


async def get_model(request: Request) -> Response:
    """One of those, or any other name that leads to a model. Raises UnknownModel."""
    gateway = served_by(request).gateway
    name = request.path_params["name"]
    if not name:
        raise UnknownModel("The path names no model.", hint="GET /v1/models lists them.", param="model")
    caller_of(request.scope).demand(name)
    owner = gateway.names.get(name) or gateway.router.plan(name).targets[0].provider
    return _reply(request, _form(request).one(name, owner))


def _form(request: Request) -> Form:
    return FORMS.get(_door(request).codec.name, OPENAI)


def _door(request: Request) -> Door:
    return door_at(request.scope) or OPENAI_CHAT


def _reply(request: Request, content: Json) -> Response:
    headers = {"cache-control": "no-store", **request_id_header(_door(request), request_id_of(request.scope))}
    return Response(json_bytes(content), media_type="application/json", headers=headers)
