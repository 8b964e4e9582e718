"""The deploy file: what is wrong with one is said with its key, and paths are relative to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.test_docs import ROOT, blocks

from waypost.deploy.settings import DeployFile, HelmSettings, HostSettings, SmokeSettings, read_deploy_file
from waypost.errors import ConfigurationError

GOOD = (
    '[smoke]\nurl = "https://waypost.example.com"\n[[hosts]]\naddress = "waypost@app1"\nidentity_file = "keys/deploy"\n'
)
HELM = '[smoke]\nurl = "https://waypost.example.com"\n[helm]\nchart = "helm/waypost"\nvalues = ["a.yaml"]\n'
WRONG = [
    ("", "missing required field `smoke`"),
    ("[smoke]\nurl = 3\n", "Expected `str`, got `int` - at `smoke.url`"),
    ('[smoke]\nurl = "waypost.example.com"\n', "at `smoke.url`"),
    (GOOD.replace("identity_file", "identity"), "unknown field `identity` - at `hosts[0]`"),
    (GOOD.replace('"keys/deploy"', "3"), "at `hosts[0].identity_file`"),
    ('root = "/opt/with space"\n' + GOOD, "at `root`"),
    ('settings = "waypost.yaml"\n' + GOOD, "at `settings`"),
    ('supervisor = "cron"\n' + GOOD, "at `supervisor`"),
    (GOOD + "[ports]\nblue = 8002\n", "must differ"),
    (GOOD + '[environment]\n"A B" = "c"\n', "at `key` in `environment`"),
    (HELM + '[[hosts]]\naddress = "x"\n', "either hosts or helm"),
    ('[smoke]\nurl = "http://x"\n', "either hosts or helm"),
    ("root = ", "Invalid value"),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[row[1] for row in WRONG])
def test_what_is_wrong_is_said_with_its_key(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "deploy.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_deploy_file(file)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_no_stack_trace(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no deploy file"):
        read_deploy_file(tmp_path / "none.toml")


def test_the_examples_in_the_guide_can_be_read(tmp_path: Path) -> None:
    examples = blocks(ROOT / "docs/guide/deploy.md", "toml")
    assert len(examples) == 2
    for text in examples:
        (tmp_path / "deploy.toml").write_text(text)
        read_deploy_file(tmp_path / "deploy.toml")


def test_every_key_is_in_the_guide() -> None:
    guide = (ROOT / "docs/guide/deploy.md").read_text()
    for part in (DeployFile, HostSettings, SmokeSettings, HelmSettings):
        for name in part.__struct_fields__:
            assert name in guide, name


def test_paths_of_this_machine_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "deploy.toml").write_text(GOOD)
    read = read_deploy_file(tmp_path / "deploy.toml")
    assert read.hosts[0].identity_file == tmp_path / "keys/deploy"
    assert read.requirements == tmp_path / "requirements/serve.txt"
    assert read.root == "/opt/waypost"
    (tmp_path / "deploy.toml").write_text(HELM)
    helm = read_deploy_file(tmp_path / "deploy.toml").helm
    assert helm is not None
    assert (helm.chart, helm.values) == (tmp_path / "helm/waypost", (tmp_path / "a.yaml",))
