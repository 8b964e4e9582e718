"""What callers send and get, as Pydantic models: they validate what comes in and make the OpenAPI document.

Invariant: AIRequest has every argument that `waypost.manager.arguments` knows, and no other field but `prompt`,
`stream` and `background`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

EMPTY_PROMPT = "empty_prompt"
MOST_MESSAGES = 50_000
"""With a few tokens each, more than the largest context windows hold."""
MOST_TOOLS = 10_000
"""Providers take some hundred at most."""
MOST_STOPS = 1_000
"""Providers take 4 to 16."""
LONGEST_MODEL = 500
"""A name is compared with every known one."""


class Wire(BaseModel):
    """A model of this interface: field docstrings become descriptions. Built when first used, not at start-up."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)


class AIRequest(Wire):
    """What to ask a model. `prompt`, `messages` or both."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[str | None, Field(examples=["What is the capital of France?"])] = None
    """The user's words. With `messages` it is the last of them."""
    messages: Annotated[list[dict[str, Any]], Field(max_length=MOST_MESSAGES, fail_fast=True)] | None = None
    """A conversation, each entry with `role` and `content` as in OpenAI's chat format (text, images, tool results)."""
    model: Annotated[str | None, Field(max_length=LONGEST_MODEL, examples=["default"])] = None
    """A route, an alias, `provider/model`, or a model's id. Without it the default route answers."""
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    """The most tokens to generate."""
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    """How freely tokens are drawn: 0 is the most predictable."""
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    """Draw from the likeliest tokens that together have this probability."""
    stop: str | Annotated[list[str], Field(max_length=MOST_STOPS, fail_fast=True)] | None = None
    """Text that ends the answer; it is not part of it."""
    system: str | None = None
    """Instructions that stand above the conversation."""
    tools: Annotated[list[dict[str, Any]], Field(max_length=MOST_TOOLS, fail_fast=True)] | None = None
    """Functions the model may call, in OpenAI's or Anthropic's form."""
    tool_choice: str | dict[str, Any] | None = None
    """`auto`, `none`, `required`, or one function: `{"type": "function", "function": {"name": …}}`."""
    parallel_tool_calls: bool | None = None
    """May the model call several functions at once?"""
    response_format: dict[str, Any] | None = None
    """`{"type": "json_object"}`, or a JSON schema: `{"type": "json_schema", "json_schema": {…}}`."""
    reasoning_effort: str | None = None
    """How much to think first, where the model can: `low`, `medium`, `high`."""
    seed: int | None = None
    """Makes sampling repeatable, as far as the provider can."""
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    """Above 0: prefer tokens that were not used yet."""
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    """Above 0: avoid tokens that were used often."""
    user: str | None = None
    """Your id for the person who asks, passed on to the provider."""
    stream: bool = False
    """True: the answer comes as server-sent events while it is written."""
    background: bool = False
    """True: the answer is made by a job, which goes on whoever leaves; the reply comes at once and says which."""

    @model_validator(mode="after")
    def _says_something(self) -> AIRequest:
        if not self.messages and not (self.prompt and self.prompt.strip()):
            raise PydanticCustomError(EMPTY_PROMPT, "The prompt is empty.")
        return self

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the AI service: what was given, without `prompt`, `stream` and `background`."""
        return self.model_dump(exclude={"prompt", "stream", "background"}, exclude_none=True)


class AttemptErrorModel(Wire):
    """Why a call failed."""

    code: str
    """One of the error codes."""
    message: str
    """What happened."""
    hint: str | None = None
    """What to do about it."""
    retry_after_s: float | None = None
    """Seconds the provider asked to wait."""
    provider_status: int | None = None
    """The HTTP status the provider answered with."""
    provider_request_id: str | None = None
    """The provider's own id for the call."""


class AttemptModel(Wire):
    """One call to one provider."""

    provider: str
    """Its configured name."""
    model: str | None
    """The model asked for; null: the provider's default."""
    error: AttemptErrorModel | None
    """Null: this call answered, or was ended because another, made beside it, was faster."""
    duration_ms: int
    """Milliseconds until it answered (streamed: until the first token) or failed."""


class ToolCallModel(Wire):
    """The model asks for a function to be called."""

    call_id: str
    """Hand it back with the result."""
    name: str
    """The function."""
    arguments: str
    """Its arguments as the model wrote them, most often JSON."""


