"""The settings as frozen values. One sentence a field: the JSON schema and the reference are made from them.

Invariant: no text form of a value (repr, str, dump) shows an API key, a header's value, a proxy's password or
a plugin's options.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from waypost.settings.references import DEFAULT_ROUTE, Names, Target

HTTP_KINDS = ("anthropic", "openai", "gemini", "openai_compatible")
LOCAL_KIND = "llama_cpp"
BUILT_IN_KINDS = (*HTTP_KINDS, LOCAL_KIND)
REFERENCE_ERROR = "waypost_reference"
HIDDEN = "(set)"

MEBIBYTE = 1024 * 1024


def _refuse_boolean(value: Any) -> Any:
    """YAML 1.1 reads `yes` and `on` as true, which Python counts as 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "a number is wanted")
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _default_data_dir(value: Any = None) -> Any:
    if value is not None:
        return value
    import platformdirs

    return platformdirs.user_data_path("waypost")


def _anchored(path: Path) -> Path:
    return path.expanduser().absolute()


def _web_address(text: str) -> str:
    try:
        address = urlsplit(text)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and (address.port or 0) >= 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in text):
        raise ValueError("must be an address such as https://api.example.com/v1")
    return text


def _base_url(text: str) -> str:
    address = urlsplit(_web_address(text))
    if address.username or address.password:
        raise ValueError("may hold no user name or password; put the key into api_key")
    if address.query or address.fragment:
        raise ValueError("may hold no ? or # part; Waypost appends the paths")
    return text.rstrip("/")


def _origin(text: str) -> str:
    if text == "*":
        raise ValueError("may not be *, which would let any web page use this server; name each site")
    address = urlsplit(_web_address(text))
    if address.path.strip("/") or address.query or address.fragment or address.username:
        raise ValueError("must be a site without a path, such as http://localhost:3000")
    return text.rstrip("/").lower()


def _host_name(text: str) -> str:
    if not text or any(character in "/@ " for character in text):
        raise ValueError("must be a host name such as waypost.example.com")
    return text.lower()


def _loopback(text: str) -> str:
    try:
        loopback = text.lower() == "localhost" or ipaddress.ip_address(text).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f'is "{text}". Without keys Waypost only listens on loopback; use 127.0.0.1')
    return text


def _key(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not text:
        raise ValueError("is empty; leave it out where no key is needed")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("holds a character that no key has, such as a space or a line break")
    return SecretStr(text)


def _header(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        token = name.replace("-", "").replace("_", "")
        if not (token.isascii() and token.isalnum()):
            raise ValueError(f'holds the name "{name}", which is no header name')
        if not value.isprintable():
            raise ValueError(f'holds a line break or control character in the value of "{name}"')
    return headers


# The limits stand before the validator: the other way round Pydantic leaves them out of the JSON schema.
Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_refuse_boolean)]
BaseUrl: TypeAlias = Annotated[str, AfterValidator(_base_url)]
Secret: TypeAlias = Annotated[SecretStr, AfterValidator(_key)]
ModelName: TypeAlias = Annotated[str, Field(min_length=1)]


