"""The settings of providers: one class for those that take the same keys, chosen by `kind`.

Invariant: no text form of a value (repr, str, dump) shows an API key, a header's value, a proxy's password or
a plugin's options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_serializer,
    model_validator,
)

from waypost.settings.fields import (
    HIDDEN,
    AnchoredPath,
    BaseUrl,
    HttpHeaders,
    Name,
    Part,
    Seconds,
    Secret,
    refuse_boolean,
    web_address,
)

LOCAL_KIND = "llama_cpp"
PLUGIN_TAG = "(plugin)"


def _word(text: str) -> str:
    if not (text.isascii() and text.replace("-", "").replace("_", "").isalnum()):
        raise ValueError("may hold only letters, digits, - and _")
    return text


Word: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_word)]


PerMinute: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000), BeforeValidator(refuse_boolean)]


class Deadlines(Part):
    """The deadlines of one call, in seconds."""

    connect_s: Seconds = 10
    """Seconds until the connection is made, TLS included."""
    first_byte_s: Seconds | None = None
    """Seconds until the first byte of the answer; null leaves it to total_s."""
    idle_s: Seconds = 60
    """Seconds of silence within an answer that has begun."""
    total_s: Seconds = 600
    """Seconds for the whole call."""


class HttpProviderSettings(Part):
    """A provider that is reached over HTTP: what all of them have."""

    kind: str
    """Whose interface it speaks."""
    base_url: BaseUrl | None = None
    """Address of the interface, up to and without the endpoint's path; null is the vendor's own."""
    default_model: Name | None = None
    """Model for requests that name none; null is the one Waypost ships for the vendor."""
    headers: HttpHeaders = Field(default_factory=dict, repr=False)
    """Headers to send with each call."""
    deadlines: Deadlines = Field(default_factory=Deadlines)
    """How long the phases of one call may take."""
    proxy: Annotated[str, AfterValidator(web_address)] | None = Field(default=None, repr=False)
    """HTTP proxy to go through; null connects directly."""
    ca_file: AnchoredPath | None = None
    """File with the certificate authorities to trust, in PEM; null trusts the system's."""
    requests_per_minute: PerMinute | None = None
    """Requests that the jobs of all workers together send with each key in any minute; null is no limit."""
    tokens_per_minute: PerMinute | None = None
    """The same for tokens, of prompts and the largest answers that are asked for."""

    @field_serializer("headers")
    def _hide_headers(self, headers: dict[str, str]) -> dict[str, str]:
        return dict.fromkeys(headers, HIDDEN)

    @field_serializer("proxy")
    def _hide_password(self, proxy: str | None) -> str | None:
        if proxy is None or "@" not in proxy:
            return proxy
        return f"{urlsplit(proxy).scheme}://{HIDDEN}@{proxy.rpartition('@')[2]}"


class KeyedProviderSettings(HttpProviderSettings):
    """A provider that is reached over HTTP with one API key or several: what all of them have."""

    api_key: Secret | None = None
    """The provider's key, best written as ${NAME} so that it stays out of the file."""
    api_keys: Annotated[tuple[Secret, ...], Field(min_length=1)] | None = None
    """Several keys that are used in turn; one that is refused or at its limit rests a while."""
    api_key_file: AnchoredPath | None = None
    """File with one key a line, read at the start and again when the settings are reloaded."""
    key_cool_down_s: Seconds = 60
    """Seconds that a refused key rests before it is tried again; it doubles with each further refusal."""

    @model_validator(mode="after")
    def _one_form_of_key(self) -> KeyedProviderSettings:
        forms = [name for name in ("api_key", "api_keys", "api_key_file") if getattr(self, name) is not None]
        if len(forms) > 1:
            raise ValueError(f"has {' and '.join(forms)}; use one of them")
        return self

    @property
    def has_key(self) -> bool:
        """Is a key configured, in any form?"""
        return self.api_key is not None or self.api_keys is not None or self.api_key_file is not None


class VendorSettings(KeyedProviderSettings):
    """A vendor's account, or any server with OpenAI's chat format."""

    kind: Literal["anthropic", "gemini", "openai_compatible"]
    """Whose interface it speaks; openai_compatible is any server with OpenAI's chat format, at base_url."""

    @model_validator(mode="after")
    def _has_address(self) -> VendorSettings:
        if self.kind == "openai_compatible" and self.base_url is None:
            raise ValueError("needs base_url, because its kind is openai_compatible")
        return self


class OpenAISettings(KeyedProviderSettings):
    """An account at OpenAI."""

    kind: Literal["openai"]
    """Says that this provider is OpenAI."""
    wire: Literal["chat", "responses"] = "chat"
    """Which of its interfaces is asked: Chat Completions or Responses."""


