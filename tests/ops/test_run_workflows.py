"""The workflows really run: this project's checks and build, and another product's pipeline that calls them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.journeys.conftest import copy_project
from tests.ops.workflows import ROOT, Ran, copy_workflows, lend_programs, repository, run

pytestmark = [pytest.mark.ops, pytest.mark.timeout(300)]
FORK = {
    "pull_request": {"number": 1, "head": {"ref": "a", "repo": {"fork": True}}, "base": {"ref": "main"}},
}
GUIDE = ROOT / "docs" / "guide" / "pipelines.md"
PUSH = {"ref": "refs/heads/main"}


MADE = """
# Images are built by tests of their own, in a store of their own.
image:
	@echo "an image of $$(git rev-parse --short HEAD)"
# The copy has a virtual environment already, and nothing is installed into it.
.venv/pyvenv.cfg .venv/serve.done .venv/dev.done .venv/ops.done: ;
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project, whose programs are those of the virtual environment that runs the tests."""
    folder = tmp_path_factory.mktemp("run") / "waypost"
    folder.mkdir()
    copy_project(folder)
    copy_workflows(folder)
    # act copies what git does not ignore.
    ignored = (folder / ".gitignore").read_text()
    (folder / ".gitignore").write_text(ignored.replace(".venv/\n", ""))
    with (folder / "Makefile").open("a") as makefile:
        makefile.write(MADE)
    lend_programs(folder)
    repository(folder)
    return folder


def here(folder: Path) -> dict[str, str]:
    """What is remembered of the last check, where uv is, and no model."""
    return {
        "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache"),
        "PATH": os.pathsep.join([str(ROOT / ".tools" / "bin"), str(ROOT / ".venv" / "bin"), os.environ["PATH"]]),
        "WAYPOST_DATA_DIR": str(folder.parent / "data"),
        "MODEL": "offline",
    }


def test_a_pull_request_is_checked_and_built(project: Path) -> None:
    ran = run(project, "pull_request", payload=FORK, file="ci.yml", job="build", environment=here(project))
    assert ran.jobs == {"plan": "success", "check": "success", "build": "success"}, ran.told
    built = project.parent / "waypost-store" / "dist"
    # Hidden files are no part of an artifact.
    names = sorted(re.sub(r"\d+\.\d+\.\d+", "V", file.name) for file in built.rglob("[!.]*") if file.is_file())
    assert names == [
        "SHA256SUMS",
        "waypost-V-py3-none-any.whl",
        "waypost-V.installed.cdx.json",
        "waypost-V.locked.cdx.json",
        "waypost-V.tar.gz",
    ]
    assert "not here, so not done: `make web`" in ran.text


def test_without_keys_models_and_answers_are_tried_with_stand_ins_and_it_is_said(project: Path) -> None:
    ran = run(project, "pull_request", payload=FORK, file="ci.yml", job="models", environment=here(project))
    assert ran.jobs == {"plan": "success", "models": "success"}, ran.told
    assert "simulated: ANTHROPIC_API_KEY is not set" in ran.text
    assert "offline: as was asked for" in ran.text
    assert "actions/upload-artifact models-and-answers" in ran.actions


def test_the_security_scan_keeps_its_reports(project: Path) -> None:
    rows = {"AUDIT": "code workflows"}
    ran = run(project, "push", payload=PUSH, file="ci.yml", job="security", environment=here(project), variables=rows)
    assert ran.jobs == {"plan": "success", "security": "success"}, ran.told
    assert (project.parent / "waypost-store" / "security" / "bandit.json").is_file()


MAKEFILE = """\
check:
\t@echo checked
build:
\t@mkdir -p dist && echo 2 >dist/version
deploy:
\t@cp $(SERVED)/$(ENVIRONMENT) $(SERVED)/$(ENVIRONMENT).before && cp dist/version $(SERVED)/$(ENVIRONMENT)
\t@echo "deploy $(ENVIRONMENT)" >>$(SERVED)/done
rollback:
\t@cp $(SERVED)/$(ENVIRONMENT).before $(SERVED)/$(ENVIRONMENT)
\t@echo "rollback $(ENVIRONMENT)" >>$(SERVED)/done
smoke:
\t@echo "smoke $(ENVIRONMENT)" >>$(SERVED)/done
\t@grep -qv 2 $(SERVED)/$(ENVIRONMENT) || [ ! -e $(SERVED)/$(ENVIRONMENT).is-broken-by-2 ]
"""
"""Of a product whose servers are files that hold the version they serve."""


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """Another product of the team, with the workflow that the guide shows, and version 1 in both environments."""
    folder = tmp_path / "product"
    (folder / ".github" / "workflows").mkdir(parents=True)
    (caller,) = re.findall(r"^```yml\n(# \.github/.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    (commit,) = set(re.findall(r"@([0-9a-f]{40})", caller))
    copy_workflows(tmp_path / "waypost", commit)
    (folder / ".github" / "workflows" / "pipeline.yml").write_text(caller)
    (folder / "Makefile").write_text(MAKEFILE)
    served = tmp_path / "served"
    served.mkdir()
    for environment in ("staging", "production"):
        (served / environment).write_text("1\n")
    repository(folder)
    return folder


def deployed(product: Path) -> tuple[Ran, list[str]]:
    """A push to the product's main branch, and what was done to its environments."""
    served = product.parent / "served"
    others = {"waypost-ai/waypost": product.parent / "waypost"}
    ran = run(product, "push", payload=PUSH, environment={"SERVED": str(served)}, others=others)
    assert (served / "done").is_file(), ran.told
    return ran, (served / "done").read_text().splitlines()


def version(product: Path, environment: str) -> str:
    return (product.parent / "served" / environment).read_text().strip()


def test_a_products_pipeline_brings_a_version_to_production(product: Path) -> None:
    ran, done = deployed(product)
    assert done == ["deploy staging", "smoke staging", "deploy production", "smoke production"], ran.told
    assert version(product, "production") == "2"
    assert "failure" not in ran.jobs.values()
    assert "rollback" not in ran.jobs


def test_a_smoke_test_that_fails_on_staging_keeps_it_from_production(product: Path) -> None:
    (product.parent / "served" / "staging.is-broken-by-2").touch()
    ran, done = deployed(product)
    assert done == ["deploy staging", "smoke staging"], ran.told
    assert (version(product, "production"), ran.jobs["smoke"]) == ("1", "failure")


def test_a_verification_that_fails_brings_the_version_before_back(product: Path) -> None:
    (product.parent / "served" / "production.is-broken-by-2").touch()
    ran, done = deployed(product)
    assert done[-2:] == ["smoke production", "rollback production"], ran.told
    assert (version(product, "production"), version(product, "staging")) == ("1", "2")
    assert (ran.jobs["verify"], ran.jobs["rollback"]) == ("failure", "success")
