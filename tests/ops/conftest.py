"""What packing, deploying and watching is tried with: one image, built once in a session, in a store of its own.

WAYPOST_OPS_STORE=/var/tmp/ops keeps the store for the next session, whose builds then take seconds.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.ops.engine import ROOT, Engine
from tests.ops.local_images import PYTHON, SERVICES, make_python, make_services
from tests.ops.provider import Provider, simulated

BUILD_S = 400.0
# What is tried here needs the requirements of the group ops, which `make test-ops` installs.
collect_ignore_glob = [] if find_spec("helm_python") else ["test_*.py"]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Podman and buildah with nothing in their store; what a test starts there ends with the session at the latest."""
    kept = os.environ.get("WAYPOST_OPS_STORE")
    engine = Engine(Path(kept) if kept else None)
    try:
        yield engine
    finally:
        engine.remove()


@pytest.fixture(scope="session")
def python_image(engine: Engine) -> str:
    """The name of the base image."""
    return PYTHON if engine.has(PYTHON) else make_python(engine)


@pytest.fixture(scope="session")
def image(engine: Engine, python_image: str) -> str:
    """The name of Waypost's image, built as `make image` builds it. `engine.run(image)` starts a container of it."""
    return build_image(engine)


@pytest.fixture(scope="session")
def service_images(engine: Engine, python_image: str) -> None:
    """PostgreSQL, nginx and Prometheus under the names that compose.scaled.yaml has."""
    if not all(engine.has(name) for name in SERVICES):
        make_services(engine)


def build_image(engine: Engine, *options: str) -> str:
    """Run tools/image with this session's buildah; gives the image's name. Raises RuntimeError with what it said."""
    done = subprocess.run(
        [ROOT / "tools/image", "--pull-never", "--layers", *_way_out(engine), *options],
        env={**engine.environment, "ENGINE": "buildah"},
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"tools/image failed:\n{done.stdout[-4000:]}{done.stderr[-8000:]}")
    return f"localhost/{done.stdout.splitlines()[-1]}"


def _way_out(engine: Engine) -> list[str]:
    """How the build reaches the package index as this machine does: pip's own settings, and trusted certificates."""
    settings = engine.folder / "pip.conf"
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    index = [f"index-url = {os.environ['PIP_INDEX_URL']}"] if os.environ.get("PIP_INDEX_URL") else []
    settings.write_text("\n".join(["[global]", "cert = /etc/ssl/host.crt", "timeout = 120", *index, ""]), "utf-8")
    return [f"--volume={settings}:/etc/pip.conf:ro", f"--volume={Path(certificates).resolve()}:/etc/ssl/host.crt:ro"]


@pytest.fixture(scope="session")
def provider(engine: Engine, image: str) -> Iterator[Provider]:
    """A simulator in a container, to be asked by servers in containers."""
    with simulated(engine, image) as provider:
        yield provider
