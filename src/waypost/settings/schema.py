"""The JSON schema of `waypost.yaml`: editors complete keys from it and show what each means."""

from __future__ import annotations

from typing import Any

from waypost.settings.models import Settings

DRAFT = "https://json-schema.org/draft/2020-12/schema"
VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
TYPED = ("integer", "number", "boolean")


def json_schema() -> dict[str, Any]:
    """The schema of the file. Where a number or one of a few words is wanted, `${NAME}` fits as well."""
    schema = Settings.model_json_schema()
    return {"$schema": DRAFT, **_walk({**schema, "title": "waypost.yaml"})}


def _walk(node: Any) -> Any:
    if isinstance(node, list):
        return [_walk(item) for item in node]
    if not isinstance(node, dict):
        return node
    walked = {key: _walk(value) for key, value in node.items() if key != "title" or node.get("properties")}
    properties = walked.get("properties")
    if isinstance(properties, dict):
        walked["properties"] = {name: _allow_variable(schema) for name, schema in properties.items()}
    return walked


def _allow_variable(schema: dict[str, Any]) -> dict[str, Any]:
    """Text fits a text field as it is; anything narrower gets the variable as a second form."""
    if "anyOf" in schema:
        narrow = any(option.get("type") in TYPED for option in schema["anyOf"])
        return {**schema, "anyOf": [*schema["anyOf"], VARIABLE]} if narrow else schema
    if schema.get("type") in TYPED or "enum" in schema:
        told: dict[str, Any] = {key: schema[key] for key in ("description", "default") if key in schema}
        return {"anyOf": [{key: value for key, value in schema.items() if key not in told}, VARIABLE], **told}
    return schema
