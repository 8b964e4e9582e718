"""What the ledger proves about its clients: who came back too early, too often, or with what cannot succeed.

Only what can be known from outside: a client is a key and a user agent, and a retry is the same body at the same path
after a failure. Whether a broken stream was taken for a whole one is not known, only whether it was asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Final, TypeAlias

from waypost.simulator.faults import FAULT_KINDS
from waypost.simulator.ledger import SeenRequest

STORM_ATTEMPTS: Final = 6
"""So many attempts of one request, each after a failure, within the window, are a storm: SDKs make three by default."""
STORM_WINDOW_S: Final = 60.0
TOLERANCE_S: Final = 0.05
"""Times are told in milliseconds, and a client's clock starts when it has read the reply."""
FINAL_STATUSES: Final = frozenset({400, 401, 403, 404, 405, 413, 422})
"""What these refuse is refused again."""

BREAKING: Final = frozenset(name for name in FAULT_KINDS if name.endswith("_after_events")) - {"huge_after_events"}
"""The faults after which a reply of status 200 is not a whole one."""

Client: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One client's. The numbers in the lists are those of requests in the ledger.

    `early_retries` came before the wait that was asked for had passed; `storms` began a storm; `vain_retries` repeated
    what had been refused for good; `broken_streams` ended too early or malformed, and `asked_again` are those of them
    whose request was sent again.
    """

    key_hash: str
    user_agent: str
    requests: int
    retries: int
    early_retries: tuple[int, ...]
    storms: tuple[int, ...]
    vain_retries: tuple[int, ...]
    broken_streams: tuple[int, ...]
    asked_again: tuple[int, ...]

    @property
    def is_good(self) -> bool:
        """Is nothing held against the client?"""
        return not (self.early_retries or self.storms or self.vain_retries)


def verdicts(requests: Iterable[SeenRequest]) -> list[Verdict]:
    """Of every client, in the order of their keys."""
    # What came in a batch was sent once, whatever became of it.
    sent = (seen for seen in requests if seen.batch_id is None)
    ordered = sorted(sent, key=lambda seen: (_client_of(seen), seen.number))
    return [_verdict(client, list(seen)) for client, seen in groupby(ordered, key=_client_of)]


def _client_of(seen: SeenRequest) -> Client:
    return seen.key_hash, seen.headers.get("user-agent", "")


def _verdict(client: Client, seen: Sequence[SeenRequest]) -> Verdict:
    alike: dict[tuple[str, str | None], list[SeenRequest]] = {}
    for each in seen:
        alike.setdefault((each.path, each.body_sha256), []).append(each)
    pairs = [pair for row in alike.values() for pair in pairwise(row) if _has_failed(pair[0])]
    broken = [each for each in seen if each.fault in BREAKING and each.status == 200]
    again = {first.number for first, _ in pairs}
    return Verdict(
        key_hash=client[0],
        user_agent=client[1],
        requests=len(seen),
        retries=len(pairs),
        early_retries=tuple(later.number for first, later in pairs if _is_early(first, later)),
        storms=tuple(number for row in alike.values() for number in _storms(row)),
        vain_retries=tuple(later.number for first, later in pairs if first.status in FINAL_STATUSES),
        broken_streams=tuple(each.number for each in broken),
        asked_again=tuple(each.number for each in broken if each.number in again),
    )


def _has_failed(seen: SeenRequest) -> bool:
    return seen.outcome == "refused" or (seen.fault is not None and seen.outcome != "completed")


def _is_early(first: SeenRequest, later: SeenRequest) -> bool:
    if first.retry_after_s is None:
        return False
    ended = _began(first) + timedelta(milliseconds=first.duration_ms or 0)
    return (_began(later) - ended).total_seconds() < first.retry_after_s - TOLERANCE_S


def _storms(row: Sequence[SeenRequest]) -> list[int]:
    """The first of each run of failures that is a storm."""
    found = []
    for has_failed, run in groupby(row, key=_has_failed):
        attempts = list(run)
        if not has_failed or len(attempts) < STORM_ATTEMPTS:
            continue
        took = _began(attempts[STORM_ATTEMPTS - 1]) - _began(attempts[0])
        if took.total_seconds() <= STORM_WINDOW_S:
            found.append(attempts[0].number)
    return found


def _began(seen: SeenRequest) -> datetime:
    return datetime.fromisoformat(seen.time)
