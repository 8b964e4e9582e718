"""One entry of `model_list` as a provider of ours and a model at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from waypost.litellm import left_out
from waypost.litellm.report import Report
from waypost.litellm.values import Variables, plain, variable_of
from waypost.litellm.vendors import OWN_HOSTS, PREFIXES, Prefix
from waypost.providers.vendors import serves

SAMPLE_URL: Final = "https://placeholder.example"
DEFAULT_OLLAMA: Final = "http://localhost:11434"
AZURE_SERIES: Final = ("o_series", "gpt5_series", "responses", "chat")
BEDROCK_WAYS: Final = ("converse", "invoke", "converse_like")
DESCRIBING: Final = ("id", "mode", "base_model", "description", "version", "db_model", "created_by", "updated_at")
SECRET_WORDS: Final = ("auth", "key", "token", "secret", "cookie", "password")


class NotTaken(Exception):
    """The entry cannot be taken over; the reason."""


@dataclass(slots=True)
class Deployment:
    """What is asked of whom. `provider` is the entry of our settings but for its key, whose raw value is `api_key`."""

    name: str
    where: str
    prefix: str
    model: str
    provider: dict[str, Any]
    api_key: Any = None
    headers: dict[str, Any] = field(default_factory=dict)
    weight: Any = None
    order: Any = None
    stream_timeout_s: float | None = None
    model_id: str | None = None
    mode: str | None = None
    costs: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    """The provider's name in our settings, once it has one."""

    @property
    def target(self) -> str:
        """As routes name it."""
        return f"{self.key}/{self.model}"

    def identity(self) -> str:
        """The same for deployments that share a provider."""
        return repr((sorted(self.provider.items(), key=str), self.api_key, sorted(self.headers.items())))


@dataclass(slots=True)
class _Reading:
    """One entry being read. Whatever is understood is taken out of `parameters`."""

    where: str
    parameters: dict[str, Any]
    variables: Variables
    report: Report

    def text(self, name: str, placeholder: str = "placeholder") -> str | None:
        """A parameter that is no secret; None if it is not there."""
        value = self.parameters.pop(name, None)
        return None if value in (None, "") else plain(value, self.variables, f"{self.where}.{name}", placeholder)

    def variable(self, name: str, placeholder: str = "placeholder", *, otherwise: str | None = None) -> str:
        """A reference to a variable that LiteLLM reads by itself."""
        if otherwise is None:
            return self.variables.use(name, self.where, placeholder)
        return f"${{{name}:-{otherwise}}}"


def read_deployment(
    entry: Mapping[str, Any],
    number: int,
    credentials: Mapping[str, Mapping[str, Any]],
    variables: Variables,
    report: Report,
) -> Deployment:
    """Raises NotTaken."""
    name = str(entry.get("model_name") or "")
    where = f"model_list[{number}] ({name})"
    parameters, about = dict(_mapping(entry.get("litellm_params"))), dict(_mapping(entry.get("model_info")))
    credential = parameters.pop("litellm_credential_name", None)
    if credential is not None:
        if str(credential) not in credentials:
            raise NotTaken(f"its credential {credential} is not in the file")
        parameters = {**credentials[str(credential)], **parameters}
    if not name or not parameters.get("model"):
        raise NotTaken("it names no model")
    reading = _Reading(where, parameters, variables, report)
    prefix, model = _split(str(parameters.pop("model")), reading)
    deployment = Deployment(name, where, prefix, model, {})
    deployment.costs = {key: of.pop(key) for of in (about, parameters) for key in list(of) if "cost" in key}
    READERS[PREFIXES[prefix].kind](deployment, PREFIXES[prefix], reading)
    _common(deployment, reading, about)
    report.rest(where, reading.parameters, left_out.PARAMETERS, left_out.OTHERWISE)
    return deployment


