"""Removing a project with all that is its own. What it came to stays in the daily totals, under nobody's name.

Access ends first, in one transaction with the audit log's line; the rest is removed in small transactions, so that no
other writer waits for long. What a process that died left behind, and what was still under way when the project was
removed, goes with `erase_leftovers`. The invariant: every table that says whose its rows are is in ERASED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from sqlalchemy import Column, ColumnElement, Table, delete, func, literal, or_, select, tuple_

from waypost.ledger.audit import Change, changing
from waypost.ledger.books import now_ms
from waypost.ledger.projects import get_project
from waypost.store.database import Database
from waypost.store.job_tables import (
    batched_calls,
    batches,
    job_events,
    job_inputs,
    job_steps,
    jobs,
    provider_batches,
)
from waypost.store.tables import (
    attempts,
    audit,
    bodies,
    daily_totals,
    grants,
    idempotency_answers,
    key_secrets,
    keys,
    projects,
    requests,
    spend,
    stored_items,
    stored_responses,
    unfinished_attempts,
)
from waypost.store.webhook_tables import webhook_deliveries

DELETED: Final = "project.delete"
"""The action in the audit log that tells which projects may have left something behind."""
BATCH: Final = 1000
"""Rows a transaction."""
LEFTOVER_MS: Final = 7 * 24 * 3600 * 1000
"""So long after its removal something of a project may still come in: the journal of a machine that was away."""
Ids: TypeAlias = Sequence[str]
Eraser: TypeAlias = Callable[[Database, Ids], None]


def delete_project(database: Database, actor: str, project_id: str) -> None:
    """Remove a project: its keys at once, then all else. Raises UnknownObject, DatabaseError."""
    with changing(database, actor) as change:
        _end_access(change, project_id)
    erase(database, [project_id])


def erase_leftovers(database: Database, at_ms: int | None = None) -> None:
    """Remove what came in of projects that were removed of late. For the task that forgets what is old."""
    since_ms = (now_ms() if at_ms is None else at_ms) - LEFTOVER_MS
    with database.read() as connection:
        query = select(audit.c.object_id).where(audit.c.at_ms >= since_ms, audit.c.action == DELETED)
        gone = list(connection.execute(query).scalars())
    if gone:
        erase(database, gone)


def erase(database: Database, project_ids: Ids) -> None:
    """Remove every row of these projects, and make their sums nobody's."""
    for parent, children in WITH_CHILDREN.items():
        _erase_with_children(database, project_ids, parent, children)
    for eraser in ERASED.values():
        eraser(database, project_ids)


def _end_access(change: Change, project_id: str) -> None:
    connection = change.connection
    project = get_project(connection, project_id, to_change=True)
    own = select(keys.c.id).where(keys.c.project_id == project_id)
    subjects = select(literal("key:") + keys.c.id).where(keys.c.project_id == project_id)
    for table in (spend, grants):
        connection.execute(delete(table).where(table.c.subject.in_(subjects)))
    connection.execute(delete(key_secrets).where(key_secrets.c.key_id.in_(own)))
    connection.execute(delete(keys).where(keys.c.project_id == project_id))
    connection.execute(delete(projects).where(projects.c.id == project_id))
    change.note(DELETED, "project", project_id, project.told(), None)


def _erase_with_children(database: Database, project_ids: Ids, parent: Table, children: Sequence[Column[str]]) -> None:
    """Rows, and by way of them what hangs on them: it is found by an index."""
    batch = select(parent.c.id).where(parent.c.project_id.in_(project_ids)).limit(BATCH)
    more = True
    while more:
        with database.write() as connection:
            ids = list(connection.execute(batch).scalars())
            for column in (*children, parent.c.id):
                connection.execute(delete(column.table).where(column.in_(ids)))
        more = len(ids) == BATCH


def _where(table: Table, which: Callable[[Ids], ColumnElement[bool]]) -> Eraser:
    """Deletes, some at a time, the table's rows of which that holds."""
    key = tuple_(*table.primary_key.columns)

    def eraser(database: Database, project_ids: Ids) -> None:
        batch = select(*table.primary_key.columns).where(which(project_ids)).limit(BATCH)
        more = True
        while more:
            with database.write() as connection:
                more = connection.execute(delete(table).where(key.in_(batch))).rowcount == BATCH

    return eraser


def _by_project(table: Table) -> Eraser:
    return _where(table, table.c.project_id.in_)


def _by_subject(table: Table) -> Eraser:
    def which(ids: Ids) -> ColumnElement[bool]:
        users = [table.c.subject.startswith(f"user:{each}:", autoescape=True) for each in ids]
        return or_(table.c.subject.in_([f"project:{each}" for each in ids]), *users)

    return _where(table, which)


def _add_totals_to_nobody_s(database: Database, project_ids: Ids) -> None:
    table, own = daily_totals, daily_totals.c.project_id.in_(project_ids)
    kept = [table.c.day, literal("").label("project_id"), literal("").label("key_id")]
    kept += [table.c.route, table.c.provider, table.c.model]
    sums = [column for column in table.columns if not column.primary_key]
    moved = select(*kept, *(func.sum(column).label(column.name) for column in sums)).where(own)
    moved = moved.group_by(table.c.day, table.c.route, table.c.provider, table.c.model)
    names = [*table.primary_key.columns.keys(), *(column.name for column in sums)]
    added = database.upsert(table).from_select(names, moved)
    added = added.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={column.name: column + added.excluded[column.name] for column in sums},
    )
    with database.write() as connection:
        connection.execute(added)
        connection.execute(delete(table).where(own))


WITH_CHILDREN: Final[Mapping[Table, Sequence[Column[str]]]] = {
    requests: (attempts.c.entry_id, bodies.c.entry_id),
    jobs: (job_inputs.c.job_id, job_steps.c.job_id, job_events.c.job_id, batched_calls.c.job_id),
    batches: (provider_batches.c.batch_id,),
}
"""Rows that others hang on, which do not say themselves whose they are, or would be slow to find."""
ERASED: Final[Mapping[Table, Eraser]] = {
    **{
        table: _by_project(table)
        for table in (
            keys,
            requests,
            attempts,
            unfinished_attempts,
            bodies,
            stored_items,
            stored_responses,
            idempotency_answers,
            jobs,
            batches,
            webhook_deliveries,
        )
    },
    daily_totals: _add_totals_to_nobody_s,
    spend: _by_subject(spend),
    grants: _by_subject(grants),
}
"""How each table forgets projects."""
