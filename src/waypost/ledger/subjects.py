"""What budgets and limits are counted by, as the database names it: a key, a project, an end user of a project.

The invariant: a name fits into the database's column, and two end users never share one.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from waypost.ledger.account import Account

LONGEST: Final = 200
"""Characters of a subject in the database."""
END_USER: Final = "user:"
_PLAIN: Final = re.compile(r"[ -~\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
"""What any database takes as text and gives back the same."""
_HASHED: Final = "sha256:"


def key_subject(key_id: str) -> str:
    """A key."""
    return f"key:{key_id}"


def project_subject(project_id: str) -> str:
    """A project, with all its keys."""
    return f"project:{project_id}"


def user_subject(project_id: str, end_user: str) -> str:
    """An end user, whichever of the project's keys the requests come with. A long or odd name is told by its hash."""
    subject = f"{END_USER}{project_id}:{end_user}"
    # A name that looks like a hash is hashed too, so that nobody can take another's place.
    if len(subject) <= LONGEST and not end_user.startswith(_HASHED) and _PLAIN.fullmatch(end_user):
        return subject
    digest = sha256(end_user.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{END_USER}{project_id}:{_HASHED}{digest}"


def subjects_of(account: Account, end_user: str | None) -> tuple[str, ...]:
    """Everybody to whose account a call goes."""
    own = (key_subject(account.key_id), project_subject(account.project_id))
    return own if end_user is None else (*own, user_subject(account.project_id, end_user))
