"""The chart's pods really run: podman plays what was rendered, with the image that was built.

podman knows pods and no sets of them, so that a set's template is played as one pod. Left out is what it has no word
for: probes (it would run curl inside) and the wait before the end. The tests ask what the probes would. The secret is
played as a map, since podman 4.3 does not read secrets as it writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from tests.ops.asking import ADMIN_KEY, APP_KEY, CHAT, ask, message, wait_for, wait_until
from tests.ops.charts import only, rendered
from tests.ops.engine import Container, Engine
from tests.ops.local_images import POSTGRES
from tests.ops.provider import NAME as PROVIDER_NAME
from tests.ops.provider import PORT as PROVIDER_PORT
from tests.ops.provider import Provider

pytestmark = [pytest.mark.ops, pytest.mark.timeout(600)]

TOKEN = "metrics-token-of-a-test-0123456789"
KEYS = {
    "WAYPOST_ADMIN_KEY": ADMIN_KEY,
    "WAYPOST_APP_KEY": APP_KEY,
    "WAYPOST_METRICS_TOKEN": TOKEN,
    "OPENAI_API_KEY": "any",
    "OPENAI_BASE_URL": f"http://{PROVIDER_NAME}:{PROVIDER_PORT}/v1",
}
SETTINGS = {
    "keys": {
        "operator": {"key": "${WAYPOST_ADMIN_KEY}", "admin": True},
        "app": {"key": "${WAYPOST_APP_KEY}"},
    },
    "telemetry": {"metrics_token": "${WAYPOST_METRICS_TOKEN}", "worker_metrics_host": "0.0.0.0"},  # noqa: S104 - in a pod
}
SECRET = "secret"
ROOM = ("--tmpfs=/tmp", "--tmpfs=/run/postgresql")
UNKNOWN = ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle")
Objects: TypeAlias = list[dict[str, Any]]


def values(image: str, secret: Mapping[str, str], **more: Any) -> dict[str, Any]:
    repository, tag = image.rsplit(":", 1)
    named = {"repository": repository, "tag": tag, "pullPolicy": "Never"}
    return {"image": named, "settings": SETTINGS, "secret": {"create": {**KEYS, **secret}}, **more}


def pod_of(owner: dict[str, Any]) -> dict[str, Any]:
    """One pod of a set, with an empty volume where the set gives it one of its own."""
    template = owner["spec"]["template"]
    spec = {**template["spec"]}
    for name in ("topologySpreadConstraints", "serviceAccountName"):
        spec.pop(name, None)
    (container,) = spec["containers"]
    known = {key: value for key, value in container.items() if key not in UNKNOWN}
    spec["containers"] = [{**known, "envFrom": [{"configMapRef": {"name": SECRET}}]}]
    claims = [claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", ())]
    claimed = [{"name": name, "emptyDir": {}} for name in claims]
    spec["volumes"] = [*spec["volumes"], *claimed]
    metadata = {"name": owner["metadata"]["name"], "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@contextmanager
def played(engine: Engine, folder: Path, objects: Objects, owner: dict[str, Any], network: str) -> Iterator[Container]:
    """The pod of a set with its settings and its secret, for the block."""
    secret = only(objects, "Secret")
    entries = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": SECRET}, "data": secret["stringData"]}
    pod = pod_of(owner)
    file = folder / f"{pod['metadata']['name']}.yaml"
    file.write_text(yaml.safe_dump_all([entries, only(objects, "ConfigMap"), pod]))
    try:
        engine.podman("kube", "play", f"--network={network}", str(file))
        yield Container(engine, f"{pod['metadata']['name']}-{pod['spec']['containers'][0]['name']}")
    finally:
        engine.podman("kube", "down", str(file), check=False)


def test_one_server_on_one_volume_serves_and_does_jobs(
    engine: Engine, image: str, provider: Provider, tmp_path: Path
) -> None:
    objects = rendered(values(image, {}, database={"kind": "embedded"}, server={"replicas": 1}))
    with played(engine, tmp_path, objects, only(objects, "StatefulSet"), provider.network) as container:
        url = url_of(engine, container)
        wait_for(url)
        wait_for(url, "/ready")
        assert ask(url, CHAT, message("hello", model="openai/one")).status == 200
        assert ask(url, "/metrics", key=TOKEN).body.startswith(b"# HELP")
        job = ask(
            url,
            "/api/ai/analyze",
            {"content": "A fine chair, and quick to build.", "model": "openai/one", "allow_offline": True},
        ).json
        wait_until(lambda: ask(url, f"/api/ai/jobs/{job['job_id']}").json["state"] == "succeeded")
        with pytest.raises(RuntimeError):
            container.exec("touch", "/opt/written")


@pytest.mark.usefixtures("service_images")
def test_migrations_servers_and_workers_share_one_postgresql(
    engine: Engine, image: str, provider: Provider, tmp_path: Path
) -> None:
    """In the order of an upgrade: the schema, then the pods. The worker has done a job that the server took."""
    options = ["--env=POSTGRES_USER=waypost", "--env=POSTGRES_DB=waypost", "--env=POSTGRES_PASSWORD=secret"]
    with engine.run(
        POSTGRES, options=[*options, *ROOM, f"--network={provider.network}", "--name=database"]
    ) as database:
        database.until("ready to accept connections")
        wait_until(lambda: is_up(database))
        secret = {"WAYPOST_DATABASE_URL": f"postgresql://waypost:secret@{database.address}/waypost"}
        objects = rendered(values(image, secret))
        with played(engine, tmp_path, objects, only(objects, "Job"), provider.network) as migrations:
            assert migrations.wait() == 0, migrations.logs
        with (
            played(engine, tmp_path, objects, only(objects, "StatefulSet"), provider.network) as server,
            played(engine, tmp_path, objects, only(objects, "Deployment"), provider.network) as worker,
        ):
            url = url_of(engine, server)
            wait_for(url, "/ready")
            told = ask(
                url,
                "/api/ai/analyze",
                {"content": "A fine chair, and quick to build.", "model": "openai/one", "allow_offline": True},
            )
            assert told.status == 202, told.body
            wait_until(lambda: ask(url, f"/api/ai/jobs/{told.json['job_id']}").json["state"] == "succeeded")
            at_worker = url_of(engine, worker).replace(":8000", ":9100")
            assert b"waypost_job_seconds_count" in ask(at_worker, "/metrics", key=TOKEN).body


def is_up(database: Container) -> bool:
    try:
        database.exec("pg_isready", "-q", "-h", "127.0.0.1", "-U", "waypost", "-d", "waypost")
    except RuntimeError:
        return False
    return True


def url_of(engine: Engine, container: Container) -> str:
    """A pod's address is that of the container that holds its network."""
    infra = engine.podman("inspect", "--format={{.Pod}}", container.id)
    holder = engine.podman("pod", "inspect", "--format={{.InfraContainerID}}", infra)
    return f"http://{Container(engine, holder).address}:8000"
