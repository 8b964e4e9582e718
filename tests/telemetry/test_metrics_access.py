"""Claims about who may read /metrics, of a server with keys and of one that is configured otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.ledger.administered import key as new_key
from tests.server.conftest import running
from tests.server.keyed import bearer, keyed
from tests.simulated import serving

from waypost.errors import ConfigurationError
from waypost.settings import TelemetrySettings
from waypost.store.database import Database
from waypost.worker.metrics import demand_safe

ADMIN, CALLER, TOKEN = "an-admin-key-for-tests", "a-callers-key-for-tests", "a-token-for-scrapes"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - it is not listened at
NOWHERE = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "k"}


def settings(data: Path, **telemetry: Any) -> dict[str, Any]:
    return {
        "data_dir": str(data),
        "providers": {"first": NOWHERE},
        "keys": {"admin": {"key": ADMIN, "admin": True}, "caller": {"key": CALLER}},
        "telemetry": telemetry,
    }


def status(url: str, key: str | None = None, **headers: str) -> int:
    shown = {} if key is None else bearer(key)
    return httpx.get(f"{url}/metrics", headers={**shown, **headers}, timeout=30).status_code


def test_with_keys_it_takes_an_admin_key_or_the_token(tmp_path: Path) -> None:
    """Also from loopback: a proxy in front of the server calls from there for everybody."""
    with serving(settings(tmp_path, metrics_token=TOKEN)) as url:
        assert status(url) == 401
        assert status(url, CALLER) == 403
        assert status(url, "some-other-key") == 401
        assert status(url, ADMIN) == 200
        assert status(url, TOKEN) == 200
        # The token is good for nothing else.
        assert httpx.get(f"{url}/api/admin/status", headers=bearer(TOKEN)).status_code == 401
        assert httpx.get(f"{url}/v1/models", headers=bearer(TOKEN)).status_code == 401


def test_without_a_token_nobody_has_it(tmp_path: Path) -> None:
    with serving(settings(tmp_path)) as url:
        assert status(url, "null") == 401
        assert status(url, "None") == 401


def test_open_is_open(tmp_path: Path) -> None:
    with serving(settings(tmp_path, metrics="open")) as url:
        assert status(url) == 200
        assert httpx.get(f"{url}/api/admin/status").status_code == 401


def test_a_server_without_keys_tells_them_to_this_machine_only(tmp_path: Path) -> None:
    with serving({**settings(tmp_path), "keys": {}}) as url:
        assert status(url) == 200
        # A page that made its own name mean this machine.
        assert status(url, host="evil.example") == 403


def test_keys_of_the_database_count(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_DATA_DIR", str(tmp_path / "data"))
    admin = new_key(
        database,
        None,
        "operator",
    )
    with running(keyed(database)) as server:  # type: ignore[arg-type]
        assert status(server.url) == 401
        assert status(server.url, admin.text) == 200


@pytest.mark.parametrize(
    ("telemetry", "is_safe"),
    [
        ({}, True),
        ({"worker_metrics_port": 1}, True),
        ({"worker_metrics_port": 1, "worker_metrics_host": EVERYWHERE}, False),
        ({"worker_metrics_port": 1, "worker_metrics_host": EVERYWHERE, "metrics_token": TOKEN}, True),
        ({"worker_metrics_port": 1, "worker_metrics_host": EVERYWHERE, "metrics": "open"}, True),
    ],
)
def test_a_workers_port_is_not_left_open_by_mistake(telemetry: dict[str, Any], is_safe: bool) -> None:
    made = TelemetrySettings.model_validate(telemetry)
    if is_safe:
        demand_safe(made)
    else:
        with pytest.raises(ConfigurationError, match="open to other machines"):
            demand_safe(made)
