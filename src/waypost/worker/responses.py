"""Jobs of the type `response`: an answer of /v1/responses that nobody waits for. All of it is one step.

The provider is always asked for a stream, so that what had come is there when its caller cancels. The invariant: a job
that has succeeded has its answer among the stored ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from waypost.codecs.openai_responses.continuing import by_id, with_ids
from waypost.codecs.openai_responses.errors import failure_body
from waypost.codecs.openai_responses.partial import PartialOutput
from waypost.codecs.openai_responses.retelling import Ending, Identity, Retelling, members_of
from waypost.codecs.openai_responses.telling_events import events_in
from waypost.codecs.sse import SseDecoder
from waypost.doors.background import BACKGROUND, PRELUDE, response_id_of, told_of
from waypost.doors.going_on import GoingOn, Shelf, Wish, going_on
from waypost.doors.responses import RESPONSES, read_responses
from waypost.doors.signatures import signatures_for
from waypost.doors.turns import KeptRequest, call_ids
from waypost.doors.writing import Writing
from waypost.errors import DatabaseUnavailable, IncompleteStream, InvalidRequest, WaypostError
from waypost.gateway.configured import names_of
from waypost.gateway.signature_store import SignatureStore
from waypost.jobs.body import JobContext, StepDone
from waypost.jobs.job import JobEnd
from waypost.jobs.patience import PatientDatabase
from waypost.jobs.stream import Event
from waypost.ledger.stored_responses import StoredResponse, StoredResponses
from waypost.ledger.threads import DatabaseThreads
from waypost.providers.asked import Asked
from waypost.worker.telling import Telling

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.worker.app import WorkerApplication

ResultT = TypeVar("ResultT")
STEP: Final = "answer"
AGAIN_S: Final = 1.0
MOST_SIGNED_CALLS: Final = 10_000
SIGNED_CALLS_BYTES: Final = 32 * 1024 * 1024


class ResponseBody:
    """Implements JobBody. The request has `stream`, `headers`, and `response` as it is before its beginning."""

    def __init__(self, application: WorkerApplication) -> None:
        settings = application.settings
        self._calls = application.calls
        self._database = PatientDatabase(application.database)
        self._most_bytes = settings.jobs.max_stream_bytes
        self._store = StoredResponses(DatabaseThreads(application.database.open), settings.ledger.responses_days)
        self._max_bytes = settings.server.max_body_bytes
        self._provider_storage = names_of(settings, lambda route: route.provider_storage)
        self._signatures = SignatureStore(MOST_SIGNED_CALLS, SIGNED_CALLS_BYTES)

    async def run(self, context: JobContext) -> JobEnd:
        """Ask, tell what comes, and store the answer."""
        telling = _ResponseTelling(context, self._keep)
        return await telling.end(context.step(STEP, lambda: self._answer(telling)))

    async def _answer(self, telling: _ResponseTelling) -> StepDone:
        job, content = telling.context.job, await telling.context.input()
        if job.request.get("stream"):
            await telling.begin_round(self._database, self._most_bytes)
        asked = _asked(b"" if content is None else content.data, job.request.get("headers") or {})
        made, identity = await self._made(asked, job.project_id, telling.response_id)
        tenant = job.key_id
        for known in made.signatures:
            self._signatures.put_back(tenant, known)
        writing = Writing(RESPONSES, made.asked, signatures_for(self._signatures, tenant, made.asked))
        telling.begin(identity)
        async with self._calls.stream(job, made.asked, step=STEP) as called:
            writing.served = called.served
            async for batch in called.served:
                await telling.take(writing.write(batch))
            await telling.take(writing.end())
            provider = called.served.provider
        await telling.flush()
        result = telling.result(made, provider, lambda ids: self._signatures.written_down(tenant, ids))
        return called.step_done(result)

    async def _made(self, asked: Asked, project_id: str, response_id: str) -> tuple[GoingOn, Identity]:
        written = asked.written
        if written is None:
            raise InvalidRequest("The request is empty.")
        wish = Wish.of(written.seen.members, by_default=True)
        shelf = Shelf(self._store, project_id, self._max_bytes, self._provider_storage)
        made = await _until_there(lambda: going_on(asked, written, wish, shelf))
        return made, Identity(response_id, wish.previous, store=True, sealed=wish.sealed, background=True)

    async def _keep(self, stored: StoredResponse, item_ids: Sequence[str]) -> None:
        """Once, however often it is called."""

        def keep(connection: Connection) -> None:
            from waypost.ledger import response_rows as rows

            if not rows.find(connection, stored.project_id, [stored.id], 0):
                rows.insert(connection, stored, item_ids)

        now_ms = self._store.now_ms
        stored = StoredResponse(
            stored.id,
            stored.project_id,
            stored.previous_response_id,
            now_ms,
            self._store.expiry_ms(now_ms),
            stored.request,
            stored.response,
        )
        await self._database.write(keep)


class _ResponseTelling(Telling):
    """One answer in the Responses format."""

    def __init__(self, context: JobContext, keep: Callable[[StoredResponse, Sequence[str]], Awaitable[None]]) -> None:
        super().__init__(context, prelude=PRELUDE)
        self.response_id = response_id_of(context.job.id)
        self._keep = keep
        self._identity = Identity(self.response_id, None, background=True)
        self._retelling = Retelling(self._identity)
        self._decoder = SseDecoder()
        self._partial = PartialOutput()
        self._head: Mapping[str, Any] | None = None
        self._ending: Ending | None = None

    def begin(self, identity: Identity) -> None:
        """It is known what is told of the answer."""
        self._identity = identity
        self._retelling = Retelling(identity)

    async def take(self, raw: bytes) -> None:
        """The next bytes of the stream, whole events."""
        events: list[tuple[Event, int]] = []
        for piece in self._retelling.feed(raw):
            if isinstance(piece, Ending):
                self._ending = piece
                continue
            for kind, members in events_in(self._decoder, piece):
                self._see(kind, members)
                if self.round > 1 or kind != "response.created":
                    events.append(((kind, members), len(piece)))
        await self.tell(events)

    def _see(self, kind: str, members: dict[str, Any]) -> None:
        self._partial.see(kind, members)
        response = members.get("response")
        if isinstance(response, dict):
            # One date from the beginning to the end.
            response["created_at"] = self.context.job.created_at_ms // 1000
            self._head = response

    def result(
        self, made: GoingOn, provider: str, written_down: Callable[[Sequence[str]], str | None]
    ) -> dict[str, Any]:
        """What the step gives. Raises IncompleteStream if the provider has not finished."""
        if self._ending is None:
            raise IncompleteStream("The stream ended before the provider said that it was finished.")
        members = members_of(self._ending.response)
        members["created_at"] = self.context.job.created_at_ms // 1000
        response = msgspec.json.encode(members)
        output = msgspec.json.decode(response).get("output") or ()
        items = with_ids(made.items, self.response_id)
        request = KeptRequest(
            items,
            provider,
            self._identity.sealed,
            dict(made.sealed_by),
            bool(self.context.job.request.get("stream")),
            written_down(list(call_ids(output))),
        )
        return {
            "status": self._ending.kind.removeprefix("response."),
            "previous_response_id": self._identity.previous_response_id,
            "request": request.encode(),
            "response": response.decode("utf-8", "replace"),
            "items": [*by_id(items), *by_id(output)],
        }

    async def whole(self, done: Any) -> Any:
        """Store it, and say where it is."""
        previous, project_id = done["previous_response_id"], self.context.job.project_id
        stored = StoredResponse(self.response_id, project_id, previous, 0, 0, done["request"], done["response"])
        await self._keep(stored, done["items"])
        return {"response_id": self.response_id, "status": done["status"]}

    def broken(self, status: str, error: WaypostError | None) -> Any:
        """The response with what had come of it."""
        head = told_of(self.context.job) if self._head is None else self._head
        told = {"status": status, "error": None if error is None else failure_body(error)}
        return {"response": {**head, **told, "output": self._partial.output(), "usage": None}}


def _asked(body: bytes, headers: Mapping[str, str]) -> Asked:
    """The request without what is done here, and as a stream."""
    members = {name: value for name, value in members_of(body).items() if name != BACKGROUND}
    return read_responses(msgspec.json.encode({**members, "stream": True}), headers, stores=True)


async def _until_there(call: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """What it gives, once the database answers."""
    while True:
        try:
            return await call()
        except DatabaseUnavailable:
            await asyncio.sleep(AGAIN_S)
