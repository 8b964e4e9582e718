"""One try to deliver, to receivers of every temper, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.transport.certificates import needs_openssl
from tests.transport.raw_server import RawConnection
from tests.webhooks.receivers import SECRET, Names, receiving, reply, sending, serving

from waypost.webhooks import AddressRules, Limits, Message, WebhookEvent, verify
from waypost.webhooks.public_addresses import why_not_public
from waypost.webhooks.signing import new_secret

EVENT = WebhookEvent("job.succeeded", {"job_id": "job_1", "odd": "\x00\ud800ü"}, 1_795_694_400_250, text="It is done.")
MESSAGE = Message("msg_1", EVENT.body())


async def test_it_is_a_signed_post_of_json_that_asks_for_nothing_more() -> None:
    async with receiving() as receiver, sending() as sender:
        before = int(time.time())
        outcome = await sender.deliver(receiver.url, MESSAGE, [SECRET])
        place = f"127.0.0.1:{receiver.port}"
    assert (outcome.status, outcome.error_code, outcome.has_arrived) == (204, None, True)
    (got,) = receiver.got
    assert got.line == "POST /hook?token=s3cret HTTP/1.1"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["host"] == place
    assert got.headers["accept-encoding"] == "identity"
    assert got.headers["user-agent"].startswith("waypost/")
    assert before <= int(got.headers["webhook-timestamp"]) <= time.time()
    assert not {"cookie", "authorization", "referer"} & set(got.headers)
    assert verify(got.headers, got.body, SECRET) == "msg_1"
    assert got.body.startswith(
        b'{"type":"job.succeeded","timestamp":"2026-11-26T12:00:00.250Z","data":{"job_id":"job_1"'
    )
    assert got.body.endswith(b',"text":"It is done."}')


async def test_it_bears_a_signature_of_each_secret() -> None:
    newer = new_secret()
    async with receiving() as receiver, sending() as sender:
        await sender.deliver(receiver.url, MESSAGE, [newer, SECRET])
    for secret in (newer, SECRET):
        assert verify(receiver.got[0].headers, receiver.got[0].body, secret) == "msg_1"


@pytest.mark.parametrize(
    ("answer", "status", "error_code", "retry_after_s"),
    [
        (reply(200, b"thanks"), 200, None, None),
        (reply(202), 202, None, None),
        (reply(301, headers="Location: http://127.0.0.1:1/\r\n"), 301, "redirect", None),
        (reply(307, headers="Location: http://169.254.169.254/\r\n"), 307, "redirect", None),
        (reply(400, b"no"), 400, "status_400", None),
        (reply(410), 410, "status_410", None),
        (reply(429, headers="Retry-After: 30\r\n"), 429, "status_429", 30.0),
        (reply(500), 500, "status_500", None),
        (reply(503, headers="Retry-After: soon\r\n"), 503, "status_503", None),
        (b"not http at all\r\n\r\n", None, "not_http", None),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000, None, "not_http", None),
    ],
)
async def test_the_status_decides(answer: bytes, status: Any, error_code: Any, retry_after_s: Any) -> None:
    async with receiving(answer) as receiver, sending() as sender:
        outcome = await sender.deliver(receiver.url, MESSAGE, [SECRET])
    assert (outcome.status, outcome.error_code, outcome.retry_after_s) == (status, error_code, retry_after_s)
    assert len(receiver.got) == 1


async def test_a_redirect_is_not_followed_even_to_a_host_that_may_be_called() -> None:
    async with receiving() as other, sending() as sender:
        async with receiving(reply(302, headers=f"Location: {other.url}\r\n")) as receiver:
            outcome = await sender.deliver(receiver.url, MESSAGE, [SECRET])
        assert (outcome.error_code, other.got) == ("redirect", [])


async def test_no_cookie_of_one_reply_is_in_the_next_request() -> None:
    async with receiving(reply(204, headers="Set-Cookie: a=b\r\n")) as receiver, sending() as sender:
        for _ in range(2):
            await sender.deliver(receiver.url, MESSAGE, [SECRET])
        assert receiver.server is not None
        assert receiver.server.accepted == 1
    assert "cookie" not in receiver.got[1].headers


@pytest.mark.parametrize("size_bytes", [2 * 1024**3, None], ids=["2 GB", "without end"])
async def test_of_a_huge_reply_only_the_beginning_is_read(size_bytes: int | None) -> None:
    """The receiver cannot send much more than the sockets' buffers hold before the connection ends."""
    sent_bytes = 0
    piece = b"x" * 65_536

    async def pour(connection: RawConnection) -> None:
        nonlocal sent_bytes
        await connection.request()
        length = "" if size_bytes is None else f"Content-Length: {size_bytes}\r\n"
        await connection.send(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode())
        while sent_bytes < 2 * 1024**3:
            await connection.send(piece)
            sent_bytes += len(piece)

    async with serving(pour) as server, sending() as sender:
        outcome = await sender.deliver(server.url, MESSAGE, [SECRET])
    assert (outcome.status, outcome.reply) == (200, b"x" * 1024)
    assert sent_bytes < 64 * 1024**2