class Part(BaseModel):
    """What every part of the settings is: frozen, closed, and silent about its input when it is wrong."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )


class ServerSettings(Part):
    """The HTTP server."""

    host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    """Address to listen on; without keys only a loopback address is accepted."""
    port: Annotated[int, Field(ge=0, le=65535), BeforeValidator(_refuse_boolean)] = 8000
    """Port to listen on; 0 lets the system choose a free one."""
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = (
        "http://localhost:3000",
        "http://localhost:4321",
    )
    """Sites whose pages may call this server from a browser."""
    allowed_hosts: tuple[Annotated[str, AfterValidator(_host_name)], ...] = ()
    """Host names this server answers to besides its own loopback names."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=1024 * MEBIBYTE), BeforeValidator(_refuse_boolean)] = 20 * MEBIBYTE
    """Largest request body that is accepted, in bytes."""
    shutdown_grace_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False), BeforeValidator(_refuse_boolean)] = 30
    """Seconds that streams in flight may still take when the server is told to stop."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    """How much is logged."""


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
    """A provider that is reached over HTTP."""

    kind: Literal["anthropic", "openai", "gemini", "openai_compatible"]
    """Whose interface it speaks; openai_compatible is any server with OpenAI's chat format, at base_url."""
    api_key: Secret | None = None
    """The provider's key, best written as ${NAME} so that it stays out of the file."""
    base_url: BaseUrl | None = None
    """Address of the interface, up to and without the endpoint's path; null is the vendor's own."""
    default_model: ModelName | None = None
    """Model for requests that name none; null is the one Waypost ships for the vendor."""
    headers: Annotated[dict[str, str], AfterValidator(_header)] = Field(default_factory=dict, repr=False)
    """Headers to send with each call."""
    deadlines: Deadlines = Field(default_factory=Deadlines)
    """How long the phases of one call may take."""
    proxy: Annotated[str, AfterValidator(_web_address)] | None = Field(default=None, repr=False)
    """HTTP proxy to go through; null connects directly."""
    ca_file: Path | None = None
    """File with the certificate authorities to trust, in PEM; null trusts the system's."""

    @model_validator(mode="after")
    def _has_address(self) -> HttpProviderSettings:
        if self.kind == "openai_compatible" and self.base_url is None:
            raise ValueError("needs base_url, because its kind is openai_compatible")
        return self

    @field_serializer("headers")
    def _hide_headers(self, headers: dict[str, str]) -> dict[str, str]:
        return dict.fromkeys(headers, HIDDEN)

    @field_serializer("proxy")
    def _hide_password(self, proxy: str | None) -> str | None:
        if proxy is None or "@" not in proxy:
            return proxy
        return f"{urlsplit(proxy).scheme}://{HIDDEN}@{proxy.rpartition('@')[2]}"


class LlamaCppSettings(Part):
    """A language model on this machine, run by llama.cpp in a child process."""

    kind: Literal["llama_cpp"] = "llama_cpp"
    """Says that this provider is a local model."""
    model: ModelName = "smollm2-135m-instruct"
    """A name from `waypost models list`, or the path of a .gguf file."""
    context_tokens: Annotated[int, Field(ge=256, le=1_048_576), BeforeValidator(_refuse_boolean)] = 4096
    """Tokens of prompt and answer that one request may take together."""
    parallel: Annotated[int, Field(ge=1, le=64), BeforeValidator(_refuse_boolean)] = 2
    """Requests answered at the same time."""
    threads: Annotated[int, Field(ge=1, le=1024), BeforeValidator(_refuse_boolean)] | None = None
    """Processor threads to use; null is what suits the model."""


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


TAGS: dict[str, type[Part]] = {
    "(http)": HttpProviderSettings,
    "(llama_cpp)": LlamaCppSettings,
    "(plugin)": PluginProviderSettings,
}
"""The union's members. The brackets tell a tag from a key in an error's location."""


def _tag(value: Any) -> str | None:
    """Which member of the union a raw or ready value is; None if it says nothing about it."""
    kind = kind_of(value)
    if kind is None:
        return None
    if kind in HTTP_KINDS:
        return "(http)"
    return "(llama_cpp)" if kind == LOCAL_KIND else "(plugin)"


def kind_of(provider: Any) -> Any:
    """The kind of a raw or ready provider, None if it has none."""
    return provider.get("kind") if isinstance(provider, Mapping) else getattr(provider, "kind", None)


ProviderSettings: TypeAlias = Annotated[
    Annotated[HttpProviderSettings, Tag("(http)")]
    | Annotated[LlamaCppSettings, Tag("(llama_cpp)")]
    | Annotated[PluginProviderSettings, Tag("(plugin)")],
    Discriminator(_tag),
]


def _only_local() -> dict[str, ProviderSettings]:
    return {"local": LlamaCppSettings()}


