"""What `waypost projects`, `keys` and `audit` have in common: the database, who one is, and how things are shown."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from waypost.cli.output import print_json, print_table
from waypost.errors import RequestError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.ledger.definitions import Definition
    from waypost.ledger.keys import Key
    from waypost.ledger.projects import Project
    from waypost.settings import Settings
    from waypost.store.database import Database

    DefinitionT = TypeVar("DefinitionT", bound=Definition)

PAGE = 200


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The database of these settings, for the block. Raises ConfigurationError, DatabaseUnavailable."""
    from waypost.store.database import DatabaseError
    from waypost.store.lazy import LazyDatabase
    from waypost.store.troubles import trouble

    database = LazyDatabase(settings)
    try:
        yield database.open()
    except DatabaseError as error:
        raise trouble(error, database.url) from error
    finally:
        database.close()


def settings_in(config_file: Path | None) -> Settings:
    """The settings of this command."""
    from waypost.settings import load_settings

    return load_settings(config_file)


def actor() -> str:
    """Who runs this command, for the audit log: the account that the system knows, whatever the environment says."""
    try:
        import pwd

        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except (ImportError, KeyError):
        return f"cli:{os.getuid()}" if hasattr(os, "getuid") else "cli"


def defined(model: type[DefinitionT], fields: Mapping[str, Any]) -> DefinitionT:
    """What the options define. Raises InvalidRequest, whose sentence names the field."""
    from pydantic import ValidationError

    try:
        return model.model_validate(dict(fields))
    except ValidationError:
        # Only now: it brings the web server along.
        from waypost.server.validation import checked

        return checked(model, dict(fields))


def project_of(connection: Connection, reference: str) -> Project:
    """The project of that id or name. Raises UnknownObject, RequestError."""
    from waypost.ledger.named_rows import is_id
    from waypost.ledger.projects import get_project, project_named

    if is_id(reference):
        return get_project(connection, reference)
    found = project_named(connection, reference) if reference.isprintable() else None
    if found is None:
        raise RequestError(f'There is no project "{_shown(reference)}".', hint="See them with: waypost projects list")
    return found


def key_of(connection: Connection, reference: str, project: str | None) -> Key:
    """The key of that id, or of that name in the project, if one is named. Raises UnknownObject, RequestError."""
    from waypost.ledger.keys import get_key, keys_named
    from waypost.ledger.named_rows import is_id

    if is_id(reference):
        return get_key(connection, reference)
    project_id = None if project is None else project_of(connection, project).id
    found = keys_named(connection, reference, project_id) if reference.isprintable() else []
    if not found:
        raise RequestError(f'There is no key "{_shown(reference)}".', hint="See them with: waypost keys list")
    if len(found) > 1:
        raise RequestError(
            f'{len(found)} keys are called "{reference}".',
            hint=f"Name the project by --project, or the key by its id: {', '.join(key.id for key in found)}.",
        )
    return found[0]


def limits_text(told: Mapping[str, Any]) -> str:
    """The limits of a project or key on one line, a dash if there are none."""
    amounts = {
        "requests_per_minute": "{:,} requests/min",
        "tokens_per_minute": "{:,} tokens/min",
        "concurrent_requests": "{:,} at once",
        "daily_budget_usd": "${:,.6g}/day",
        "monthly_budget_usd": "${:,.6g}/month",
        "user_daily_budget_usd": "${:,.6g}/day a user",
        "user_monthly_budget_usd": "${:,.6g}/month a user",
    }
    parts = [text.format(told[name]) for name, text in amounts.items() if told[name] is not None]
    if told["routes"] is not None:
        parts.append(f"routes {' '.join(told['routes'])}")
    return ", ".join(parts) or "-"


def print_told(told: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: all of its fields."""
    if as_json:
        print_json(dict(told))
    else:
        print_table([(name, plain(value)) for name, value in told.items()])


def plain(value: Any) -> str:
    """A field's value on one line: a dash for nothing, and of secrets only what is shown of them."""
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, list) and isinstance(value[0], dict):
        return ", ".join(
            each["shown"] + (f" until {each['valid_until']}" if each["valid_until"] else "") for each in value
        )
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(reference: str) -> str:
    return "".join(character for character in reference if character.isprintable())[:100]