async def test_a_compressed_reply_says_what_its_status_says_and_is_not_kept() -> None:
    async with receiving(reply(200, b"\x1f\x8b\x08", "Content-Encoding: gzip\r\n")) as receiver, sending() as sender:
        outcome = await sender.deliver(receiver.url, MESSAGE, [SECRET])
    assert (outcome.status, outcome.error_code, outcome.reply) == (200, None, b"")


async def test_a_body_that_breaks_off_or_hangs_takes_nothing_back() -> None:
    for ends in (True, False):

        async def half(connection: RawConnection, ends: bool = ends) -> None:
            await connection.request()
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            if not ends:
                await connection.until_client_leaves()

        async with serving(half) as server, sending(limits=Limits(total_s=2.0)) as sender:
            outcome = await sender.deliver(server.url, MESSAGE, [SECRET])
        assert (outcome.status, outcome.error_code, outcome.reply) == (200, None, b"half")


async def test_one_that_never_answers_is_given_up_at_the_deadline() -> None:
    async def hang(connection: RawConnection) -> None:
        await connection.request()
        await connection.until_client_leaves()

    async with serving(hang) as server, sending(limits=Limits(total_s=0.3)) as sender:
        outcome = await sender.deliver(server.url, MESSAGE, [SECRET])
    assert (outcome.status, outcome.error_code) == (None, "timeout")
    assert 250 <= outcome.duration_ms < 5000


