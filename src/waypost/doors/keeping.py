"""The answer to one request of /v1/responses, stored under an id of ours.

The invariant: what is stored is the whole answer, with what a further request needs to go on from it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from waypost.chat import Json
from waypost.codecs.openai_responses.continuing import by_id, with_ids
from waypost.codecs.openai_responses.retelling import Identity
from waypost.doors.going_on import GoingOn
from waypost.doors.off_loop import off_loop_if_large
from waypost.doors.turns import KeptRequest, call_ids
from waypost.errors import DatabaseUnavailable
from waypost.gateway.call_record import current_record
from waypost.gateway.signature_store import SignatureStore
from waypost.ledger.stored_responses import StoredResponse, StoredResponses

logger = logging.getLogger("waypost.server")


@dataclass(frozen=True, slots=True)
class Keeper:
    """Who stores the answer, for whom. `signatures` knows what providers want back with `tenant`'s calls."""

    store: StoredResponses
    project_id: str
    tenant: str
    signatures: SignatureStore | None


class Keeping:
    """One answer that is to be stored, or that goes on from a stored one."""

    def __init__(self, keeper: Keeper, identity: Identity, made: GoingOn) -> None:
        self.identity = identity
        self.warnings = made.warnings
        self._keeper = keeper
        self._made = made

    async def keep(self, response: bytes) -> bool:
        """Store the answer, given in its stored form. False: it is not stored, by wish or since it cannot be."""
        if not self.identity.store:
            return False
        row, item_ids = await off_loop_if_large(len(response), lambda: self._row(response))
        try:
            await self._keeper.store.keep(row, item_ids)
        except DatabaseUnavailable:
            logger.warning("response %s was not stored: the database does not answer", self.identity.id)
            return False
        return True

    def _row(self, response: bytes) -> tuple[StoredResponse, Sequence[str]]:
        output: Sequence[Json] = msgspec.json.decode(response).get("output") or ()
        items = with_ids(self._made.items, self.identity.id)
        record, keeper = current_record(), self._keeper
        request = KeptRequest(
            items,
            (record.provider if record else None) or "",
            self.identity.sealed,
            dict(self._made.sealed_by),
            self._made.asked.stream,
            None if keeper.signatures is None else keeper.signatures.written_down(keeper.tenant, call_ids(output)),
        )
        now_ms = keeper.store.now_ms
        row = StoredResponse(
            self.identity.id,
            keeper.project_id,
            self.identity.previous_response_id,
            now_ms,
            keeper.store.expiry_ms(now_ms),
            request.encode(),
            response.decode("utf-8", "replace"),
        )
        return row, [*by_id(items), *by_id(output)]