class PolicySettings(Part):
    """How hard a route tries before it gives up."""

    max_attempts: Annotated[int, Field(ge=1, le=20), BeforeValidator(_refuse_boolean)] = 4
    """Calls that one request may make, over all targets and retries."""
    max_retries: Annotated[int, Field(ge=0, le=10), BeforeValidator(_refuse_boolean)] = 1
    """Calls that may be made again to one target before the next is asked."""
    total_s: Seconds | None = 600
    """Seconds for the whole request, waits included; null is no limit."""
    first_token_s: Seconds | None = 10
    """Seconds a stream may take to its first token before the next target is asked; null is no limit."""
    slow_first_token_s: Seconds | None = 120
    """The same for local models and requests that ask for reasoning."""
    backoff_first_s: Seconds = 0.5
    """Longest wait before a first retry; it doubles with each."""
    backoff_limit_s: Seconds = 8
    """Longest wait before any retry."""
    retry_after_limit_s: Annotated[
        float, Field(ge=0, le=600, allow_inf_nan=False), BeforeValidator(_refuse_boolean)
    ] = 10
    """Longest wait a provider may ask for; if it asks for more, the next target is asked."""
    fall_back_on: tuple[Literal["context_length", "content_policy", "bad_request"], ...] = ("context_length",)
    """Errors about the request itself after which another target is asked: a prompt that is too long (only a target
    whose context window is larger), one that the provider's content policy refuses, one it finds invalid."""


class RouteSettings(Part):
    """A name that stands for an ordered list of targets."""

    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where requests go, in order: provider/model, a provider (its default model), a route or an alias."""
    policy: PolicySettings = Field(default_factory=PolicySettings)
    """How hard it tries."""


class Settings(Part):
    """Everything that can be configured."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    """Where the server listens and what it accepts."""
    data_dir: Annotated[
        Path,
        BeforeValidator(_default_data_dir),
        AfterValidator(_anchored),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}),
    ] = Field(default_factory=_default_data_dir)
    """Folder for models and state; null is the system's place for a program's data."""
    providers: dict[str, ProviderSettings] = Field(default_factory=_only_local)
    """Who answers, by a name of your choice."""
    plugins: tuple[str, ...] = ()
    """Entry points of the group waypost.providers that may be loaded; no other is."""
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    """Names for lists of targets; default is the one for requests that name no model."""
    aliases: dict[str, str] = Field(default_factory=dict)
    """Short names for a target, a route or another alias."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        """The default route, where none is configured: all providers in order, without local ones unless alone."""
        if not isinstance(data, Mapping):
            return data
        providers = data.get("providers", _only_local())
        routes = data.get("routes", {})
        if not isinstance(providers, Mapping) or not isinstance(routes, Mapping) or DEFAULT_ROUTE in routes:
            return data
        remote = [name for name, provider in providers.items() if kind_of(provider) != LOCAL_KIND]
        targets = remote or list(providers)
        return {**data, "routes": {**routes, DEFAULT_ROUTE: {"targets": targets}}} if targets else data

    @field_validator("providers")
    @classmethod
    def _some_provider(cls, providers: dict[str, Any]) -> dict[str, Any]:
        if not providers:
            raise ValueError("is empty; name a provider, or leave the key out")
        return providers

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> Settings:
        findings = self.names.findings()
        if findings:
            raise PydanticCustomError(REFERENCE_ERROR, "{text}", {"text": "; ".join(text for _, text in findings)})
        return self

    @property
    def names(self) -> Names:
        """Providers, routes and aliases as names that lead to each other."""
        routes = {name: route.targets for name, route in self.routes.items()}
        return Names(frozenset(self.providers), routes, self.aliases)

    def targets(self, route: str = DEFAULT_ROUTE) -> tuple[Target, ...]:
        """The targets behind a route, alias, provider or "provider/model", each once, in order."""
        return self.names.resolve(route)

    def policy(self, name: str) -> PolicySettings:
        """That of a route, or of the route an alias leads to; the defaults for anything else."""
        while name in self.aliases:
            name = self.aliases[name]
        route = self.routes.get(name)
        return route.policy if route else PolicySettings()
