"""Tool loops across dialects: what a provider wants back with its calls is kept here, for callers who cannot send it.

Only requests with tools are looked at, and only where caller and provider speak different dialects: who passes bytes on
passes signatures on too.
"""

from __future__ import annotations

from functools import partial

from waypost.chat import Event, Finish, Response
from waypost.chat.collect import Collector
from waypost.chat.grammar import GrammarError
from waypost.gateway.signature_store import SignatureStore
from waypost.providers.asked import Asked


class Signatures:
    """One conversation's: give it the translated answer, whole or event by event."""

    def __init__(self, store: SignatureStore, tenant: str) -> None:
        self._store = store
        self._tenant = tenant
        self._collector: Collector | None = Collector()

    def keep(self, response: Response) -> None:
        """Remember a whole answer's calls."""
        for choice in response.choices:
            self._store.remember(self._tenant, choice.parts)

    def see(self, event: Event) -> None:
        """Take the next event of a stream. A choice's calls are remembered when it finishes."""
        if self._collector is None:
            return
        try:
            self._collector.add(event)
        except GrammarError:
            # What cannot be put together is not remembered; telling it is another matter.
            self._collector = None
            return
        if isinstance(event, Finish):
            choices = self._collector.partial().choices
            ended = next(choice for choice in choices if choice.index == event.choice)
            self._store.remember(self._tenant, ended.parts)


def signatures_for(store: SignatureStore | None, tenant: str, asked: Asked) -> Signatures | None:
    """Those of a request with tools; what is known of its earlier calls is put into its canonical form. Else None."""
    if store is None or asked.written is None or not asked.written.seen.members.get("tools"):
        return None
    asked.complete_with(partial(store.restored, tenant))
    return Signatures(store, tenant)