def _split(name: str, reading: _Reading) -> tuple[str, str]:
    """LiteLLM's provider and the model, from a name such as "groq/llama-3.3-70b-versatile"."""
    said = reading.parameters.pop("custom_llm_provider", None)
    prefix, slash, model = name.partition("/")
    if said:
        prefix, model = str(said), name.removeprefix(f"{said}/")
    elif not slash or prefix not in PREFIXES:
        guessed = next((kind for kind in ("openai", "anthropic") if serves(kind, name)), None)
        if guessed is None and name.startswith("gemini"):
            guessed = "vertex_ai"
        if guessed is None and not slash and reading.parameters.get("api_base"):
            guessed = "openai"
        if guessed is None:
            unknown = (
                f"Waypost does not know LiteLLM's provider {prefix}" if slash else "its name has no known provider"
            )
            raise NotTaken(f"{unknown}; if it has OpenAI's format, add it as openai_compatible with its base_url")
        prefix, model = guessed, name
    if prefix not in PREFIXES:
        raise NotTaken(f"Waypost does not know LiteLLM's provider {prefix}")
    return prefix, model


def _common(deployment: Deployment, reading: _Reading, about: dict[str, Any]) -> None:
    """What any deployment may say."""
    parameters = reading.parameters
    organization = parameters.pop("organization", None)
    if isinstance(organization, list):
        reading.report.left_out(
            f"{deployment.where}.organization", "a provider here is of one organization; add others"
        )
        organization = organization[0] if organization else None
    if organization:
        deployment.headers["OpenAI-Organization"] = organization
    for name in ("extra_headers", "headers"):
        deployment.headers |= _mapping(parameters.pop(name, None))
    timeout_s = seconds(parameters.pop("timeout", None), f"{deployment.where}.timeout", reading.report)
    if timeout_s is not None:
        deployment.provider["deadlines"] = {"total_s": timeout_s}
    stream_timeout = parameters.pop("stream_timeout", None)
    deployment.stream_timeout_s = seconds(stream_timeout, f"{deployment.where}.stream_timeout", reading.report)
    weights = [parameters.pop(name, None) for name in ("weight", "rpm", "tpm")]
    deployment.weight = next((weight for weight in weights if weight is not None), None)
    if weights[0] is None and deployment.weight is not None:
        reading.report.changed(f"{deployment.where}.rpm", "it is the weight of the target; limits are those of keys")
    deployment.order = parameters.pop("order", None)
    deployment.model_id = str(about["id"]) if about.get("id") else None
    deployment.mode = about.pop("mode", None)
    if about.get("access_groups") or about.get("team_id"):
        reading.report.left_out(
            f"{deployment.where}.model_info", "which models a key may ask for is said at the key: routes"
        )


