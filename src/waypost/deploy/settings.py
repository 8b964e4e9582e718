"""The deploy file: where a version goes, as TOML. Paths of this machine in it are relative to the file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct, field

from waypost.errors import ConfigurationError

LOCAL = "local"
"""The address that stands for this machine, without SSH."""
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
RootPath: TypeAlias = Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._-]+)+$")]
"""Without what a shell would read as anything but a path."""
HostPath: TypeAlias = Annotated[str, Meta(pattern=r"^/[^\n\0]*$")]
Variable: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class HostSettings(Part, frozen=True):
    """A machine, as `ssh` is told of it. `address` is `user@name`, or `local`."""

    address: Text
    port: Port | None = None
    identity_file: Path | None = None
    known_hosts_file: Path | None = None


class Ports(Part, frozen=True):
    """The loopback ports of the two colours."""

    blue: Port = 8001
    green: Port = 8002


class SmokeSettings(Part, frozen=True):
    """`waypost smoke`, run on the host. The keys come from the environment of whoever deploys."""

    url: Annotated[str, Meta(pattern="^https?://[^ ]+$")]
    key_env: Variable = "WAYPOST_API_KEY"
    admin_key_env: Variable = "WAYPOST_ADMIN_KEY"
    model: Text | None = None
    timeout_s: Seconds = 60
    skip: tuple[Text, ...] = ()
    require: tuple[Text, ...] = ()


class HelmSettings(Part, frozen=True):
    """A release of the chart on a cluster."""

    chart: Path
    release: Text = "waypost"
    namespace: Text = "waypost"
    values: tuple[Path, ...] = ()
    context: Text | None = None
    program: Text = "helm"
    timeout_s: Seconds = 600


class DeployFile(Part, frozen=True):
    """All of it. Either `hosts` or `helm`."""

    smoke: SmokeSettings
    hosts: tuple[HostSettings, ...] = ()
    helm: HelmSettings | None = None
    root: RootPath = "/opt/waypost"
    settings: HostPath = "/etc/waypost/waypost.yaml"
    environment_file: HostPath | None = None
    environment: dict[Variable, str] = field(default_factory=dict)
    requirements: Path = Path("requirements/serve.txt")
    python: Text = "python3"
    installer: Literal["uv", "pip"] = "pip"
    supervisor: Literal["systemd", "process"] = "systemd"
    systemctl: Text = "systemctl"
    ports: Ports = field(default_factory=Ports)
    start_s: Seconds = 60
    drain_s: Seconds = 300
    keep: Annotated[int, Meta(ge=1, le=100)] = 3


def read_deploy_file(file: Path) -> DeployFile:
    """Raises ConfigurationError, which names the file and the key."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        read = msgspec.convert(data, DeployFile, dec_hook=_path)
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no deploy file {file}.", hint="See docs/guide/deploy.md.") from error
    except (OSError, UnicodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{file}: {str(error).replace('$.', '')}.") from error
    if bool(read.hosts) == bool(read.helm):
        raise ConfigurationError(f"{file} must name either hosts or helm.")
    if read.ports.blue == read.ports.green:
        raise ConfigurationError(f"{file}: ports.blue and ports.green must differ.")
    return _anchored(read, file.absolute().parent)


def _path(kind: type, value: Any) -> Any:
    """What msgspec does not read by itself. Raises ValueError."""
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("Expected a path as text")


def _anchored(read: DeployFile, folder: Path) -> DeployFile:
    """Paths of this machine from the root on."""

    def anchor(path: Path | None) -> Path | None:
        return None if path is None else folder / path.expanduser()

    def change(part: Any, *names: str) -> Any:
        return msgspec.structs.replace(part, **{name: anchor(getattr(part, name)) for name in names})

    hosts = tuple(change(host, "identity_file", "known_hosts_file") for host in read.hosts)
    helm = read.helm
    if helm is not None:
        helm = change(helm, "chart")
        helm = msgspec.structs.replace(helm, values=tuple(folder / path.expanduser() for path in helm.values))
    changed: DeployFile = msgspec.structs.replace(change(read, "requirements"), hosts=hosts, helm=helm)
    return changed
