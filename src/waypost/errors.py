"""Every error Waypost raises on purpose, as one tree.

    WaypostError
    ├── ConfigurationError          settings that cannot be used
    ├── RequestError                the caller's: told to the caller, never retried
    │   ├── InvalidRequest          400  malformed JSON, a wrong type, an empty prompt
    │   ├── WebhookRefused          400  an address that may not be called
    │   ├── PreviousResponseUnknown 400  the answer to go on from is not stored for this caller
    │   ├── AuthenticationRequired  401
    │   ├── OriginRefused           403  a page on another site, or a foreign Host
    │   ├── NotAllowed              403  the key is good, but not for this
    │   ├── PriceUnknown            403  a call without a known price, where a price is asked for
    │   ├── UnknownModel            404
    │   ├── UnknownPath             404
    │   ├── UnknownRequest          404  no story of such a request of this caller's
    │   ├── UnknownResponse         404  no such stored response of this caller's
    │   ├── UnknownStream           404  no such stream of this caller's to go on with
    │   ├── UnknownDelivery         404  no message to a webhook of that id
    │   ├── UnknownObject           404  no project or key of that id
    │   ├── UnknownJob              404  no job of this project's of that id
    │   ├── UnknownBatch            404  no batch of this project's of that id
    │   ├── MethodNotAllowed        405
    │   ├── AnswerNotKept           409  the first answer to an idempotency key is no longer here
    │   ├── Conflict                409  the name is taken, or the key is revoked
    │   ├── JobNotEnded             409  it is under way, so it cannot be retried or deleted
    │   ├── JobHasEnded             409  there is nothing left to cancel
    │   ├── AnswerUnderWay          409  another process answers the first request with an idempotency key
    │   ├── StreamRestarted         409  a background answer was begun anew: what was read of it is void
    │   ├── AnswerCancelled         409  a background answer was cancelled before its end
    │   ├── StreamExpired           410  the events asked for were dropped
    │   ├── BodyTooLarge            413
    │   ├── UnsupportedMediaType    415
    │   ├── IdempotencyConflict     422  a key that came before, with another body
    │   ├── TooManyFailedKeys       429  wrong keys in a row from one address
    │   ├── TooManyJobs             429  as many jobs of the project wait as may
    │   ├── LimitExceeded           429  too many requests or tokens of a key or project
    │   │   └── BudgetExceeded      429  the money of a key, a project or an end user is spent or reserved
    │   ├── UnknownKind             404  no kind of analysis has this name
    │   ├── UnreadableDocument      422  a document from which no text can be had
    │   │   ├── EmptyDocument       422  there is no text in it
    │   │   ├── BinaryDocument      415  it is called text, and is not
    │   │   ├── UnsupportedDocument 415  a type that is not read here
    │   │   ├── UnknownEncoding     422  text, in an encoding that cannot be told
    │   │   ├── EncryptedDocument   422  a password is needed
    │   │   ├── DocumentTooLarge    413
    │   │   ├── DocumentExpands     422  unpacked, it is far larger than it seems
    │   │   ├── DocumentTooSlow     422  reading it took too much time or memory
    │   │   └── DamagedDocument     422  it is not what its type promises
    │   └── UnsupportedFeature      422  valid, but this provider or build cannot do it
    ├── ServerBusy                  503  shutting down or overloaded
    │   ├── DatabaseUnavailable     503  away, full, read-only or damaged
    │   └── JournalFull             503  a call could not be written down, so it is not made
    ├── ModelError                  a local model file: missing, damaged, no room for it
    ├── ProviderError               theirs, or the network's on the way there
    │   ├── ProviderBadRequest      the provider found the request invalid
    │   ├── ContextLengthExceeded
    │   ├── ContentPolicyViolation
    │   ├── ProviderAuthenticationError
    │   ├── ProviderPermissionError
    │   ├── ProviderModelNotFound
    │   ├── ProviderRequestTooLarge
    │   ├── ProviderQuotaExceeded   no credit left: waiting does not help
    │   ├── ProviderRateLimited
    │   ├── ProviderOverloaded      503 and 529
    │   ├── ProviderServerError     any other 5xx
    │   ├── ProviderUnreachable     no connection could be made
    │   ├── ProviderConnectionLost  the connection broke after it was made
    │   ├── ProviderTimeout         a deadline passed; `phase` says which
    │   ├── TargetPaused            the breaker is open: not asked at all
    │   ├── MalformedResponse       the reply is not in the provider's wire format
    │   ├── SchemaNotMet            no part of the answer fits the JSON schema, after every question
    │   ├── IncompleteStream        the stream ended without the provider's terminal event
    │   └── RecoveryDiverged        a broken stream could not be continued in the same words
    └── AllTargetsFailed            carries the error of each attempt

A class says its code, HTTP status, whether the same target may be tried again and whether another target may
be, once, here. Code never looks at message text to tell errors apart; a refusal by the model is not an error
but a finish reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias


class WaypostError(Exception):
    """Root of the tree. `message` says what happened, `hint` what to do about it (may be empty)."""

    code: ClassVar[str] = "internal_error"
    http_status: int = 500
    retryable: ClassVar[bool] = False
    """May the same target be tried again?"""
    fallback: ClassVar[bool] = False
    """May another target be tried?"""
    unwell: ClassVar[bool] = False
    """Does it say that the target itself is unwell? Its breaker counts those."""
    advice: ClassVar[str] = ""
    """The hint where none is given."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.advice
        self.attempts: tuple[Attempt, ...] = ()
        """The calls that were made before it was raised, its own too; filled in by the gateway."""

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        end = "" if self.message.endswith((".", "!", "?", ":")) else "."
        return f"{self.message}{end} {self.hint}"


