"""What containers are made of passes its linters, each of which finds a planted mistake; and the files agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from tests.ops.engine import ROOT
from tests.ops.local_images import NGINX, POSTGRES, PROMETHEUS, PYTHON

from waypost.settings import load_settings

pytestmark = pytest.mark.ops

DEPLOY = ROOT / "deploy"
COMPOSE = (DEPLOY / "compose.yaml", DEPLOY / "compose.scaled.yaml")
HADOLINT = ("hadolint", "--config", str(ROOT / ".hadolint.yaml"))
SCHEMA = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec")


def lint(*command: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, timeout=60)


def test_the_dockerfile_is_clean() -> None:
    done = lint(*HADOLINT, str(DEPLOY / "Dockerfile"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("FROM debian:latest", "DL3007"),
        ("RUN cd /opt && ls", "DL3003"),
        ("USER root", "DL3002"),
        ("CMD waypost serve", "DL3025"),
    ],
)
def test_a_mistake_in_the_dockerfile_is_found(tmp_path: Path, line: str, found: str) -> None:
    planted = tmp_path / "Dockerfile"
    planted.write_text(f"{(DEPLOY / 'Dockerfile').read_text()}{line}\n")
    assert found in lint(*HADOLINT, str(planted)).stdout


def test_compose_files_follow_the_specification_and_a_mistake_is_found(tmp_path: Path) -> None:
    assert lint(*SCHEMA, *map(str, COMPOSE)).returncode == 0
    planted = tmp_path / "compose.yaml"
    planted.write_text(COMPOSE[0].read_text().replace("read_only: true", "readonly: true"))
    assert "readonly" in lint(*SCHEMA, str(planted)).stdout


def test_every_service_is_hardened_and_bounded() -> None:
    for file in COMPOSE:
        for name, service in yaml.safe_load(file.read_text())["services"].items():
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert {"mem_limit", "cpus", "pids_limit", "restart"} <= service.keys(), name


def test_ports_are_open_to_this_machine_only_unless_somebody_says_otherwise() -> None:
    published = [line for file in COMPOSE for line in file.read_text().splitlines() if "_PUBLISH" in line]
    assert len(published) == 3
    assert all(":-127.0.0.1:" in line for line in published)


def test_the_files_name_this_version_and_the_images_that_are_tried() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    texts = [file.read_text() for file in COMPOSE]
    assert {found for text in texts for found in re.findall(r"waypost:(\d[\w.]*)", text)} == {version}
    images = {service["image"] for service in yaml.safe_load(texts[1])["services"].values()}
    assert {POSTGRES, NGINX, PROMETHEUS} <= images
    assert f"ARG PYTHON={PYTHON.rpartition('/')[2]}\n" in (DEPLOY / "Dockerfile").read_text()


def test_the_settings_of_both_files_are_valid() -> None:
    """With the variables that the compose files pass on, and no others."""
    for file, settings in zip(COMPOSE, ("waypost.yaml", "waypost.scaled.yaml"), strict=True):
        names = re.findall(r"^ +(WAYPOST_\w+): \$", file.read_text(), re.MULTILINE)
        environ = {name: f"a-value-of-sixteen-{name.lower()}" for name in names if name.endswith(("_KEY", "_TOKEN"))}
        assert {"operator", "app"} == load_settings(DEPLOY / settings, environ).keys.keys()


def test_what_the_image_holds_is_what_is_tested() -> None:
    """The image's requirements are versions of the development ones, so that no other is ever shipped."""
    tested = set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE))
    for name in ("image.txt", "image-with-model.txt", "build.txt"):
        shipped = set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        assert shipped <= tested, name