class UsageModel(Wire):
    """Token counts. A count that was not reported is null or absent, never 0."""

    model_config = ConfigDict(extra="allow")

    input_tokens: int | None = None
    """The whole prompt, cached parts included."""
    output_tokens: int | None = None
    """All that was generated, reasoning included."""
    total_tokens: int | None = None
    """Both."""


class ReplyFields(Wire):
    """What the whole reply and the last event of a stream have in common."""

    id: str
    """The answer's id; event ids begin with it."""
    provider: str
    """The provider that answered, by its configured name."""
    model: str
    """The model that answered, by the provider's name for it."""
    usage: UsageModel | None
    """Null: the provider reported none."""
    cost_usd: float | None
    """US dollars; null: not known."""
    timestamp: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the answer was complete, in UTC."""
    attempts: list[AttemptModel]
    """Every call made for this answer, in order; the last one answered."""
    finish_reason: str | None
    """stop, length, tool_calls, content_filter, pause or other; null: not known."""
    tool_calls: list[ToolCallModel]
    """Functions the model asks for."""
    warnings: list[str]
    """What was not done exactly as asked."""


class AIResponseModel(ReplyFields):
    """A model's answer."""

    content: str
    """Its text."""
    reasoning: str | None
    """Its thinking, where the provider shows it."""
    refusal: str | None
    """The model's own words for declining."""


class StreamStart(Wire):
    """`start`: a model has begun to answer. First event."""

    id: str
    """The answer's id."""
    provider: str
    """The provider that answers."""
    model: str
    """The model that answers."""


class StreamRestart(Wire):
    """`restart`: the worker that made the answer died, and another begins it anew. All before it is void."""

    code: str
    """`stream_restarted`."""
    message: str
    """What happened."""
    hint: str
    """What to do about it."""


class StreamText(Wire):
    """`delta`, `reasoning`, `refusal`: the next piece of the answer, the thinking, or the words of refusal."""

    text: str
    """Append it."""


class StreamDone(ReplyFields):
    """`done`: the provider has finished. Last event of a stream that did not break."""


class ErrorBody(Wire):
    """What happened and what to do about it."""

    code: str
    """Stable; decide by this."""
    message: str
    """A sentence for people."""
    hint: str
    """What to do; may be empty."""
    request_id: str
    """Also in the header x-request-id and in the server's log."""
    param: str | None = None
    """The field or header at fault."""
    attempts: list[dict[str, Any]] | None = None
    """Every call made: provider, model, duration_ms, and the error's code, message, hint, retry_after_s,
    provider_status and provider_request_id, as far as known. A call without a code had begun to answer."""
    details: dict[str, Any] | None = None
    """What else is known, such as the provider's own status and request id."""


class ErrorEnvelope(Wire):
    """The form of every error. Streamed, it is the data of the event `error`, the last of a stream that broke."""

    error: ErrorBody
    """The error."""


class HealthModel(Wire):
    """The process lives."""

    status: Literal["ok"]
    """Always ok."""
    version: str
    """Waypost's version."""
    uptime_s: float
    """Seconds since the start."""


class ProviderModel(Wire):
    """How a provider is."""

    status: Literal["ready", "starting", "idle", "unavailable"]
    """idle: starts at the first request."""
    detail: str
    """What to do, if it is not ready."""
    default_route: bool
    """Is it asked when a request names no model?"""


class KeysModel(Wire):
    """How far it is known who may call."""

    status: Literal["ready", "loading", "stale", "unavailable"]
    """stale: the database is away, and the keys known before are good; unavailable: only those of the settings are."""
    detail: str
    """What that means, if all is not well."""


class LedgerModel(Wire):
    """How calls are written down."""

    status: Literal["ready", "behind", "refusing", "off"]
    """behind: they wait in the journal, because the database is away; refusing: the journal is full, or the disk."""
    detail: str
    """What it means, empty if all is well."""


class ReadyModel(Wire):
    """Can requests be served? A provider of the default route must not be unavailable, keys and ledger must work."""

    status: Literal["ready", "unavailable", "draining"]
    """draining: the server is shutting down."""
    providers: dict[str, ProviderModel]
    """Each provider, by its configured name."""
    keys: KeysModel
    """The keys of callers."""
    ledger: LedgerModel
    """The ledger."""
    error: ErrorBody | None = None
    """Set if the status is not ready."""