async def test_one_that_trickles_its_headers_is_given_up_at_the_deadline() -> None:
    async def trickle(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await connection.send(b"x: y\r\n")
            await asyncio.sleep(0.05)

    async with serving(trickle) as server, sending(limits=Limits(total_s=0.5)) as sender:
        outcome = await sender.deliver(server.url, MESSAGE, [SECRET])
    assert outcome.error_code == "timeout"


async def test_one_that_drops_the_connection_is_told_from_one_that_is_not_there() -> None:
    async def drop(connection: RawConnection) -> None:
        await connection.request()
        await connection.reset()

    async with serving(drop) as server, sending() as sender:
        lost = await sender.deliver(server.url, MESSAGE, [SECRET])
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            absent = await sender.deliver(f"http://127.0.0.1:{unused.getsockname()[1]}/", MESSAGE, [SECRET])
    assert (lost.error_code, absent.error_code) == ("connection_lost", "unreachable")


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::ffff:127.0.0.1"]])
async def test_a_name_that_leads_to_this_machine_is_not_connected_to(
    answers: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    names = Names({"hooks.example.com": [answers]})
    async with receiving() as receiver, sending(AddressRules(), resolve=lambda: names) as sender:
        url = f"https://hooks.example.com:{receiver.port}/?token=s3cret"
        with caplog.at_level(logging.INFO):
            outcome = await sender.deliver(url, MESSAGE, [SECRET])
        assert outcome.error_code == "address_refused"
        assert receiver.server is not None
        assert receiver.server.accepted == 0
    assert "hooks.example.com leads to an address that is not public" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_name_that_cannot_be_looked_up_is_unreachable() -> None:
    async def resolve(host: str, port: int) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async with sending(AddressRules(), resolve=lambda: resolve) as sender:
        assert (await sender.deliver("https://hooks.example.com/", MESSAGE, [SECRET])).error_code == "unreachable"


def _public_but(host: str) -> Any:
    """Rules for a test: 127.0.0.2 stands for a public address, all else is what it is."""
    return lambda text: None if text == host else why_not_public(text)


@pytest.mark.skipif(sys.platform != "linux", reason="wants a second loopback address")
@needs_openssl
async def test_a_name_that_leads_elsewhere_after_the_check_changes_nothing(tmp_path: Path) -> None:
    """It is asked for once a connection; what was checked is what is connected to, with the name for TLS and Host."""
    tls, authority = _serving_name(tmp_path, "hooks.example.com")
    names = Names({"hooks.example.com": [["127.0.0.2"], ["127.0.0.1"]]})
    inside: list[bytes] = []

    async def canary(connection: RawConnection) -> None:
        inside.append(await connection.reader.read(1))

    async with serving(canary) as private:
        port = private.port
        got: list[bytes] = []

        async def outside(connection: RawConnection) -> None:
            got.append(await connection.request())
            await connection.send(reply(204, headers="Connection: close\r\n"))

        rules = AddressRules(why_not=_public_but("127.0.0.2"))
        async with (
            serving(outside, tls, f"127.0.0.2:{port}"),
            sending(rules, resolve=lambda: names, ca_file=authority) as sender,
        ):
            url = f"https://hooks.example.com:{port}/x"
            first = await sender.deliver(url, MESSAGE, [SECRET])
            second = await sender.deliver(url, MESSAGE, [SECRET])
    assert (first.status, second.error_code) == (204, "address_refused")
    assert names.asked == ["hooks.example.com"] * 2
    assert f"host: hooks.example.com:{port}".encode() in got[0].lower()
    assert (len(got), private.accepted, inside) == (1, 0, [])


@needs_openssl
async def test_a_certificate_of_another_name_or_of_nobody_known_is_refused(tmp_path: Path) -> None:
    tls, authority = _serving_name(tmp_path, "other.example.com")
    names = Names({"hooks.example.com": [["127.0.0.1"]], "other.example.com": [["127.0.0.1"]]})
    rules = AddressRules(["hooks.example.com", "other.example.com"])
    async with receiving(tls=tls) as receiver:
        async with sending(rules, resolve=lambda: names, ca_file=authority) as sender:
            right = await sender.deliver(f"https://other.example.com:{receiver.port}/", MESSAGE, [SECRET])
            wrong = await sender.deliver(f"https://hooks.example.com:{receiver.port}/", MESSAGE, [SECRET])
        async with sending(rules, resolve=lambda: names) as sender:
            unknown = await sender.deliver(f"https://other.example.com:{receiver.port}/", MESSAGE, [SECRET])
    assert (right.status, wrong.error_code, unknown.error_code) == (204, "unreachable", "unreachable")
    assert len(receiver.got) == 1


def _serving_name(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=waypost"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        [*command.split(), "-addext", f"subjectAltName=DNS:{name}", *files], check=True, capture_output=True, timeout=20
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    return tls, certificate


async def test_an_address_that_is_no_longer_allowed_is_not_called() -> None:
    async with receiving() as receiver, sending(AddressRules()) as sender:
        outcome = await sender.deliver(receiver.url, MESSAGE, [SECRET])
        assert receiver.server is not None
        assert (outcome.error_code, receiver.server.accepted) == ("address_refused", 0)


async def test_who_is_cancelled_leaves_no_connection_behind() -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    async def hang(connection: RawConnection) -> None:
        await connection.request()
        begun.set()
        await connection.until_client_leaves()
        left.set()

    async with serving(hang) as server, sending() as sender:
        task = asyncio.create_task(sender.deliver(server.url, MESSAGE, [SECRET]))
        await asyncio.wait_for(begun.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), 5)


def test_an_event_that_is_too_large_is_refused_before_it_is_stored() -> None:
    with pytest.raises(ValueError, match="262144"):
        WebhookEvent("job.failed", {"x": "y" * 300_000}, 0).body()
