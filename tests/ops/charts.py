"""The chart, rendered by Helm's own code, as values of Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import helm_python
import yaml
from tests.ops.engine import ROOT

CHART: Final = ROOT / "deploy/helm/waypost"
KEYS: Final = {"WAYPOST_ADMIN_KEY": "sk-admin-0123456789abcdef", "WAYPOST_METRICS_TOKEN": "token-0123456789abcdef"}
ADDRESS: Final = "postgresql://waypost:secret@database/waypost"
EXISTING: Final[Mapping[str, Any]] = {"secret": {"existing": "keys"}}
CREATED: Final[Mapping[str, Any]] = {"secret": {"create": {**KEYS, "WAYPOST_DATABASE_URL": ADDRESS}}}
EMBEDDED: Final[Mapping[str, Any]] = {
    "database": {"kind": "embedded"},
    "server": {"replicas": 1},
    "secret": {"create": KEYS},
}
EVERYTHING: Final[Mapping[str, Any]] = {
    **EXISTING,
    "image": {"pullSecrets": [{"name": "registry"}], "tag": "1.2.3"},
    "autoscaling": {"enabled": True},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "certificate"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "from": [{"podSelector": {"matchLabels": {"app": "mine"}}}],
        "egress": [{"ports": [{"protocol": "TCP", "port": 8443}]}],
    },
    "serviceAccount": {"annotations": {"a": "b"}},
    "podAnnotations": {"c": "d"},
    "server": {"volume": {"storageClass": "fast"}, "nodeSelector": {"e": "f"}},
    "worker": {"tolerations": [{"key": "g", "operator": "Exists"}], "affinity": {"podAntiAffinity": {}}},
}
VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "existing": EXISTING,
    "created": CREATED,
    "embedded": EMBEDDED,
    "everything": EVERYTHING,
}


def rendered(values: Mapping[str, Any], name: str = "try") -> list[dict[str, Any]]:
    """All objects of a release. Raises HelmError if the chart or the values are wrong."""
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(dict(values))
        files = chart.render(dict(values), name=name, namespace="place")
    texts = [text for path, text in sorted(files.items()) if not path.endswith(".txt")]
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def only(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The one object of a kind whose name ends so."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    return found