class ConfigurationError(WaypostError):
    """Settings that cannot be used. The message names the file or variable, and the key."""

    code = "configuration_error"


class RequestError(WaypostError):
    """The caller's request is at fault. `param` names the field, where one is."""

    code = "invalid_request"
    http_status = 400

    def __init__(self, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


class InvalidRequest(RequestError):
    """Malformed JSON, a wrong type, a missing or empty field."""


class AuthenticationRequired(RequestError):
    """No key, or not one of ours."""

    code = "authentication_required"
    http_status = 401


class OriginRefused(RequestError):
    """The Host or Origin header is not one this server answers to."""

    code = "origin_refused"
    http_status = 403


class NotAllowed(RequestError):
    """The key is one of ours, and may not do this: ask for this model, or administer."""

    code = "not_allowed"
    http_status = 403


class PriceUnknown(RequestError):
    """The key, its project or its end user has a budget, or asks for prices, and the call's price is not known."""

    code = "price_unknown"
    http_status = 403
    advice = "Ask for a model whose price is known, or have a price set for this one in the settings."


class UnknownModel(RequestError):
    """No route, target or alias has this name. The hint lists the nearest ones."""

    code = "unknown_model"
    http_status = 404


class UnknownPath(RequestError):
    """No such page or endpoint."""

    code = "unknown_path"
    http_status = 404


class UnknownRequest(RequestError):
    """No request of this caller's has that id, or its story is no longer remembered."""

    code = "unknown_request"
    http_status = 404


class UnknownResponse(RequestError):
    """No stored response of this caller's has this id: it never had, was deleted, or its time is over."""

    code = "unknown_response"
    http_status = 404


class PreviousResponseUnknown(RequestError):
    """The response to go on from, or one before it, is not stored for this caller, or not any more."""

    code = "previous_response_not_found"
    advice = "Send the whole conversation in input."


WebhookRule: TypeAlias = Literal["url", "credentials", "scheme", "port", "host", "address"]
"""What of a webhook's address is at fault."""


class WebhookRefused(RequestError):
    """The address of a webhook is not one that may be called; `rule` says what of it is at fault."""

    code = "webhook_refused"

    def __init__(self, message: str, rule: WebhookRule, *, hint: str = "", param: str | None = "webhook") -> None:
        super().__init__(message, hint=hint, param=param)
        self.rule: WebhookRule = rule


class UnknownDelivery(RequestError):
    """No message to a webhook has this id, or it is no longer in the log."""

    code = "unknown_delivery"
    http_status = 404


class UnknownStream(RequestError):
    """No stream of this caller's has this id: it never had, or the time to come back to it is over."""

    code = "unknown_stream"
    http_status = 404
    advice = "Only a recent stream can be gone on with, with the key that started it. Send the request again."


class UnknownObject(RequestError):
    """No project or key has this id."""

    code = "unknown_object"
    http_status = 404


class UnknownJob(RequestError):
    """No job of this caller's project has this id: it never had, was deleted, or its time is over."""

    code = "unknown_job"
    http_status = 404


class UnknownBatch(RequestError):
    """No batch of this caller's project has this id: it never had, was deleted, or its time is over."""

    code = "unknown_batch"
    http_status = 404


class StreamExpired(RequestError):
    """The stream is known, and the events asked for were dropped, or it was stopped while nobody read it."""

    code = "stream_expired"
    http_status = 410
    advice = "Send the request again."


class StreamRestarted(RequestError):
    """The answer was begun anew, since its worker died or somebody had it done again. What was read of it is void."""

    code = "stream_restarted"
    http_status = 409
    advice = "Read it from its beginning."


class AnswerCancelled(RequestError):
    """The answer was cancelled before it was whole."""

    code = "answer_cancelled"
    http_status = 409


class MethodNotAllowed(RequestError):
    """The endpoint exists, under another method."""

    code = "method_not_allowed"
    http_status = 405


class AnswerNotKept(RequestError):
    """A request with this idempotency key was answered before and may be billed; its answer is no longer here."""

    code = "answer_not_kept"
    http_status = 409
    advice = "To have it answered once more, and billed once more, send it with a new Idempotency-Key."


class Conflict(RequestError):
    """What is asked for does not go with what is there: the name is taken, or the key is revoked."""

    code = "conflict"
    http_status = 409


class JobNotEnded(RequestError):
    """The job is queued or running, so that it can be neither retried nor deleted."""

    code = "job_not_ended"
    http_status = 409
    advice = "Wait for its end, or cancel it first."


class JobHasEnded(RequestError):
    """The job has ended, so that it cannot be cancelled."""

    code = "job_has_ended"
    http_status = 409


class AnswerUnderWay(RequestError):
    """Another process of this installation works on the first request with this idempotency key."""

    code = "answer_under_way"
    http_status = 409
    advice = "Send the request again, with the same key, in a moment."

    def __init__(self, message: str, *, hint: str = "", param: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint, param=param)
        self.retry_after_s = retry_after_s


class BodyTooLarge(RequestError):
    """The request's body is over the limit, which the message states in bytes."""

    code = "body_too_large"
    http_status = 413


class UnsupportedMediaType(RequestError):
    """The content type is not JSON."""

    code = "unsupported_media_type"
    http_status = 415


class IdempotencyConflict(RequestError):
    """This idempotency key came before, with another body."""

    code = "idempotency_key_reused"
    http_status = 422
    advice = "Send the body of the first request, or take a new Idempotency-Key for each new request."


class TooManyFailedKeys(RequestError):
    """Too many wrong keys from one address; `retry_after_s` says when to try again."""

    code = "too_many_failed_keys"
    http_status = 429

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 60.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class TooManyJobs(RequestError):
    """As many jobs of this project are waiting as may; `retry_after_s` says when to try again."""

    code = "too_many_jobs"
    http_status = 429
    advice = "Send it again when some of them have been done."

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 10.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


Whose: TypeAlias = Literal["key", "project", "end_user"]
"""Who is limited."""
Limited: TypeAlias = Literal[
    "requests_per_minute", "tokens_per_minute", "concurrent_requests", "daily_budget", "monthly_budget"
]
"""What is limited: as the settings of keys and projects name it. Budgets count micro-dollars."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """A limit as it stood when it refused. `resets_at_s` is in Unix seconds; None: it does not, as of slots."""

    whose: Whose
    name: str
    what: Limited
    limit: int
    used: int
    reserved: int
    resets_at_s: float | None


class LimitExceeded(RequestError):
    """A limit of the key or its project. `retry_after_s` None: the request alone is too large, no wait helps."""

    code = "rate_limit_exceeded"
    http_status = 429

    def __init__(self, message: str, shortage: Shortage, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.shortage = shortage
        self.retry_after_s = retry_after_s


class BudgetExceeded(LimitExceeded):
    """What is left of a budget does not cover what the call may cost: it is spent, or reserved by calls under way."""

    code = "budget_exceeded"


class UnknownKind(RequestError):
    """No kind of analysis has this name. The hint lists those that there are."""

    code = "unknown_kind"
    http_status = 404


class UnreadableDocument(RequestError):
    """No text can be had from the document."""

    code = "unreadable_document"
    http_status = 422


class EmptyDocument(UnreadableDocument):
    """The document, or what could be read of it, has no text: a scan, for instance."""

    code = "empty_document"
    advice = "Send a document that has text."


class BinaryDocument(UnreadableDocument):
    """The document is called text and holds bytes that no text has."""

    code = "binary_document"
    http_status = 415
    advice = "Send text, or name the file by its real type."


class UnsupportedDocument(UnreadableDocument):
    """Documents of this type are not read here."""

    code = "unsupported_document"
    http_status = 415
    advice = "Send .txt, .md, .html, .pdf or .docx."


class UnknownEncoding(UnreadableDocument):
    """The document seems to be text, in an encoding that cannot be told for sure."""

    code = "unknown_encoding"
    advice = "Save it as UTF-8, or say its encoding in the content type: text/plain; charset=..."


class EncryptedDocument(UnreadableDocument):
    """The document opens with a password only."""

    code = "encrypted_document"
    advice = "Save it without a password, and send it again."


class DocumentTooLarge(UnreadableDocument):
    """The document, or its text, is over the limit, which the message states."""

    code = "document_too_large"
    http_status = 413
    advice = "Send it in several parts."


class DocumentExpands(UnreadableDocument):
    """The document is packed, and what is in it is over the limit."""

    code = "document_expands_too_far"
    advice = "Send its text instead."


class DocumentTooSlow(UnreadableDocument):
    """Reading the document took more time or memory than it may."""

    code = "document_too_slow"
    advice = "Send its text instead."


class DamagedDocument(UnreadableDocument):
    """The document is not what its type promises: cut off, damaged, or another type."""

    code = "damaged_document"
    advice = "Open and save it anew, or send its text."


class UnsupportedFeature(RequestError):
    """A valid wish that cannot be met here, for instance a wire format that cannot carry it."""

    code = "unsupported_feature"
    http_status = 422


class ServerBusy(WaypostError):
    """This server takes no new request now. `retry_after_s` says when to ask again."""

    code = "server_busy"
    http_status = 503

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class DatabaseUnavailable(ServerBusy):
    """The database is away, full, read-only or damaged. Where the message names it, it is for the operator only."""

    code = "database_unavailable"
    advice = "Send the request again in a moment."


class JournalFull(ServerBusy):
    """A call cannot be written down before it is made, so it is not: the disk or the journal's limit is reached."""

    code = "journal_full"


class ModelError(WaypostError):
    """A local model cannot be fetched, read or run."""

    code = "model_error"
    http_status = 503
    fallback = True


class ProviderError(WaypostError):
    """A provider answered with an error, or could not be reached.

    `provider` is filled in by whoever knows the configured name; `status` is the HTTP status the provider sent
    (None: none was), `provider_code` its own code or type, `request_id` its id for the call, and `retry_after_s`
    the wait it asked for in seconds.
    """

    code = "provider_error"
    http_status = 502
    fallback = True

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        provider: str | None = None,
        status: int | None = None,
        provider_code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider
        self.status = status
        self.provider_code = provider_code
        self.param = param
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.key_label: str | None = None
        """Which of the provider's keys went with the call, where there are several."""
        self.another_key = False
        """Is the error about that key, and another one ready?"""


class ProviderBadRequest(ProviderError):
    """The provider found the request invalid."""

    code = "provider_bad_request"
    http_status = 400
    fallback = False


class ContextLengthExceeded(ProviderError):
    """The prompt does not fit into the model's context window."""

    code = "context_length_exceeded"
    http_status = 400
    fallback = False
    advice = "Shorten the prompt, or ask a model with a larger context window."


class ContentPolicyViolation(ProviderError):
    """The provider refused the prompt by its content policy."""

    code = "content_policy_violation"
    http_status = 400
    fallback = False
    advice = "Change the prompt."


class ProviderAuthenticationError(ProviderError):
    """The provider refused our key."""

    code = "provider_authentication"
    advice = "Check the provider's api_key in the settings, or the environment variable it comes from."


class ProviderPermissionError(ProviderError):
    """Our key may not use this model or endpoint."""

    code = "provider_permission"
    advice = "Check what the provider's key may use, or ask for another model."


class ProviderModelNotFound(ProviderError):
    """The provider does not know the model or endpoint."""

    code = "provider_model_not_found"
    http_status = 404
    advice = "Check the model's name, and that the provider's account may use it."


class ProviderRequestTooLarge(ProviderError):
    """The body is over the provider's limit."""

    code = "provider_request_too_large"
    http_status = 413
    fallback = False
    advice = "Send less at once."


class ProviderQuotaExceeded(ProviderError):
    """The account has no credit or quota left; waiting does not help."""

    code = "provider_quota_exceeded"
    http_status = 429
    advice = "Check the provider account's credit and limits."


class ProviderRateLimited(ProviderError):
    """Too many requests or tokens for now."""

    code = "provider_rate_limited"
    http_status = 429
    retryable = True
    advice = "Wait and ask again, or give the route another target."


class ProviderOverloaded(ProviderError):
    """The provider is out of capacity (503, or Anthropic's 529)."""

    code = "provider_overloaded"
    http_status = 503
    retryable = True
    unwell = True
    advice = "Ask again later, or give the route another target."


class ProviderServerError(ProviderError):
    """The provider failed (any other 5xx)."""

    code = "provider_server_error"
    retryable = True
    unwell = True
    advice = "Ask again, or give the route another target."


class ProviderUnreachable(ProviderError):
    """No connection: refused, no route, name not found, TLS failed."""

    code = "provider_unreachable"
    retryable = True
    unwell = True


class ProviderConnectionLost(ProviderError):
    """The connection was made and then broke."""

    code = "provider_connection_lost"
    retryable = True
    unwell = True
    advice = "Ask again; if it happens often, look at the network on the way to the provider."


Phase = Literal["connect", "first_byte", "first_token", "idle", "total"]


class ProviderTimeout(ProviderError):
    """A deadline passed. `phase` says which, `limit_s` what it was."""

    code = "provider_timeout"
    http_status = 504
    unwell = True

    def __init__(
        self, message: str, *, phase: Phase, limit_s: float, hint: str = "", provider: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, provider=provider)
        self.phase = phase
        self.limit_s = limit_s


class TargetPaused(ProviderError):
    """The target failed too often of late and is left alone for a while; `retry_after_s` says how long."""

    code = "target_paused"
    http_status = 503


class MalformedResponse(ProviderError):
    """The provider's bytes are not in its wire format."""

    code = "provider_malformed_response"
    unwell = True
    advice = "Check that base_url points to the provider's API and that kind is right."


class SchemaNotMet(ProviderError):
    """What the model answered does not fit the JSON schema, not even in part and after all questions allowed."""

    code = "schema_not_met"
    advice = "Ask another model, or make the schema simpler."


class IncompleteStream(ProviderError):
    """The stream ended and the provider had not said that it was finished."""

    code = "provider_incomplete_stream"
    unwell = True
    advice = "Ask again."


class RecoveryDiverged(ProviderError):
    """A broken stream was taken up again, and what came does not go on from what the caller had been sent."""

    code = "recovery_diverged"
    fallback = False
    advice = "What was sent is not the whole answer: ask again."


Next: TypeAlias = Literal[
    "retry", "next_key", "next_target", "larger_window", "recovery", "hedge", "answered", "lost", "caller_left", "end"
]
"""What an attempt led to. hedge: the call that was started beside it was faster; lost: it was that call, and was not
faster; end: nothing else could be tried."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one target. `error` is None if it answered; `duration_ms` runs until it did or failed.

    The rest is for the request's story: `started_ms` counts from the request's start, `next` is what the attempt led
    to and `waited_ms` the wait before that, `key_label` which of the provider's keys went with it, and `way` how it
    went on with a stream that had broken. `line` is its place in the ledger's entry of the request; 0: it has none.
    """

    provider: str
    model: str | None
    error: Exception | None
    duration_ms: int
    started_ms: int = 0
    next: Next = "end"
    waited_ms: int = 0
    first_token_ms: int | None = None
    key_label: str | None = None
    way: str | None = None
    line: int = 0


class AllTargetsFailed(WaypostError):
    """Every target was tried or ruled out. `attempts` holds them in the order made, each with its own error.

    Where all of them failed with one HTTP status, this error has it too; `retry_after_s` is the shortest wait that
    one of them asked for.
    """

    code = "all_providers_failed"
    http_status = 502

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        failed = [(attempt.provider, attempt.error) for attempt in attempts if attempt.error is not None]
        errors = [error for _, error in failed]
        told = dict.fromkeys(f"{provider}: {_sentence(error)}" for provider, error in failed)
        hints = dict.fromkeys(error.hint for error in errors if isinstance(error, WaypostError) and error.hint)
        super().__init__(f"All AI providers failed: {'; '.join(told) or 'none is configured'}.", hint=" ".join(hints))
        self.attempts = tuple(attempts)
        statuses = {error.http_status if isinstance(error, WaypostError) else None for error in errors}
        if len(statuses) == 1 and (status := statuses.pop()) is not None:
            self.http_status = status
        waits = [error.retry_after_s for error in errors if isinstance(error, ProviderError)]
        self.retry_after_s = min((wait for wait in waits if wait is not None), default=None)

    @property
    def common(self) -> WaypostError | None:
        """The last error, if all who were asked failed in the same way; None if they differ, or nobody was asked.

        A target that was left alone says nothing new beside those that were asked.
        """
        asked = [each.error for each in self.attempts if not isinstance(each.error, TargetPaused)]
        errors = asked or [each.error for each in self.attempts]
        last = errors[-1] if len({type(each) for each in errors}) == 1 else None
        return last if isinstance(last, WaypostError) else None

    @property
    def errors(self) -> dict[str, Exception]:
        """The last error of each provider, by name."""
        return {attempt.provider: attempt.error for attempt in self.attempts if attempt.error is not None}


def _sentence(error: Exception) -> str:
    text = error.message if isinstance(error, WaypostError) else str(error) or type(error).__name__
    return text.rstrip().removesuffix(".")