def seconds(value: Any, where: str, report: Report) -> float | None:
    """A number of seconds; anything else is left out."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        report.left_out(where, "it is no number of seconds")
        return None
    return int(number) if number == int(number) else number


def _key(deployment: Deployment, prefix: Prefix, reading: _Reading) -> None:
    """The key that the file names, else the variable in which LiteLLM would look."""
    key = reading.parameters.pop("api_key", None)
    if key in (None, "") and prefix.variable is not None:
        key = f"os.environ/{prefix.variable}"
        reading.variables.named.add(prefix.variable)
    deployment.api_key = key or None


def _hosted(deployment: Deployment, prefix: Prefix, reading: _Reading) -> None:
    """Vendors with an interface of their own."""
    kind = prefix.kind
    base_url = _address(reading)
    own = base_url is None or urlsplit(base_url).hostname == OWN_HOSTS[kind]
    if kind == "openai" and not own:
        _compatible(deployment, Prefix("openai_compatible", None, base_url), reading)
        return
    deployment.provider = {"kind": kind}
    if not own and base_url is not None:
        stripped = base_url.removesuffix("/v1/messages").removesuffix("/v1") if kind == "anthropic" else base_url
        bare = kind == "gemini" and not base_url.startswith("$") and not urlsplit(base_url).path.strip("/")
        deployment.provider["base_url"] = f"{stripped}/v1beta" if bare else stripped
    _key(deployment, prefix, reading)


def _compatible(deployment: Deployment, prefix: Prefix, reading: _Reading) -> None:
    base_url = _address(reading) or prefix.base_url
    if base_url is None:
        raise NotTaken("it has no api_base")
    if deployment.prefix.startswith("ollama") and not base_url.endswith("/v1"):
        base_url = f"{base_url}/v1"
    deployment.provider = {"kind": "openai_compatible", "base_url": base_url}
    _key(deployment, prefix, reading)


def _address(reading: _Reading) -> str | None:
    """The address, without the slash at its end."""
    given = [reading.text(name, SAMPLE_URL) for name in ("api_base", "base_url")]
    address = next((each for each in given if each), None)
    return address.rstrip("/") if address is not None else None


def _azure(deployment: Deployment, prefix: Prefix, reading: _Reading) -> None:
    if deployment.prefix == "azure_ai" and deployment.model.lower().startswith("claude"):
        raise NotTaken("Waypost does not reach Claude at Azure")
    series, slash, model = deployment.model.partition("/")
    if slash and series in AZURE_SERIES:
        deployment.model = model
    address = _address(reading)
    if address is None:
        address = reading.variable("AZURE_API_BASE", SAMPLE_URL)
    if not address.startswith("$"):
        parts = urlsplit(address)
        address = f"{parts.scheme}://{parts.netloc}"
    deployment.provider = {"kind": "azure_openai", "base_url": address}
    version = reading.text("api_version", "2024-10-21")
    if version is not None and deployment.prefix == "azure":
        deployment.provider["api_version"] = version
    _key(deployment, prefix, reading)


def _vertex(deployment: Deployment, _prefix: Prefix, reading: _Reading) -> None:
    deployment.model = deployment.model.removeprefix("gemini/")
    if not deployment.model.startswith(("gemini", "gemma")):
        raise NotTaken("Waypost reaches Google's own models at Vertex AI only")
    project = reading.text("vertex_project") or reading.variable("VERTEXAI_PROJECT")
    region = reading.text("vertex_location") or reading.variable("VERTEXAI_LOCATION", otherwise="us-central1")
    deployment.provider = {"kind": "vertex", "project": project, "region": region}
    credentials = reading.parameters.pop("vertex_credentials", None)
    if isinstance(credentials, dict) or (isinstance(credentials, str) and credentials.lstrip().startswith("{")):
        reading.report.left_out(
            f"{deployment.where}.vertex_credentials",
            "it is the key itself: put it into a file, and name that in credentials_file of the provider",
        )
    elif credentials:
        where = f"{deployment.where}.vertex_credentials"
        deployment.provider["credentials_file"] = plain(credentials, reading.variables, where, "placeholder.json")
        if variable_of(credentials) is not None:
            reading.report.changed(where, "its variable must hold the path of a file, not the key itself")


def _bedrock(deployment: Deployment, prefix: Prefix, reading: _Reading) -> None:
    for way in BEDROCK_WAYS:
        deployment.model = deployment.model.removeprefix(f"{way}/")
    region, slash, model = deployment.model.partition("/")
    in_name = bool(slash) and region.count("-") == 2 and not region.startswith("arn")
    if in_name:
        deployment.model = model
    said = reading.text("aws_region_name") or reading.text("aws_region")
    written = region if in_name else said or reading.variable("AWS_REGION_NAME", otherwise="us-west-2")
    wire = "anthropic" if "anthropic" in deployment.model else "chat"
    deployment.provider = {"kind": "bedrock", "region": written, "wire": wire}
    _key(deployment, prefix, reading)
    reading.report.changed(deployment.where, "Waypost signs in to Bedrock by an API key, not by AWS credentials")
    if wire == "chat":
        reading.report.changed(deployment.where, "of Bedrock's other models it reaches those with OpenAI's format only")


READERS: Final[Mapping[str, Callable[[Deployment, Prefix, _Reading], None]]] = {
    "openai": _hosted,
    "anthropic": _hosted,
    "gemini": _hosted,
    "openai_compatible": _compatible,
    "azure_openai": _azure,
    "vertex": _vertex,
    "bedrock": _bedrock,
}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
