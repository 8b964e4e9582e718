"""The story of one request, as values, and the book that remembers the last ones. `explain` puts it into words.

A story holds names, times, counts and our own words: never a prompt, an answer, a key or a provider's words. The
book's invariant: a story is read by the tenant whose request it was, or by an admin; to anyone else it is not there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from waypost import errors
from waypost.chat import Usage
from waypost.errors import Next, ProviderError, ProviderTimeout, WaypostError

Outcome: TypeAlias = Literal["answered", "failed", "caller_left"]


@dataclass(frozen=True, slots=True)
class AttemptStory:
    """One call. `started_ms` counts from the request's start; `waited_ms` is the wait between it and the next one.

    `error_sentence` says what the target did, as `error_words` does. `asked_wait_ms` is what it asked for,
    `wait_limit_ms` how much the route allows. `way` is how a broken stream was gone on with by the next attempt.
    """

    provider: str
    model: str | None
    started_ms: int
    duration_ms: int
    reason_next: Next
    first_token_ms: int | None = None
    error_code: str | None = None
    error_sentence: str = ""
    waited_ms: int = 0
    asked_wait_ms: int | None = None
    wait_limit_ms: int | None = None
    key_label: str | None = None
    way: str | None = None

    @property
    def target(self) -> str:
        """As a request would name it."""
        return f"{self.provider}/{self.model}" if self.model else self.provider


@dataclass(frozen=True, slots=True)
class RequestStory:
    """All of a request. `started_at` is in Unix seconds, `status` the HTTP status that the caller got (None: none).

    `usage` is of all attempts together; counts named in `incomplete_usage` are lower bounds. Cost None: not known.
    """

    request_id: str
    asked_model: str
    started_at: float
    duration_ms: int
    outcome: Outcome
    status: int | None
    route: str | None = None
    attempts: tuple[AttemptStory, ...] = ()
    usage: Usage = field(default_factory=Usage)
    incomplete_usage: frozenset[str] = frozenset()
    cost_micro_usd: int | None = None
    notes: tuple[str, ...] = ()


Telling: TypeAlias = Callable[[], RequestStory]
"""Makes a story when somebody asks for it: most are never read."""


class StoryBook:
    """The last stories, by tenant (the key that made the request; None where there are no keys) and request id."""

    def __init__(self, most_stories: int = 10_000) -> None:
        self._most_stories = most_stories
        self._stories: OrderedDict[tuple[str | None, str], Telling] = OrderedDict()

    def add(self, request_id: str, tenant: str | None, tell: Telling) -> None:
        """Remember it. A later story of the same request takes the earlier one's place; the oldest one goes."""
        key = (tenant, request_id)
        self._stories[key] = tell
        self._stories.move_to_end(key)
        while len(self._stories) > self._most_stories:
            self._stories.popitem(last=False)

    def find(self, request_id: str, tenant: str | None, *, is_admin: bool = False) -> RequestStory | None:
        """The story, or None: it is unknown, forgotten, or another tenant's, and nobody can tell which."""
        tell = self._stories.get((tenant, request_id))
        if tell is None and is_admin:
            tell = next((each for (_, known), each in reversed(self._stories.items()) if known == request_id), None)
        return None if tell is None else tell()


ERROR_WORDS: Final[Mapping[type[WaypostError], str]] = {
    errors.ProviderBadRequest: "found the request invalid",
    errors.ContextLengthExceeded: "found the prompt longer than its context window",
    errors.ContentPolicyViolation: "refused the prompt by its content policy",
    errors.ProviderAuthenticationError: "refused our key",
    errors.ProviderPermissionError: "does not let our key use this model",
    errors.ProviderModelNotFound: "does not know the model",
    errors.ProviderRequestTooLarge: "found the request too large",
    errors.ProviderQuotaExceeded: "said that the account has no credit left",
    errors.ProviderRateLimited: "had too many requests or tokens from us",
    errors.ProviderOverloaded: "was overloaded",
    errors.ProviderServerError: "failed",
    errors.ProviderUnreachable: "could not be reached",
    errors.ProviderConnectionLost: "lost the connection",
    errors.ProviderTimeout: "took too long",
    errors.TargetPaused: "was not asked, because it had failed too often of late",
    errors.MalformedResponse: "sent what is not in its wire format",
    errors.SchemaNotMet: "gave what does not meet the schema that was asked for",
    errors.IncompleteStream: "ended the stream without saying that it was finished",
    errors.RecoveryDiverged: "did not go on from what had been sent",
    errors.ProviderError: "failed",
    errors.ModelError: "could not run the local model",
    errors.UnsupportedFeature: "cannot do what was asked for",
    errors.WaypostError: "was not able to take the request",
}
"""What the target did, by the nearest class. Our words: a provider's own may quote the prompt."""

_PHASES: Final[Mapping[str, str]] = {
    "connect": "could not be connected to within {limit_s:g} s",
    "first_byte": "sent nothing within {limit_s:g} s",
    "first_token": "gave no first token within {limit_s:g} s",
    "idle": "fell silent for {limit_s:g} s in the middle of its answer",
    "total": "was not done when the request's time was over",
}


def error_words(error: Exception) -> str:
    """What the target did, to be put after its name. Of the error only its class and numbers are told."""
    if isinstance(error, ProviderTimeout):
        return _PHASES[error.phase].format(limit_s=error.limit_s)
    if not isinstance(error, WaypostError):
        return f"raised an error of its own ({type(error).__name__})"
    words = next(ERROR_WORDS[kind] for kind in type(error).__mro__ if kind in ERROR_WORDS)
    status = error.status if isinstance(error, ProviderError) else None
    return words if status is None else f"answered {status}: it {words}"


def error_code(error: Exception) -> str:
    """The code of an error of ours, "foreign_error" for any other."""
    return error.code if isinstance(error, WaypostError) else "foreign_error"
