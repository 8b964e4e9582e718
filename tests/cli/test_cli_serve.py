"""waypost serve and simulate: addresses that cannot be had, and one run from start to SIGTERM."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import Result

from waypost.cli.exit_codes import AddressUnavailable
from waypost.cli.listening import check_address

Waypost = Callable[..., Result]


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        yield busy.getsockname()[1]


@pytest.mark.parametrize("command", ["serve", "simulate"])
def test_a_busy_port_is_told_with_one_that_is_free(waypost: Waypost, busy_port: int, command: str) -> None:
    result = waypost(command, "--port", str(busy_port))
    told = (
        rf"Error: Port {busy_port} on 127\.0\.0\.1 is in use\. "
        rf"Stop that program or choose another port: waypost {command} --port (\d+)\n"
    )
    found = re.fullmatch(told, result.stderr)
    assert (result.exit_code, result.stdout) == (5, "")
    assert found
    assert int(found[1]) > busy_port


def test_a_port_that_is_bound_but_not_listened_on_yet_counts_as_free() -> None:
    """With SO_REUSEADDR two may bind; only listening is exclusive."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        check_address("127.0.0.1", bound.getsockname()[1], "waypost serve")


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("192.0.2.1", "Port 0 on 192.0.2.1 cannot be listened on: "),
        ("no such host.invalid", 'The host name "no such host.invalid" is not known. '),
    ],
)
def test_an_address_of_another_machine_is_refused(host: str, told: str) -> None:
    with pytest.raises(AddressUnavailable) as caught:
        check_address(host, 0, "waypost serve")
    assert str(caught.value).startswith(told)
    assert str(caught.value).endswith("Try: waypost serve --host 127.0.0.1")


def test_only_loopback_without_keys(waypost: Waypost) -> None:
    result = waypost("serve", "--host", "0.0.0.0")  # noqa: S104 - it is refused
    told = (
        "Error: Without keys Waypost only listens on loopback, and 0.0.0.0 is not. Listen on 127.0.0.1, or make a key: "
    )
    assert (result.exit_code, result.stderr) == (3, f"{told}waypost keys create --admin\n")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "my-laptop.example"])  # noqa: S104 - refused
def test_the_simulator_is_for_this_machine_only(waypost: Waypost, host: str) -> None:
    result = waypost("simulate", "--host", host, "--port", "0")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith(f'Error: The simulator listens on this machine only, and "{host}" is no loopback')
    assert result.stderr.endswith("Use --host 127.0.0.1.\n")


def test_serve_says_what_it_serves_answers_and_ends_well(environment: Mapping[str, str], providers: Path) -> None:
    providers.write_text(providers.read_text().replace("providers:\n", "providers:\n  l: {kind: llama_cpp}\n"))
    command = [sys.executable, "-m", "waypost.cli.main", "serve", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(environment)
    ) as process:
        try:
            assert process.stdout is not None
            banner = [process.stdout.readline().rstrip("\n") for _ in range(5)]
            url = banner[0].split()[3]
            with urlopen(f"{url}/health", timeout=10) as reply:  # noqa: S310 - our own server
                health = json.load(reply)
        finally:
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=20)
    assert re.fullmatch(r"Waypost \S+ on http://127\.0\.0\.1:\d+ \(Ctrl-C stops it\)", banner[0])
    assert banner[1:] == [
        "  settings       waypost.yaml",
        "  providers      l, first, second",
        "  default route  first, then second",
        (
            "  The model smollm2-135m-instruct is not on this machine. "
            "Fetch it with: waypost models pull smollm2-135m-instruct"
        ),
    ]
    assert health["status"] == "ok"
    assert process.returncode == 0
    assert "Traceback" not in told


def test_a_script_that_is_not_there_is_a_usage_error(waypost: Waypost) -> None:
    result = waypost("simulate", "--script", "gone.yaml")
    assert result.exit_code == 2
    assert "'gone.yaml' does not exist" in result.stderr


def test_sighup_reads_the_settings_anew_and_a_bad_file_changes_nothing(
    environment: Mapping[str, str], providers: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "waypost.cli.main", "serve", "--port", "0"]
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=dict(environment))
    with process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            for old, new, told in (
                ("default_model: one", "default_model: uno", "settings read anew: providers.first\n"),
                ("default_model: uno", "default_modell: eins", "waypost.yaml line 2: "),
            ):
                providers.write_text(providers.read_text().replace(old, new))
                process.send_signal(signal.SIGHUP)
                assert becomes(lambda told=told: told in log.read_text())  # type: ignore[misc]
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert "the settings stay as they are" in log.read_text()


def becomes(condition: Callable[[], bool], limit_s: float = 10.0) -> bool:
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()
