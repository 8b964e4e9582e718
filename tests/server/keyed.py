"""A server whose keys are in a database, for tests: as the program builds it, with a provider that is not there."""

from __future__ import annotations

from typing import Any

from waypost.app import Application, build
from waypost.settings import Settings
from waypost.store.database import Database

NOWHERE = "http://127.0.0.1:9/v1"


def keyed_settings(database: Database, **more: Any) -> Settings:
    """Settings with that database."""
    return Settings.model_validate(
        {
            "database_url": database.url.render_as_string(hide_password=False),
            "providers": {"first": {"kind": "openai_compatible", "base_url": NOWHERE, "api_key": "k"}},
            "routes": {"default": {"targets": ["first/m"]}, "cheap-one": {"targets": ["first/n"]}},
            **more,
        }
    )


def keyed(database: Database, **more: Any) -> Application:
    """An application with that database."""
    return build(keyed_settings(database, **more))


def bearer(key: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"authorization": f"Bearer {key}"}
