"""The database: tables, transactions and migrations, for SQLite and PostgreSQL alike. It blocks, and knows no meaning.

Import `waypost.store.database` and `waypost.store.tables` where they are used, and late: they bring SQLAlchemy along.
"""

from __future__ import annotations

from typing import Final

SQLITE_FILE: Final = "waypost.db"
"""In the data folder, where no database is configured."""
