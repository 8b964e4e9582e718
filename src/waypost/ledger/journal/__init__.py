"""The journal: what every process writes down before it acts, and the thread that brings it into the database.

A process appends records to files of its own (`Journal`). Of the processes that share the folder one reads all files
and posts what is in them (`Drainer`). The invariant: a record that was appended becomes a row exactly once, whichever
processes die and at whatever moment.
"""

from waypost.ledger.journal.drainer import Drainer, DrainerStatus
from waypost.ledger.journal.journal import Journal, JournalState

__all__ = ["Drainer", "DrainerStatus", "Journal", "JournalState"]
