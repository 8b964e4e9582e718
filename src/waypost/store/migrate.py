"""From any earlier schema to this code's one, and whether this code may use the database at all.

Schemas are numbered. The database says which one it has and how old code may be that uses it; `store.migrations` says
what a step may do. Alembic, which is slow to import, is only loaded if there is something to do.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, delete, func, insert, inspect, select
from sqlalchemy.exc import OperationalError, ProgrammingError

from waypost import __version__
from waypost.errors import ConfigurationError
from waypost.store import job_tables as job_tables
from waypost.store import migrations
from waypost.store import webhook_tables as webhook_tables
from waypost.store.address import shown
from waypost.store.database import Database, DatabaseError
from waypost.store.steps import FILE_NAME, oldest_code_after, steps_in
from waypost.store.tables import metadata, schema_version

logger = logging.getLogger("waypost.store")

Folders: TypeAlias = Sequence[Path] | None
"""Where the steps are; None: where this version has them."""
Status: TypeAlias = Literal["empty", "behind", "current", "ahead", "too_new", "foreign"]

_LOCK: Final = 0x57617970
"""Which of PostgreSQL's advisory locks stands for a change of the schema."""


@dataclass(frozen=True, slots=True)
class State:
    """The database's schema beside the code's. `version` None: it has none.

    `strangers` are tables with the names of ours in a database without a schema.
    """

    known: int
    version: int | None = None
    oldest_code: int = 0
    written_by: str = ""
    tables: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """How it stands: `ahead` is newer and may be used, `too_new` may not, `foreign` is not Waypost's."""
        if self.version is None:
            return "foreign" if self.strangers else "empty"
        if self.version <= self.known:
            return "current" if self.version == self.known else "behind"
        return "ahead" if self.known >= self.oldest_code else "too_new"

    def refuse_foreign(self, where: str) -> None:
        """Raise ConfigurationError if the database is another program's."""
        if self.status == "foreign":
            raise ConfigurationError(
                f"The database {where} has a table {self.strangers[0]} that Waypost did not make.",
                hint="Name a database of Waypost's own in database_url.",
            )

    def refuse(self, where: str) -> None:
        """Raise ConfigurationError if this code must keep its hands off that database."""
        self.refuse_foreign(where)
        if self.status == "too_new":
            raise ConfigurationError(
                f"The database {where} has schema {self.version}, made by Waypost {self.written_by}, and wants code "
                f"of schema {self.oldest_code} or later; this is Waypost {__version__}, of schema {self.known}.",
                hint=f"Install Waypost {self.written_by} or later, or go back to a backup from before the upgrade: "
                "waypost db restore --replace FILE",
            )


def newest(folders: Folders = None) -> int:
    """The number of the newest schema that these folders lead to."""
    names = (FILE_NAME.fullmatch(file.name) for folder in _folders(folders) for file in folder.iterdir())
    return max(int(name[1]) for name in names if name)


def oldest_code_when_upgraded(state: State, folders: Folders = None) -> int:
    """The oldest code that may use the database once this code has upgraded it."""
    files = (file for folder in _folders(folders) for file in folder.glob("*.py"))
    steps = steps_in((file.name, file.read_text(encoding="utf-8")) for file in files)
    return oldest_code_after(steps, state.version, state.oldest_code)


def _folders(folders: Folders) -> Sequence[Path]:
    return (migrations.VERSIONS,) if folders is None else folders


def check(database: Database, folders: Folders = None) -> State:
    """How the database's schema stands to the code's; nothing is changed or made. Raises DatabaseError."""
    known = newest(folders)
    if database.is_sqlite and not Path(str(database.url.database)).exists():
        return State(known)
    try:
        with database.read() as connection:
            return state_of(connection, known)
    except DatabaseError as error:
        if not isinstance(error, OperationalError if database.is_sqlite else ProgrammingError):
            raise
        with database.read() as connection:
            names = inspect(connection).get_table_names()
        if schema_version.name in names:
            raise
        return State(known, strangers=_ours(names))


def upgrade(database: Database, folders: Folders = None, *, to: int | None = None) -> State:
    """Bring the database to the newest schema, and say how it was before. With nothing to do this is one query.

    Of several processes one does it, and the others wait for it. All of it happens or nothing. `to` stops at an
    earlier schema. Raises ConfigurationError if this code may not use the database, and DatabaseError.
    """
    before = check(database, folders)
    before.refuse(shown(database.url))
    if before.status in ("current", "ahead"):
        return before
    if database.is_sqlite:
        make_file(Path(str(database.url.database)))
    with database.change_schema() as connection:
        lock(connection)
        return migrate(connection, folders, to=to)


def lock(connection: Connection) -> None:
    """Wait until no other process changes the schema, and keep others waiting to the transaction's end.

    On SQLite there is only one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def migrate(connection: Connection, folders: Folders = None, *, to: int | None = None) -> State:
    """Take the missing steps in the transaction of `connection`, which is the only one that migrates."""
    known = newest(folders)
    names = inspect(connection).get_table_names()
    has_schema = schema_version.name in names
    before = state_of(connection, known) if has_schema else State(known, strangers=_ours(names))
    before.refuse(shown(connection.engine.url))
    if before.status in ("empty", "behind"):
        _run_alembic(connection, folders, before, known if to is None else to)
        made = set(inspect(connection).get_table_names()) - set(names)
        after = state_of(connection, known)
        _record(connection, after, [*before.tables, *made])
        logger.info("The database has schema %s now; it had %s.", after.version, before.version or "none")
    return before


def state_of(connection: Connection, known: int | None = None) -> State:
    """As `check`, in a transaction, of a database with a schema. `known` None is this code's newest."""
    known = newest() if known is None else known
    row = connection.execute(select(schema_version)).first()
    if row is None:
        return State(known, strangers=(schema_version.name,))
    return State(known, row.version, row.oldest_code, row.written_by, tuple(row.tables))


def _ours(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names) & set(metadata.tables)))


def _record(connection: Connection, state: State, tables: Sequence[str]) -> None:
    connection.execute(delete(schema_version))
    connection.execute(
        insert(schema_version).values(
            version=state.version,
            oldest_code=state.oldest_code,
            written_by=__version__,
            migrated_at_ms=time.time_ns() // 1_000_000,
            tables=sorted(set(tables)),
        )
    )


def _run_alembic(connection: Connection, folders: Folders, before: State, version: int) -> None:
    from alembic import command
    from alembic.config import Config

    oldest_code = before.oldest_code

    def note(*, step: Any, **_: Any) -> None:
        """Write down each step, in its transaction."""
        nonlocal oldest_code
        oldest_code = max(oldest_code, step.up_revision.module.oldest_code)
        _record(connection, State(before.known, int(step.up_revision_id), oldest_code), before.tables)

    config = Config()
    # A percent sign would begin one of the configuration's own references.
    config.set_main_option("script_location", str(migrations.FOLDER).replace("%", "%%"))
    config.set_main_option("version_locations", os.pathsep.join(map(str, _folders(folders))).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, on_version_apply=note)
    command.upgrade(config, f"{version:04}")


def make_file(file: Path) -> None:
    """The empty file, for its owner only: SQLite would let others read it, and makes its companions alike."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        reason = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror
        raise ConfigurationError(
            f"The database {file} cannot be made: {reason}.",
            hint="Give this user the right to write there, or set data_dir (WAYPOST_DATA_DIR) or database_url.",
        ) from error
