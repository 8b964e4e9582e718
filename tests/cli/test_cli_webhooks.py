"""`waypost webhooks`, on both databases, with a receiver that is there or is not."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Waypost

from waypost.settings.webhooks import webhook_key
from waypost.store.database import Database
from waypost.webhooks import WebhookEvent, verify
from waypost.webhooks.delivery import DeliveryOutcome
from waypost.webhooks.log import Delivery, Share, enqueue, note, pick, take
from waypost.webhooks.schedule import Following
from waypost.webhooks.signing import derived_secret, new_secret

NOW = 1_764_158_400_000
ONE = Share(limit=1, per_host=1, per_project=1)
URL = "https://hooks.example.com/a/b?token=s3cret"


@pytest.fixture
def run(waypost: Waypost, database: Database, tmp_path: Path) -> Waypost:
    """Commands whose settings name the test's database, and let this machine be called."""
    url = database.url.render_as_string(hide_password=False)
    settings = f"database_url: '{url}'\ndata_dir: {tmp_path / 'data'}\nwebhooks: {{allowed_hosts: [127.0.0.1]}}\n"
    Path("waypost.yaml").write_text(settings)
    return waypost


def told(run: Waypost, *arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def queue(database: Database, number: int = 1, **more: Any) -> list[str]:
    given = {"url": URL, "project_id": "config:web", "about": "job_1", **more}
    with database.write() as connection:
        return [
            enqueue(connection, WebhookEvent("job.failed", {"job_id": "job_1"}, NOW), now_ms=NOW + each, **given)
            for each in range(number)
        ]


def fail(database: Database, state: Any = "failed") -> Delivery:
    with database.write() as connection:
        (held,) = take(connection, pick(connection, NOW, ONE), NOW, holder="test")
        outcome = DeliveryOutcome(500, "status_500", b"\x1b[2Jno")
        note(connection, held, outcome, Following(state), now_ms=NOW)
    return held


@dataclass
class Receiver:
    """Answers with a status, in a thread, and keeps what came."""

    status: int
    port: int = 0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/x?token=s3cret"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(204)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.got.append((dict(self.headers.items()), body))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


def test_messages_are_listed_the_newest_first_and_without_what_may_be_secret(run: Waypost, database: Database) -> None:
    ids = queue(database, 3)
    fail(database)
    queue(database, project_id="config:other", about="job_2")
    listed = told(run, "webhooks", "list", "--project", "config:web")
    assert [each["id"] for each in listed] == ids[::-1]
    assert {each["url"] for each in listed} == {"https://hooks.example.com:443/a/b?…"}
    assert [each["id"] for each in told(run, "webhooks", "list", "--state", "failed")] == ids[:1]
    assert len(told(run, "webhooks", "list", "--about", "job_2")) == 1
    assert len(told(run, "webhooks", "list", "--limit", "2")) == 2
    assert told(run, "webhooks", "list", "--event", "batch.finished") == []
    shown = run("webhooks", "list")
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 5
    assert "status_500" in shown.stdout
    assert "s3cret" not in shown.stdout
    assert "No message fits." in run("webhooks", "list", "--state", "gone").stderr


def test_one_is_shown_with_what_is_sent_and_nothing_that_moves_the_cursor(run: Waypost, database: Database) -> None:
    (message_id,) = queue(database)
    fail(database)
    found = told(run, "webhooks", "show", message_id)
    assert found["body"]["data"] == {"job_id": "job_1"}
    assert (found["status"], found["attempts"], found["reply"]) == (500, 1, "\x1b[2Jno")
    shown = run("webhooks", "show", message_id)
    assert "\x1b" not in shown.stdout
    assert "s3cret" not in shown.stdout
    assert message_id in shown.stdout


def test_one_that_failed_is_sent_again_by_a_command(run: Waypost, database: Database) -> None:
    (message_id,) = queue(database)
    held = fail(database)
    found = told(run, "webhooks", "retry", message_id)
    assert (found["state"], found["attempts"]) == ("pending", 0)
    with database.write() as connection:
        (again,) = take(connection, [message_id], 2 * NOW, holder="next")
    assert again.message == held.message


@pytest.mark.parametrize("command", ["show", "retry"])
def test_an_unknown_message_is_told(run: Waypost, command: str) -> None:
    result = run("webhooks", command, "msg_none")
    assert result.exit_code == 1
    assert "There is no message of that id. See them with: waypost webhooks list" in result.stderr


def test_a_project_s_secret_is_alone_on_standard_output_and_always_the_same(run: Waypost, tmp_path: Path) -> None:
    assert run("projects", "create", "search").exit_code == 0
    shown = run("webhooks", "secret", "--project", "search")
    assert shown.stderr == ""
    project = told(run, "projects", "show", "search")
    kept = tmp_path / "data" / "webhook-secret"
    assert shown.stdout.strip() == derived_secret(kept.read_text().strip(), project["id"])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert told(run, "webhooks", "secret", "--project", project["id"])["secret"] == shown.stdout.strip()
    assert run("webhooks", "secret").stdout != shown.stdout
    assert "There is no project" in run("webhooks", "secret", "--project", "none").stderr


def test_a_rotated_secret_leaves_the_old_one_good_for_a_while(run: Waypost) -> None:
    old = told(run, "webhooks", "secret")["secret"]
    rotated = told(run, "webhooks", "secret", "--rotate", "--grace", "1h")
    assert rotated["older"] == [old]
    assert rotated["secret"] != old
    assert "1 older one too" in run("webhooks", "secret").stderr
    assert told(run, "webhooks", "secret", "--rotate", "--grace", "0")["older"] == []


def test_a_configured_secret_is_used_and_not_rotated(
    run: Waypost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = run("webhooks", "secret", "--new").stdout.strip()
    assert len(webhook_key(secret)) == 32
    monkeypatch.setenv("WAYPOST_WEBHOOK_SECRET", secret)
    assert run("webhooks", "secret").stdout.strip() == derived_secret(secret, None)
    result = run("webhooks", "secret", "--rotate")
    assert result.exit_code == 3
    assert "previous_secret" in result.stderr
    assert not (tmp_path / "data" / "webhook-secret").exists()
    monkeypatch.setenv("WAYPOST_WEBHOOK_SECRET", "whsec_short")
    refused = run("webhooks", "secret")
    assert refused.exit_code == 3
    assert "must be whsec_ and 24 to 64 bytes in Base64" in refused.stderr
    assert "whsec_short" not in refused.stderr


def test_a_try_is_signed_and_says_what_came_of_it(run: Waypost, receiver: Receiver) -> None:
    secret = run("webhooks", "secret", "--project", "config:web").stdout.strip()
    outcome = told(run, "webhooks", "test", receiver.url, "--project", "config:web")
    assert (outcome["delivered"], outcome["status"]) == (True, 204)
    ((headers, body),) = receiver.got
    verify(headers, body, secret)
    assert json.loads(body)["type"] == "webhook.test"
    receiver.status = 500
    failed = run("webhooks", "test", receiver.url)
    assert failed.exit_code == 1
    assert "status_500" in failed.stdout
    assert "s3cret" not in failed.stdout


def test_without_an_address_the_one_in_the_settings_is_tried(run: Waypost, receiver: Receiver) -> None:
    assert run("webhooks", "test").exit_code == 2
    settings = Path("waypost.yaml")
    # It needs no leave.
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("webhooks")]
    settings.write_text("\n".join([*lines, f"ledger: {{warning_webhook: '{receiver.url}'}}"]))
    assert told(run, "webhooks", "test")["delivered"]
    ((headers, body),) = receiver.got
    verify(headers, body, run("webhooks", "secret").stdout.strip())
    assert run("webhooks", "test", receiver.url).exit_code == 1


def test_a_try_at_an_address_that_may_not_be_called_names_the_setting(run: Waypost) -> None:
    refused = run("webhooks", "test", "http://10.0.0.1:8080/x")
    assert refused.exit_code == 1
    assert 'webhooks.allowed_hosts: ["10.0.0.1:8080"]' in refused.stderr


@pytest.mark.parametrize(
    ("settings", "status", "detail"),
    [
        ("{}", "ok", "which is made at need"),
        ("database_url: postgresql://user@host/name", "warn", "other machines would have others"),
        ("webhooks: {secret_file: ./none}", "fail", "cannot be read"),
        ("webhooks: {ca_file: ./none}", "fail", "is not there"),
        (f"webhooks: {{secret: {new_secret()}}}", "ok", "signed with 1 secret from the settings file"),
    ],
    ids=["kept", "kept beside a server", "no file", "no authorities", "configured"],
)
def test_the_doctor_looks_at_how_messages_are_signed(waypost: Waypost, settings: str, status: str, detail: str) -> None:
    Path("waypost.yaml").write_text(f"{settings}\n")
    checks = json.loads(waypost("doctor", "--json").stdout)["checks"]
    (check,) = [each for each in checks if each["name"] == "webhooks"]
    assert (check["status"], detail in check["detail"]) == (status, True)
    assert status == "ok" or check["mend"] or "read" in detail
