"""The files of the two pages, read once from the package. Nothing here comes from another server."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

# Everything from this server only: no inline script or style, no frame around it, no form that leaves the page.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
ASSETS: Final[Mapping[str, str]] = {
    "docs.js": "text/javascript",
    "element.js": "text/javascript",
    "events.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "page.css": "text/css",
    "try.js": "text/javascript",
}
"""The files that pages may ask for, and their types."""

router = APIRouter(include_in_schema=False)


@cache
def page_text(name: str) -> str:
    """A file of the package."""
    return files("waypost.server").joinpath("pages", name).read_text(encoding="utf-8")


def html_page(text: str) -> Response:
    """A page, with the headers every page has."""
    return Response(text, media_type="text/html", headers=HEADERS)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs() -> Response:
    """The page that renders /openapi.json."""
    return html_page(page_text("docs.html"))


@router.api_route("/assets/{name}", methods=["GET", "HEAD"])
async def asset(name: str) -> Response:
    """One of the files in ASSETS."""
    if name not in ASSETS:
        raise HTTPException(status_code=404)
    return Response(page_text(name), media_type=ASSETS[name], headers=HEADERS)
