"""The schema's history, one file in `versions/` a step. `store.migrate` runs them; nobody needs an alembic.ini.

A change of `store/tables.py` wants a file here, or a test fails and prints the difference:

- `versions/schema_0007.py` with `revision = "0007"`, `down_revision = "0006"`, `oldest_code` and `upgrade()`. Schemas
  are numbered without gaps; if two branches took the same number, the one merged later takes the next. `upgrade()`
  says all in words of its own and imports nothing of `tables.py`, which goes on changing. There is no `downgrade()`:
  the way back is a backup.
- `oldest_code` is the oldest schema whose code may go on with a database that has this one. **Expand, then contract**:
  servers of the last release serve on while the first of the new one migrates, so a step may add what old code does
  not notice, and `oldest_code` stays as it was: a new table, an index, a column that is nullable (old code leaves it
  NULL, and NULL means "not known" or "no limit"). What old code still reads or writes is taken away, renamed or made
  stricter by a later release's step, once the release before has learned to do without; its `oldest_code` is the
  schema with which that code came.
- All steps of an upgrade run in one transaction: no `CREATE INDEX CONCURRENTLY`, no commit. Rows are changed by SQL in
  large strides and not one by one. What SQLite cannot alter wants `op.batch_alter_table`, which copies the table.
- Text has a length, times are Unix ms and money is in micro-dollars as `tables.py` says; JSON is written as in 0001.
- `python -m tools.schema_fixture` writes tests/fixtures/schemas/0007, a database that every later version must be able
  to take over. Until a step is in a release it may be changed instead of followed by another one; then its database,
  and those after it, are written anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
VERSIONS: Final = FOLDER / "versions"