class AzureOpenAISettings(KeyedProviderSettings):
    """A resource of Azure OpenAI; the models are the names of its deployments."""

    kind: Literal["azure_openai"]
    """Says that this provider is Azure OpenAI."""
    base_url: BaseUrl
    """The resource's endpoint, such as https://our-resource.openai.azure.com."""
    api_version: Word | None = None
    """The interface's date, such as 2024-10-21; null is the v1 interface, which has none."""


class BedrockSettings(KeyedProviderSettings):
    """Models at Amazon Bedrock, by one of its API keys."""

    kind: Literal["bedrock"]
    """Says that this provider is Amazon Bedrock."""
    region: Word
    """The AWS region, such as eu-central-1."""
    wire: Literal["anthropic", "chat", "responses"] = "anthropic"
    """Which of its interfaces is asked: Anthropic's Messages for Claude, or OpenAI's for the models that have it."""


class VertexSettings(HttpProviderSettings):
    """Gemini models of Google Cloud's Vertex AI; needs the extra waypost[vertex]."""

    kind: Literal["vertex"]
    """Says that this provider is Vertex AI."""
    project: Word
    """The Google Cloud project's id."""
    region: Word = "global"
    """Where the models run, such as europe-west4; global is Google's choice."""
    credentials_file: AnchoredPath | None = None
    """File with a service account's key or a user's credentials; null is the machine's own (ADC)."""


class LlamaCppSettings(Part):
    """A language model on this machine, run by llama.cpp in a child process."""

    kind: Literal["llama_cpp"] = "llama_cpp"
    """Says that this provider is a local model."""
    model: Name = "smollm2-135m-instruct"
    """A name from `waypost models list`, or the path of a .gguf file."""
    context_tokens: Annotated[int, Field(ge=256, le=1_048_576), BeforeValidator(refuse_boolean)] = 4096
    """Tokens of prompt and answer that one request may take together."""
    parallel: Annotated[int, Field(ge=1, le=64), BeforeValidator(refuse_boolean)] = 2
    """Requests answered at the same time."""
    threads: Annotated[int, Field(ge=1, le=1024), BeforeValidator(refuse_boolean)] | None = None
    """Processor threads to use; null is what suits the model."""


HTTP_TAGS: Mapping[str, str] = {
    "anthropic": "(vendor)",
    "openai": "(openai)",
    "gemini": "(vendor)",
    "openai_compatible": "(vendor)",
    "azure_openai": "(azure_openai)",
    "vertex": "(vertex)",
    "bedrock": "(bedrock)",
}
"""Kind of a provider over HTTP -> the tag of the class that reads it."""
BUILT_IN_KINDS = (*HTTP_TAGS, LOCAL_KIND)


class PluginProviderSettings(Part):
    """A provider that comes with a plugin."""

    kind: Annotated[
        str,
        Field(min_length=1),
        WithJsonSchema({"type": "string", "minLength": 1, "not": {"enum": list(BUILT_IN_KINDS)}}),
    ]
    """The kind the plugin registers."""
    options: dict[str, Any] = Field(default_factory=dict, repr=False)
    """What the plugin wants to know; it checks this itself."""

    @field_serializer("options")
    def _hide_options(self, options: dict[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(options, HIDDEN)


PROVIDER_TAGS: Mapping[str, type[Part]] = {
    "(vendor)": VendorSettings,
    "(openai)": OpenAISettings,
    "(azure_openai)": AzureOpenAISettings,
    "(vertex)": VertexSettings,
    "(bedrock)": BedrockSettings,
    "(llama_cpp)": LlamaCppSettings,
    PLUGIN_TAG: PluginProviderSettings,
}
"""The union's members. The brackets tell a tag from a key in an error's location."""


def kind_of(provider: Any) -> Any:
    """The kind of a raw or ready provider, None if it has none."""
    return provider.get("kind") if isinstance(provider, Mapping) else getattr(provider, "kind", None)


def _tag(value: Any) -> str | None:
    """Which member of the union a raw or ready value is; None if it says nothing about it."""
    kind = kind_of(value)
    if kind is None:
        return None
    if kind == LOCAL_KIND:
        return "(llama_cpp)"
    return HTTP_TAGS.get(kind, PLUGIN_TAG) if isinstance(kind, str) else PLUGIN_TAG


ProviderSettings: TypeAlias = Annotated[
    Annotated[VendorSettings, Tag("(vendor)")]
    | Annotated[OpenAISettings, Tag("(openai)")]
    | Annotated[AzureOpenAISettings, Tag("(azure_openai)")]
    | Annotated[VertexSettings, Tag("(vertex)")]
    | Annotated[BedrockSettings, Tag("(bedrock)")]
    | Annotated[LlamaCppSettings, Tag("(llama_cpp)")]
    | Annotated[PluginProviderSettings, Tag(PLUGIN_TAG)],
    Discriminator(_tag),
]
