"""/api/admin/projects: for administrators. What the queries do is in `ledger.projects`."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from waypost.ledger.definitions import NewProject, ProjectChange
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
    refusals,
    request_of,
)
from waypost.server.key_models import ProjectModel, ProjectPage

router = APIRouter(tags=["Administration"])
PROJECTS: Final = "/api/admin/projects"
PROJECT: Final = f"{PROJECTS}/{{project_id}}"
_PATH: Final = path_of("project_id", "The project's id.")
_NEW: Final = {"name": "search", "monthly_budget_usd": 200, "requests_per_minute": 600, "tags": {"team": "search"}}
_CHANGE: Final = {"monthly_budget_usd": 300, "requests_per_minute": None}


@router.post(
    PROJECTS,
    summary="Make a project",
    operation_id="create_project",
    status_code=201,
    responses=documented(201, "The project.", ProjectModel, *OF_CHANGES),
    openapi_extra=request_of(NewProject, _NEW),
)
def create(by: ByAdministrator, new: Annotated[NewProject, Depends(body_of(NewProject))]) -> Response:
    """Its name is its own: another project's is a 409."""
    from waypost.ledger.projects import create_project

    with by.changing() as change:
        told = create_project(change, new).told()
    return answer(told, 201)


@router.get(
    PROJECTS,
    summary="List projects",
    operation_id="list_projects",
    responses=documented(200, "One page of them.", ProjectPage, *MISTAKES),
    openapi_extra=parameters_of(
        ("name", "A part of the name.", {"type": "string"}),
        ("tag", "A tag, as in `team=search`.", {"type": "string"}),
    ),
)
def list_projects(request: Request, by: ByAdministrator) -> Response:
    """The newest first."""
    from waypost.ledger.projects import find_projects

    query = Query(request, "name", "tag")
    name, tag, limit, after = query.text("name"), query.tag(), query.limit, query.after
    with by.reading() as connection:
        found = find_projects(connection, name=name, tag=tag, limit=limit + 1, after=after)
    return page_of([project.told() for project in found], limit)


@router.get(
    PROJECT,
    summary="Show a project",
    operation_id="get_project",
    responses=documented(200, "The project.", ProjectModel, *OF_ONE),
    openapi_extra=_PATH,
)
def get(request: Request, by: ByAdministrator) -> Response:
    """One project."""
    from waypost.ledger.projects import get_project

    with by.reading() as connection:
        return answer(get_project(connection, _id_in(request)).told())


@router.patch(
    PROJECT,
    summary="Change a project",
    operation_id="update_project",
    responses=documented(200, "The project as it is now.", ProjectModel, *OF_CHANGES),
    openapi_extra={**_PATH, **request_of(ProjectChange, _CHANGE)},
)
def update(
    request: Request, by: ByAdministrator, wanted: Annotated[ProjectChange, Depends(body_of(ProjectChange))]
) -> Response:
    """Fields that are left out stay as they are; null takes a limit away. It is in force everywhere within a second."""
    from waypost.ledger.projects import change_project

    with by.changing() as change:
        told = change_project(change, _id_in(request), wanted).told()
    return answer(told)


@router.delete(
    PROJECT,
    summary="Delete a project",
    operation_id="delete_project",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "It is gone."}, **refusals(*OF_ONE)},
    openapi_extra=_PATH,
)
def delete(request: Request, by: ByAdministrator) -> Response:
    """With its keys, requests, stored answers and bodies. What it came to stays in the sums, under nobody's name."""
    by.delete_project(_id_in(request))
    return Response(status_code=204, headers={"cache-control": "no-store"})


def _id_in(request: Request) -> str:
    return str(request.path_params["project_id"])
