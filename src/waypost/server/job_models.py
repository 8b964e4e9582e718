"""What is asked and told of jobs, as Pydantic models: they validate what comes in and make the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field

from waypost.jobs.job import FIRST, LAST, NORMAL
from waypost.ledger.definitions import LONGEST_TAG, TAG_NAME
from waypost.server.models import LONGEST_MODEL, Wire

MOST_KINDS: Final = 20
MOST_TAGS: Final = 16
LONGEST_KEY: Final = 255
"""Of an idempotency key, as in the header."""
LONGEST_USER: Final = 200
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def _tags(tags: dict[str, str]) -> dict[str, str]:
    for name, value in tags.items():
        if not TAG_NAME.fullmatch(name):
            raise ValueError("has a name that is not 1 to 64 letters, digits, or . _ : / -")
        if len(value) > LONGEST_TAG or not value.isprintable():
            raise ValueError(f"has a value that is not at most {LONGEST_TAG} characters of one line")
    return tags


def _key(key: str) -> str:
    if not (key.isascii() and key.isprintable()):
        raise ValueError("must be printable ASCII characters")
    return key


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be characters of one line")
    return text


IdempotencyKey = Annotated[str, Field(min_length=1, max_length=LONGEST_KEY), AfterValidator(_key)]
Tags = Annotated[dict[str, str], Field(max_length=MOST_TAGS), AfterValidator(_tags)]
EndUser = Annotated[str, Field(min_length=1, max_length=LONGEST_USER), AfterValidator(_one_line)]


class AnalyzeRequest(Wire):
    """What to analyze: `content`, or the same called `prompt`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    content: Annotated[str | None, Field(examples=["The coffee was cold, but the staff was kind."])] = None
    """The text to analyze."""
    prompt: str | None = None
    """Another name for `content`."""
    model: Annotated[str | None, Field(min_length=1, max_length=LONGEST_MODEL)] = None
    """A route, an alias, `provider/model`, or a model's id. Without it the kind's own, else the default route."""
    kinds: Annotated[list[str] | None, Field(min_length=1, max_length=MOST_KINDS, examples=[["analysis"]])] = None
    """Which analyses to make. Without it the built-in one: `analysis`."""
    webhook: Annotated[str | None, Field(min_length=1, max_length=2048)] = None
    """A public https address that is told of the job's end, by a signed POST."""
    idempotency_key: IdempotencyKey | None = None
    """As the header Idempotency-Key: the same key and request again give the same job."""
    tags: Tags = Field(default_factory=dict)
    """What the job is for: it can be found by them, and its calls have them in the request log."""
    priority: Annotated[int, Field(ge=FIRST, le=LAST)] = NORMAL
    """0 is done first, 9 last."""
    allow_offline: bool = False
    """May an analyzer without a language model stand in if no provider answers? Its result says `degraded`."""
    user: EndUser | None = None
    """Your id for the person it is for, whose budget it goes to."""


class AcceptedModel(Wire):
    """The job that does it."""

    job_id: str
    """The job's id."""
    message: str
    """What happened, for people."""
    status: Literal["processing", "succeeded", "failed", "cancelled"]
    """processing: it waits or is being done. The others: it was asked for before, and has ended."""
    url: str
    """Where the job and its result are; also in the header Location."""


class BackgroundModel(AcceptedModel):
    """The job that makes the answer."""

    response_id: str
    """The answer's id, and its stream's."""
    events_url: str
    """Where its stream is."""


class JobErrorModel(Wire):
    """Why a job failed."""

    code: str
    """One of the error codes."""
    message: str
    """What happened."""
    hint: str = ""
    """What to do about it; may be empty."""


class JobProgress(Wire):
    """How far a job is."""

    done: int
    """Parts that are done."""
    total: int | None
    """Of so many; null: not known yet."""


class JobListed(Wire):
    """A job, as lists show it."""

    id: str
    """Its id."""
    type: str
    """What is done: analyze, generate or response."""
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    """Where it stands. The last three are ends."""
    error: JobErrorModel | None
    """Why it failed."""
    progress: JobProgress
    """How far it is."""
    created_at: Time
    """When it was asked for."""
    started_at: Time | None
    """When it was begun."""
    ended_at: Time | None
    """When it ended."""
    expires_at: Time | None
    """Until when it is kept."""
    queued_ms: int | None
    """How long it waited before it was begun, in milliseconds."""
    cancel_requested: bool
    """Was it asked to end?"""
    cost_usd: float | None
    """What its calls cost so far, in US dollars; null: of one of them it is not known."""
    cost_is_estimate: bool
    """Is a part of the cost an estimate?"""
    possibly_paid_twice: int
    """Calls to providers that were under way when a worker died, and were made again."""
    usage: dict[str, Any] | None
    """Token counts over all calls."""
    provider: str | None
    """Who answered last."""
    model: str | None
    """The model that answered last."""
    runs: int
    """How often it was begun: once, and once more for each retry."""
    priority: int
    """0 is done first, 9 last."""
    tags: dict[str, str]
    """What it is for."""
    project_id: str
    """Whose it is."""
    key_id: str
    """The key that it was asked for with, and whose limits hold."""
    end_user: str | None
    """The person it is for."""
    batch_id: str | None
    """The batch it belongs to."""
    batch_index: int | None
    """Its place in the batch."""
    webhook: str | None
    """Who is told of its end."""


class JobContent(Wire):
    """What was sent."""

    name: str | None
    """The file's name."""
    media_type: str
    """Its type."""
    size_bytes: int
    """Its size."""


class JobStep(Wire):
    """One piece of the work, such as one call to a model. It is not done again once it has ended."""

    name: str
    """What it is."""
    attempts: int
    """How often it was begun; more than once if a worker died within it, or it failed and was retried."""
    begun_at: Time
    """When it was begun last."""
    ended_at: Time | None
    """When it ended; null: it has not."""
    request_id: str | None
    """Leads to its calls in the request log."""
    cost_usd: float | None
    """What it cost, in US dollars; null: not known, or not ended."""


class JobModel(JobListed):
    """A job with its result."""

    request: dict[str, Any]
    """What was asked, but the content."""
    content: JobContent | None
    """What was sent to be worked on."""
    steps: list[JobStep]
    """What was done for it."""
    result: Any
    """What came of it; its form is the type's. A job that failed may have a part of it."""


class JobPageModel(Wire):
    """One page of jobs, the newest first; those of one batch in its order."""

    items: list[JobListed]
    """The jobs."""
    next: str | None
    """Give it as `after` for the next page; null: this was the last."""
    searched_to: Time | None = None
    """Set where looking further would have taken long: jobs newer than this were all looked at."""


class JobNumbers(Wire):
    """How the jobs of all projects stand."""

    depth: dict[str, dict[str, int]]
    """Jobs that are queued and running, by type."""
    oldest_queued_s: float | None
    """How long the job has waited that waits longest, in seconds; null: none waits."""
    queue_time_p50_s: float | None
    """How long half of the last hundred jobs waited at most before they were begun, in seconds."""
    queue_time_p95_s: float | None
    """The same for nineteen of twenty."""
    failed_last_hour: int
    """Jobs that failed within the last hour."""
    dead: int
    """Jobs that were given up because their worker died with them again and again."""
    workers: int
    """Worker processes that are alive."""
