"""The database: tables, transactions and migrations, for SQLite and PostgreSQL alike. It blocks, and knows no meaning.

Import `waypost.store.database` and `waypost.store.tables` where they are used, and late: they bring SQLAlchemy along.
"""
