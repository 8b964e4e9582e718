"""The chart: sound for the clusters it names, closed by default, and honest about values that cannot work."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from tests.ops.charts import CHART, CREATED, EMBEDDED, EVERYTHING, EXISTING, KEYS, VARIANTS, only, rendered

from waypost import __version__

pytestmark = [pytest.mark.ops, pytest.mark.timeout(120)]

CLUSTERS = ("1.34", "1.37")
# Prometheus' operator brings the schema of these; it is no part of a cluster's own.
FOREIGN = ("ServiceMonitor",)


def valid(objects: list[dict[str, Any]], cluster: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the strict check against a cluster's own schemas says."""
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all([each for each in objects if each["kind"] not in FOREIGN]))
    command = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", "-k", cluster, str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_its_objects_are_what_clusters_take(values: Mapping[str, Any], cluster: str, tmp_path: Path) -> None:
    done = valid(rendered(values), cluster, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_check_finds_a_planted_mistake(tmp_path: Path) -> None:
    objects = rendered(CREATED)
    only(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    done = valid(objects, CLUSTERS[0], tmp_path)
    assert done.returncode != 0
    assert "readynessProbe" in done.stdout + done.stderr


def test_helm_has_nothing_against_it() -> None:
    found = helm_python.lint(str(CHART), values={**CREATED})
    assert [each for each in found["messages"] if "icon" not in str(each)] == []


def test_helm_finds_a_planted_mistake(tmp_path: Path) -> None:
    broken = tmp_path / "waypost"
    shutil.copytree(CHART, broken)
    (broken / "templates/worker.yaml").write_text('{{ include "waypost.nothing" . }}\n')
    assert "waypost.nothing" in str(helm_python.lint(str(broken), values={**CREATED}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "secret.existing"),
        ({"secret": {"create": KEYS}}, "WAYPOST_DATABASE_URL"),
        ({**EMBEDDED, "server": {"replicas": 2}}, "one SQLite file"),
        ({**EMBEDDED, "autoscaling": {"enabled": True}}, "one SQLite file"),
        ({**EXISTING, "server": {"replicas": 0}}, "replicas"),
        ({**EXISTING, "servers": {}}, "servers"),
        ({**EXISTING, "server": {"volume": {"size": "2 GB"}}}, "size"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(values: Mapping[str, Any], words: str) -> None:
    with pytest.raises(helm_python.HelmError, match=words):
        rendered(values)


def test_it_is_of_this_version() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    image = only(rendered(CREATED), "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"waypost:{__version__}"


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_pod_is_without_rights(values: Mapping[str, Any]) -> None:
    pods = [
        each["spec"]["template"]["spec"]
        for each in rendered(values)
        if "template" in each["spec" if "spec" in each else "metadata"]
    ]
    assert len(pods) == (1 if values is EMBEDDED else 3)
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_what_selects_pods_finds_them_and_names_of_ports_are_theirs(values: Mapping[str, Any]) -> None:
    """A service or a budget that selects nothing is what no schema finds."""
    objects = rendered(values)
    pods = [each["spec"]["template"] for each in objects if each["kind"] in ("StatefulSet", "Deployment")]
    selecting = [each for each in objects if each["kind"] in ("Service", "PodDisruptionBudget")]
    assert selecting
    for each in selecting:
        selector = each["spec"]["selector"]
        wanted = selector.get("matchLabels", selector)
        found = [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items()]
        assert len(found) == 1, each["metadata"]["name"]
        ports = {port["name"] for port in found[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in each["spec"].get("ports", ())} <= ports


def test_prometheus_operator_finds_every_process_by_itself() -> None:
    objects = rendered(EVERYTHING)
    monitor = only(objects, "ServiceMonitor")["spec"]
    services = [each for each in objects if each["kind"] == "Service"]
    found = [
        each for each in services if monitor["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert {each["metadata"]["name"] for each in found} == {"try-waypost-server", "try-waypost-worker"}
    (endpoint,) = monitor["endpoints"]
    assert all(endpoint["port"] in {port["name"] for port in each["spec"]["ports"]} for each in found)
    assert endpoint["authorization"]["credentials"] == {"name": "keys", "key": "WAYPOST_METRICS_TOKEN"}


def test_migrations_run_before_the_pods_of_a_version() -> None:
    """With a secret of the release's own only at upgrades: at the first install it is not there yet."""
    for values, hooks in ((EXISTING, "pre-install,pre-upgrade"), (CREATED, "pre-upgrade")):
        job = only(rendered(values), "Job")
        assert job["metadata"]["annotations"]["helm.sh/hook"] == hooks
        assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["db", "upgrade"]


def test_pods_are_made_anew_when_settings_change() -> None:
    def annotations(**more: Any) -> Any:
        pod = only(rendered({**CREATED, **more}), "StatefulSet")["spec"]["template"]
        return pod["metadata"]["annotations"]["waypost/settings"]

    assert annotations() == annotations() != annotations(settings={"server": {"log_level": "debug"}})
