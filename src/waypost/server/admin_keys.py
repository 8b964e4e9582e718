"""/api/admin/keys: for administrators. What the queries do is in `ledger.keys` and `ledger.key_changes`.

The invariant: a key itself is in the reply to the request that made it, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from waypost.ledger.books import now_ms
from waypost.ledger.definitions import KeyChange, NewKey
from waypost.server.administering import (
    MISTAKES,
    OF_CHANGES,
    OF_ONE,
    ByAdministrator,
    Query,
    answer,
    body_of,
    documented,
    page_of,
    parameters_of,
    path_of,
    request_of,
)
from waypost.server.key_models import KeyModel, KeyPage, MadeKeyModel, Rotation

if TYPE_CHECKING:
    from waypost.ledger.key_changes import MadeKey
    from waypost.ledger.keys import Key

router = APIRouter(tags=["Administration"])
KEYS: Final = "/api/admin/keys"
KEY: Final = f"{KEYS}/{{key_id}}"
STATES: Final = ("active", "expired", "revoked")
_PATH: Final = path_of("key_id", "The key's id.")
_NEW: Final = {
    "name": "web",
    "project_id": "project_019ac0ffee00a1b2c3d4e5f60718293a",
    "routes": ["default", "cheap-*"],
    "daily_budget_usd": 20,
    "expires_at": "2030-01-31T00:00:00Z",
}
_CHANGE: Final = {"daily_budget_usd": 30, "expires_at": None}


@router.post(
    KEYS,
    summary="Make a key",
    operation_id="create_key",
    status_code=201,
    responses=documented(201, "The key, which is shown this once.", MadeKeyModel, *OF_CHANGES),
    openapi_extra=request_of(NewKey, _NEW),
)
def create(by: ByAdministrator, new: Annotated[NewKey, Depends(body_of(NewKey))]) -> Response:
    """An inference key belongs to a project; an admin key (`is_admin`) to none, and asks no model without `routes`."""
    from waypost.ledger.key_changes import create_key

    with by.changing() as change:
        made = create_key(change, new)
    return answer(_told_once(made), 201)


@router.get(
    KEYS,
    summary="List keys",
    operation_id="list_keys",
    responses=documented(200, "One page of them.", KeyPage, *MISTAKES),
    openapi_extra=parameters_of(
        ("project_id", "Only those of this project.", {"type": "string"}),
        ("state", "Only those in this state.", {"type": "string", "enum": list(STATES)}),
        ("is_admin", "Only admin keys, or only others.", {"type": "boolean"}),
        ("name", "A part of the name.", {"type": "string"}),
        ("tag", "A tag, as in `team=search`.", {"type": "string"}),
    ),
)
def list_keys(request: Request, by: ByAdministrator) -> Response:
    """The newest first, revoked ones too."""
    from waypost.ledger.keys import KeyFilter, find_keys

    query = Query(request, "project_id", "state", "is_admin", "name", "tag")
    wanted = KeyFilter(
        query.text("project_id"),
        query.choice("state", STATES),
        query.flag("is_admin"),
        query.text("name"),
        query.tag(),
    )
    limit, after = query.limit, query.after
    with by.reading() as connection:
        found = find_keys(connection, wanted, now_ms=now_ms(), limit=limit + 1, after=after)
    return page_of([_told(key) for key in found], limit)


@router.get(
    KEY,
    summary="Show a key",
    operation_id="get_key",
    responses=documented(200, "The key.", KeyModel, *OF_ONE),
    openapi_extra=_PATH,
)
def get(request: Request, by: ByAdministrator) -> Response:
    """One key, without the key itself."""
    from waypost.ledger.keys import get_key

    with by.reading() as connection:
        return answer(_told(get_key(connection, _id_in(request))))


@router.patch(
    KEY,
    summary="Change a key",
    operation_id="update_key",
    responses=documented(200, "The key as it is now.", KeyModel, *OF_CHANGES),
    openapi_extra={**_PATH, **request_of(KeyChange, _CHANGE)},
)
def update(
    request: Request, by: ByAdministrator, wanted: Annotated[KeyChange, Depends(body_of(KeyChange))]
) -> Response:
    """Fields that are left out stay as they are; null takes a limit away. It is in force everywhere within a second."""
    from waypost.ledger.key_changes import change_key

    with by.changing() as change:
        key = change_key(change, _id_in(request), wanted)
    return answer(_told(key))


@router.post(
    f"{KEY}/rotate",
    summary="Rotate a key",
    operation_id="rotate_key",
    responses=documented(200, "The key, which is shown this once.", MadeKeyModel, *OF_CHANGES),
    openapi_extra={**_PATH, **request_of(Rotation, {"grace_s": 3600})},
)
def rotate(request: Request, by: ByAdministrator, wanted: Annotated[Rotation, Depends(body_of(Rotation))]) -> Response:
    """What was good before stays good for `grace_s`, so that nobody who holds it is cut off in between."""
    from waypost.ledger.key_changes import rotate_key

    with by.changing() as change:
        made = rotate_key(change, _id_in(request), wanted.grace_s)
    return answer(_told_once(made))


@router.delete(
    KEY,
    summary="Revoke a key",
    operation_id="revoke_key",
    responses=documented(200, "The key, which is good no more.", KeyModel, *OF_ONE),
    openapi_extra=_PATH,
)
def revoke(request: Request, by: ByAdministrator) -> Response:
    """For ever, and everywhere within two seconds. Answers that have begun go on; its name stays, for the log."""
    from waypost.ledger.key_changes import revoke_key

    with by.changing() as change:
        key = revoke_key(change, _id_in(request))
    return answer(_told(key))


def _told(key: Key) -> dict[str, Any]:
    return {**key.told(), "state": key.state(now_ms())}


def _told_once(made: MadeKey) -> dict[str, Any]:
    return {**_told(made.key), "key": made.text}


def _id_in(request: Request) -> str:
    return str(request.path_params["key_id"])
