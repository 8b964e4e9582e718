"""A host as `waypost deploy` knows one, on this machine: a real sshd and a real nginx on loopback.

The simulator is the only provider. Nothing here is in use by anybody else: ports, keys and folders are the test's own.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path(__file__).parents[2]
KEY, ADMIN_KEY = "0123456789abcdef-deploy-web", "0123456789abcdef-deploy-admin"
START_S: Final = 30.0
WORDS: Final = " ".join(f"word{number}" for number in range(120))
"""What a paced stream says, at twenty words a second."""
SCRIPT: Final = f"""
rules:
  - match: {{model: paced}}
    reply: {{text: "{WORDS}"}}
    pacing: {{token_interval_s: 0.05, tokens_per_chunk: 1}}
  - reply: {{echo: true}}
"""


def program(name: str) -> str:
    """Servers' programs are not on every account's path."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found is not None, f"{name} is missing: make test-ops installs it"
    return found


def uv() -> Path:
    found = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    return Path(found)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens at {port}:\n{log.read_text()}")


@contextmanager
def running(
    command: Sequence[str], log: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in the foreground, for the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    try:
        wait_for_port(port, process, log)
        yield process
    finally:
        process.terminate()
        process.wait(30)


Change = Callable[[Path], None]
"""What is different in the sources of a version: gets the folder of the package."""


def build_wheel(folder: Path, version: str, change: Change = lambda _: None) -> Path:
    """This project's sources as a wheel of another version."""
    source = folder / f"source-{version}"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for file, pattern in (
        (source / "pyproject.toml", r'^version = ".*"$'),
        (source / "src/waypost/__init__.py", r'^__version__ = ".*"$'),
    ):
        name = "version" if file.suffix == ".toml" else "__version__"
        text, count = re.subn(pattern, f'{name} = "{version}"', file.read_text(), flags=re.MULTILINE)
        assert count == 1, file
        file.write_text(text)
    change(source / "src" / "waypost")
    options = ["build", "--wheel", "--no-build-isolation", "-q", "--python", sys.executable, "-o", str(folder / "dist")]
    subprocess.run([str(uv()), *options, str(source)], check=True, timeout=120)
    (wheel,) = (folder / "dist").glob(f"waypost-{version}-*.whl")
    return wheel


def cached_packages() -> dict[str, str]:
    """What makes an installation quick and independent of the network, where this machine has the packages already."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_CERT_"))}
    settings = {**kept, "UV_COMPILE_BYTECODE": "0", "UV_LINK_MODE": "hardlink", "UV_PYTHON_DOWNLOADS": "never"}
    command = [str(uv()), "pip", "install", "--dry-run", "--offline", "-q", "--python", sys.executable]
    command += ["--reinstall", "--require-hashes", "-r", str(ROOT / "requirements" / "serve.txt")]
    offline = subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 0
    return {**settings, "UV_OFFLINE": "1"} if offline else settings


@dataclass
class Site:
    """The host, and the deploy file that leads there."""

    folder: Path
    url: str
    file: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """Where deploys put what they put."""
        return self.folder / "opt"

    def deploy(self, *words: str, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
        """`waypost deploy …` as a user runs it."""
        return subprocess.run(
            [str(ROOT / "deploy" / "deploy"), *words, "--file", str(self.file)],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=timeout_s,
            check=False,
        )

    def attempts(self, model: str) -> dict[str, int]:
        """What the ledger says of the calls of a model: how many there were, and how many of unknown outcome."""
        words = ["usage", "--by", "model", "--json", "--config", str(self.folder / "waypost.yaml")]
        command = [str(self.root / "current" / "bin" / "waypost"), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environment, timeout=60, check=True, cwd=self.folder
        )
        rows = [row for row in json.loads(done.stdout)["items"] if row["group"]["model"] == model]
        return {name: sum(row[name] for row in rows) for name in ("attempts", "failed_attempts", "estimated_attempts")}

    def end_servers(self) -> None:
        """End what deploys started."""
        found = []
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if any(part.startswith(f"{self.root}/") for part in line):
                found.append(process)
        for process in found:
            process.terminate()
        _gone, alive = psutil.wait_procs(found, timeout=20)
        for process in alive:
            process.kill()


@contextmanager
def site(folder: Path, database_url: str | None = None) -> Iterator[Site]:
    """A host with nothing on it yet. Without a `database_url` its servers share an SQLite file."""
    with ExitStack() as stack:
        waypost_log = folder / "simulator.log"
        simulator_port, nginx_port, ssh_port = free_port(), free_port(), free_port()
        ports = free_port(), free_port()
        script = folder / "script.yaml"
        script.write_text(SCRIPT)
        command = [sys.executable, "-m", "waypost.cli.main", "simulate", "--port", str(simulator_port)]
        stack.enter_context(running([*command, "--script", str(script)], waypost_log, simulator_port))
        made = Site(folder, f"http://127.0.0.1:{nginx_port}", folder / "deploy.toml", folder / "nginx.log")
        _write_settings(folder, simulator_port, database_url)
        _write_nginx(made, nginx_port, ports)
        _write_sshd(folder, ssh_port)
        stack.enter_context(
            running([program("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")], folder / "sshd.log", ssh_port)
        )
        nginx = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(made.log)]
        stack.enter_context(running([*nginx, "-g", "daemon off;"], made.log, nginx_port))
        _write_deploy_file(made, ssh_port, ports)
        kept = ("PATH", "HOME", "LANG")
        made.environment = {name: value for name, value in os.environ.items() if name in kept}
        made.environment |= {"WAYPOST_API_KEY": KEY, "WAYPOST_ADMIN_KEY": ADMIN_KEY, "NO_COLOR": "1"}
        stack.callback(made.end_servers)
        yield made


def _write_settings(folder: Path, simulator_port: int, database_url: str | None) -> None:
    database = f"database_url: '{database_url}'\n" if database_url else ""
    (folder / "waypost.yaml").write_text(
        f"data_dir: {folder / 'data'}\n{database}"
        "server: {max_in_flight: 500}\n"
        "providers:\n"
        f"  sim: {{kind: openai, api_key: a-long-key, base_url: 'http://127.0.0.1:{simulator_port}/v1', "
        "default_model: one}\n"
        f"keys: {{web: {{key: {KEY}}}, operator: {{key: {ADMIN_KEY}, admin: true}}}}\n"
    )


def _write_nginx(made: Site, port: int, ports: tuple[int, int]) -> None:
    """The site that the project ships, in surroundings of the test's own. Before the first deploy it leads nowhere."""
    text = (ROOT / "deploy" / "host" / "waypost.nginx.conf").read_text()
    changes = {"/opt/waypost/": f"{made.root}/", "listen 80;": f"listen 127.0.0.1:{port};"}
    changes |= {f"127.0.0.1:{usual};": f"127.0.0.1:{own};" for usual, own in zip((8001, 8002), ports, strict=True)}
    for usual, own in changes.items():
        assert text.count(usual) == 1, usual
        text = text.replace(usual, own)
    temporary = "".join(
        f"    {name}_temp_path {made.folder}/temp-{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (made.folder / "nginx.conf").write_text(
        f"{_own_account()}pid {made.folder}/nginx.pid;\nworker_processes 2;\nevents {{}}\n"
        f"http {{\n    access_log off;\n{temporary}    include {made.folder}/site.conf;\n}}\n"
    )
    (made.folder / "site.conf").write_text(text)


def _own_account() -> str:
    """Whose processes nginx is made of: others may not enter a test's folder."""
    return f"user {getpass.getuser()};\n" if os.geteuid() == 0 else ""


def _write_sshd(folder: Path, port: int) -> None:
    """Keys of its own for the host and for who deploys."""
    if os.geteuid() == 0:
        # Where sshd locks up its helpers; packages make it when the system starts.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "user_key"):
        subprocess.run(
            [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True, timeout=30
        )
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile {folder}/sshd.pid\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel INFO\n"
    )


def _write_deploy_file(made: Site, ssh_port: int, ports: tuple[int, int]) -> None:
    environment = {**cached_packages(), "PATH": f"{uv().parent}:{os.environ['PATH']}", "HOME": os.environ["HOME"]}
    environment["UV_CACHE_DIR"] = subprocess.run(
        [str(uv()), "cache", "dir"], capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()
    lines = "\n".join(f'{name} = "{value}"' for name, value in environment.items())
    made.file.write_text(
        f"""
root = "{made.root}"
settings = "{made.folder}/waypost.yaml"
requirements = "{ROOT}/requirements/serve.txt"
python = "{sys.executable}"
installer = "uv"
supervisor = "process"
start_s = 40
drain_s = 30

[[hosts]]
address = "{getpass.getuser()}@127.0.0.1"
port = {ssh_port}
identity_file = "user_key"
known_hosts_file = "known_hosts"

[ports]
blue = {ports[0]}
green = {ports[1]}

[environment]
{lines}

[smoke]
url = "{made.url}"
timeout_s = 30
"""
    )
