"""A request on its way to a provider: as its caller wrote it, as canonical values, or both.

One is made from the other only when somebody needs it. A provider that speaks the caller's wire format passes the
body on; every other one encodes the canonical request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from waypost.chat import Request
from waypost.codecs.passing import Glance, passed_on


@dataclass(frozen=True, slots=True)
class Written:
    """A request in its caller's wire format. `headers` are those of the caller's that providers of it may see."""

    wire: str
    body: bytes
    seen: Glance
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def body_for(self, model: str, provider: str = "") -> bytes:  # noqa: ARG002 - it is the same for all of them
        """The body for a provider of this format, known by that name and asked for its `model`."""
        return passed_on(self.wire, self.body, self.seen, model)


class Asked:
    """One request. `model` is the name that the caller gave; a provider is told its own beside it."""

    __slots__ = ("_decode", "_request", "choices", "model", "stream", "written")

    def __init__(
        self,
        model: str,
        *,
        request: Request | None = None,
        written: Written | None = None,
        decode: Callable[[], Request] | None = None,
        stream: bool = False,
    ) -> None:
        self.model = model
        self.written = written
        """None: there is only the canonical form."""
        self.stream = stream
        self._request = request
        self._decode = decode
        self.choices = written.seen.choices if written else (request.sampling.choices or 1 if request else 1)

    @classmethod
    def of(cls, request: Request, *, stream: bool = False) -> Asked:
        """A request that only exists in canonical form."""
        return cls(request.model, request=request, stream=stream)

    @property
    def request(self) -> Request:
        """The canonical form. Raises InvalidRequest, naming what is wrong in the body."""
        if self._request is None:
            if self._decode is None:
                raise TypeError("a request is given in canonical form, or with the means to decode it")
            self._request = self._decode()
        return self._request

    def complete_with(self, complete: Callable[[Request], Request]) -> None:
        """Have the canonical form completed, as soon as there is one; the caller's own bytes stay as they are."""
        decode = self._decode
        if self._request is not None:
            self._request = complete(self._request)
        elif decode is not None:
            self._decode = lambda: complete(decode())

    @property
    def size_bytes(self) -> int:
        """How much there is to read, about."""
        if self.written is not None:
            return len(self.written.body)
        return sum(len(message.text) for message in self.request.messages)

    @property
    def thinks(self) -> bool:
        """Did the caller ask for reasoning? Then the first token may take long."""
        if self.written is not None:
            return self.written.seen.thinks
        return self.request.reasoning is not None

    def written_in(self, wire: str) -> Written | None:
        """The caller's own bytes, if they are in this wire format."""
        written = self.written
        return written if written is not None and written.wire == wire else None
