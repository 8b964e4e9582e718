"""The OpenAPI document: FastAPI's, with the models that its routes name."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from waypost.server.documentation import COMPONENTS, REPLY_EXAMPLES, SCHEMA_REF


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The whole document."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    _restore_nulls(document)
    _, extra = models_json_schema([(model, "validation") for model in COMPONENTS], ref_template=SCHEMA_REF)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in extra["$defs"].items():
        schemas.setdefault(name, schema)
    return document


def _restore_nulls(document: dict[str, Any]) -> None:
    """FastAPI drops every null from the document; in an example a null is a value."""
    reply = document["paths"]["/api/ai/generate"]["post"]["responses"]["200"]["content"]["application/json"]
    reply["examples"] = REPLY_EXAMPLES
