"""GET /: a small page that says what runs here and where to go."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from string import Template
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from waypost import __version__
from waypost.providers.provider import ProviderState
from waypost.server.application import lifecycle_of, served_by
from waypost.server.assets import html_page, page_text
from waypost.server.service import AIService, get_ai_service, provider_states

router = APIRouter(include_in_schema=False)

COLOURS: Mapping[str, str] = {"ready": "good", "idle": "good", "starting": "wait", "unavailable": "bad"}
MEANINGS: Mapping[str, str] = {
    "ready": "It can answer.",
    "idle": "It starts at the first request.",
    "starting": "It is starting.",
    "unavailable": "It cannot answer now.",
}


@router.api_route("/", methods=["GET", "HEAD"])
async def home(request: Request, service: Annotated[AIService, Depends(get_ai_service)]) -> Response:
    """The page."""
    states = provider_states(service)
    usable = any(state.status != "unavailable" for state in states.values())
    summary = "It is ready for requests." if usable or not states else "No provider can answer yet; the table says why."
    text = Template(page_text("home.html")).substitute(
        version=escape(__version__),
        uptime=_duration(lifecycle_of(request).uptime_s),
        # The guard let only a plain host name and port through.
        address=escape(f"{request.url.scheme}://{request.headers['host']}"),
        summary=summary,
        providers="\n".join(_row(name, state) for name, state in states.items()) or _NO_PROVIDERS,
        route=_route(request) if states else "",
    )
    return html_page(text)


_NO_PROVIDERS = '<tr><td colspan="3" class="quiet">The service does not say which providers it has.</td></tr>'


def _row(name: str, state: ProviderState) -> str:
    colour, detail = COLOURS[state.status], state.detail or MEANINGS[state.status]
    return (
        f'<tr><td><code>{escape(name)}</code></td><td class="{colour}">{escape(state.status)}</td>'
        f"<td>{escape(detail)}</td></tr>"
    )


def _route(request: Request) -> str:
    targets = " then ".join(f"<code>{escape(str(target))}</code>" for target in served_by(request).settings.targets())
    return f"A request that names no model goes to {targets}."


def _duration(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // size)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"
