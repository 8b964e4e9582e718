"""A team's path: build the image, start the scaled compose file, try it through nginx, lose a server, lose nothing."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from tests.ops.asking import ADMIN_KEY, APP_KEY, CHAT, ask, message, wait_for, wait_until
from tests.ops.compose import DEPLOY, Compose, composed, free_network, free_port
from tests.ops.engine import ROOT, Engine
from tests.ops.provider import SCRIPT, seen_by

pytestmark = [pytest.mark.ops, pytest.mark.timeout(600)]

SERVERS: Final = ("server-1", "server-2")
STREAMS: Final = 100
WORDS: Final = 40
AFTER: Final = 20
AT_MOST_LOST: Final = 2
SECRET: Final = "whsec_" + "A" * 43 + "="
TOKEN: Final = "metrics-token-of-a-test"
PROVIDER_URL: Final = "http://provider:8100/v1"


@dataclass
class Stream:
    """One stream as its caller sees it."""

    model: str
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    text: str = ""
    finished: bool = False
    error: str | None = None
    cut: bool = False

    @property
    def end(self) -> str:
        """finished, broken (cut off, or a typed error), or both, which would be a lie."""
        broken = self.cut or self.error is not None
        return "both" if self.finished and broken else "finished" if self.finished else "broken" if broken else "silent"

    async def run(self, session: aiohttp.ClientSession, url: str) -> None:
        """Ask, and read to the end, whichever it is."""
        body = message("word " * WORDS, stream=True, model=f"openai/{self.model}")
        try:
            async with session.post(f"{url}{CHAT}", json=body) as reply:
                assert reply.status == 200, await reply.text()
                async for line in reply.content:
                    self._take(line)
        except aiohttp.ClientError:
            self.cut = True

    def _take(self, line: bytes) -> None:
        if not line.startswith(b"data: "):
            return
        if line.strip() == b"data: [DONE]":
            self.finished = True
            return
        event = json.loads(line[6:])
        if "error" in event:
            self.error = event["error"]["type"]
            return
        self.text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
        if self.text:
            self.has_begun.set()


@pytest.fixture(scope="module")
def scaled(engine: Engine, image: str, service_images: None) -> Iterator[Compose]:
    """compose.scaled.yaml as it is, with the simulator in the place of OpenAI."""
    network, port = free_network(), free_port()
    token = engine.folder / "metrics-token"
    token.write_text(f"{TOKEN}\n", encoding="utf-8")
    environment = {
        "WAYPOST_IMAGE": image,
        "WAYPOST_NETWORK": network,
        "WAYPOST_PUBLISH": f"127.0.0.1:{port}",
        "PROMETHEUS_PUBLISH": f"127.0.0.1:{free_port()}",
        "POSTGRES_PASSWORD": "a-password-of-a-test",
        "WAYPOST_ADMIN_KEY": ADMIN_KEY,
        "WAYPOST_APP_KEY": APP_KEY,
        "WAYPOST_WEBHOOK_SECRET": SECRET,
        "WAYPOST_METRICS_TOKEN": TOKEN,
        "WAYPOST_METRICS_TOKEN_FILE": str(token),
        "OPENAI_API_KEY": "any",
        "OPENAI_BASE_URL": PROVIDER_URL,
        "PROVIDER_SCRIPT": str(SCRIPT),
        "PROVIDER_NETWORK": "outside",
    }
    files = (DEPLOY / "compose.scaled.yaml", ROOT / "tests/ops/compose.provider.yaml")
    with composed(engine, "waypost-journey", files, environment) as compose:
        wait_for(compose.url)
        wait_until(lambda: knows_keys(compose))
        wait_until(lambda: reaches_both(compose))
        yield compose


def knows_keys(scaled: Compose) -> bool:
    """Have both servers found the database? podman 4.3 cannot wait for it, as docker does, before it starts them."""
    told = [ask(scaled.container(name).url, "/ready").json for name in SERVERS]
    return all(each["keys"]["status"] == "ready" for each in told)


def reaches_both(scaled: Compose) -> bool:
    """Does nginx send requests to both servers? One that was not there yet is left alone for some seconds."""
    for _ in range(4):
        ask(scaled.url, "/health")
    latest = scaled.container("front").logs.splitlines()[-4:]
    return all(any(f".{number}:8000 200" in line for line in latest) for number in (11, 12))


def test_it_does_what_its_callers_need_through_nginx(scaled: Compose, tmp_path: Path) -> None:
    """`waypost smoke` from outside: answers, streams, an analysis by the workers, limits that both servers share."""
    junit = tmp_path / "smoke.xml"
    environment = {**os.environ, "WAYPOST_API_KEY": APP_KEY, "WAYPOST_ADMIN_KEY": ADMIN_KEY}
    command = [sys.executable, "-m", "waypost.cli.main", "smoke", scaled.url, "--json", "--junit", str(junit)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [check["name"] for check in json.loads(done.stdout)["checks"] if check["status"] != "passed"]
    assert skipped == []
    assert junit.stat().st_size


def test_a_server_that_is_killed_takes_its_own_streams_with_it_and_nothing_else(scaled: Compose) -> None:
    """The other server's streams go on to their end, new requests are answered, the ledger has every call once."""
    streams = [Stream(f"stream-{number:03}") for number in range(STREAMS)]
    held = asyncio.run(lose_a_server(scaled, streams))
    ends = Counter(stream.end for stream in streams)
    assert ends == {"finished": held["server-2"], "broken": held["server-1"]}
    whole = ("word " * WORDS).strip()
    assert {stream.text.strip() for stream in streams if stream.finished} == {whole}
    assert all(whole.startswith(stream.text.strip()) for stream in streams)

    scaled.restart("server-1")
    asked = Counter(request["model"] for request in seen_by(scaled.container("provider")) if request["model"])
    assert sum(count for model, count in asked.items() if model.startswith("stream-")) == STREAMS
    wait_until(
        lambda: ledger(scaled).keys() >= asked.keys() and "open" not in outcomes(scaled),
        told=lambda: f"{outcomes(scaled)}, missing: {asked - ledger(scaled)}, too many: {ledger(scaled) - asked}",
    )
    assert ledger(scaled) == asked
    assert outcomes(scaled)["unknown"] == held["server-1"]


async def lose_a_server(scaled: Compose, streams: list[Stream]) -> dict[str, int]:
    """Kill server-1 while all the streams run, ask on, and read them to their ends. How many each server had."""
    headers = {"authorization": f"Bearer {APP_KEY}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as session:
        quiet = await asyncio.to_thread(in_flight, scaled)
        runs = [asyncio.create_task(stream.run(session, scaled.url)) for stream in streams]
        await asyncio.wait_for(asyncio.gather(*(stream.has_begun.wait() for stream in streams)), 60)
        busy = await asyncio.to_thread(in_flight, scaled)
        held = {name: busy[name] - quiet[name] for name in busy}
        # The first process takes all of its container with it.
        os.kill(await asyncio.to_thread(lambda: scaled.container("server-1").pid), signal.SIGKILL)
        # A request that is on its way to it at that moment is lost too: nobody may send it twice.
        await asyncio.wait_for(asyncio.gather(*itertools.islice(asyncio.as_completed(runs), held["server-1"])), 60)
        assert [stream.end for stream in streams].count("broken") == held["server-1"]
        # So is one that nginx sends into a connection whose end it has not seen yet; that tells it.
        answers = [await asyncio.to_thread(asked_anew, scaled, number) for number in range(AFTER)]
        assert Counter(answers).keys() <= {200, 502}
        assert answers[AT_MOST_LOST:] == [200] * (AFTER - AT_MOST_LOST), answers
        await asyncio.wait_for(asyncio.gather(*runs), 120)
    assert sum(held.values()) == STREAMS
    assert min(held.values()) >= STREAMS // 4, held
    return held


def asked_anew(scaled: Compose, number: int) -> int:
    """The status of a new request."""
    return ask(scaled.url, CHAT, message("still there?", model=f"openai/after-{number:02}")).status


def in_flight(scaled: Compose) -> dict[str, int]:
    """What each server works on, by its own account."""
    return {
        name: ask(scaled.container(name).url, "/api/admin/status", key=ADMIN_KEY).json["workers"][0]["in_flight"]
        for name in SERVERS
    }


def ledger(scaled: Compose) -> Counter[str]:
    """How often the ledger has each model that the provider was asked for: each test request has a model of its own."""
    return rows(
        scaled,
        "SELECT coalesce(model, regexp_replace(asked_model, '^openai/', '')), count(*) FROM attempts GROUP BY 1",
    )


def outcomes(scaled: Compose) -> Counter[str]:
    """How the calls ended, in the ledger; and those that have not."""
    ended = rows(scaled, "SELECT outcome, count(*) FROM attempts GROUP BY 1")
    return ended + rows(scaled, "SELECT 'open', count(*) FROM unfinished_attempts")


def rows(scaled: Compose, query: str) -> Counter[str]:
    """Rows of a text and a number."""
    command = ("psql", "-h", "127.0.0.1", "-U", "waypost", "-d", "waypost", "-AtF", "\t", "-c", query)
    password = f"--env=PGPASSWORD={scaled.environment['POSTGRES_PASSWORD']}"
    said = scaled.engine.podman("exec", password, scaled.container("database").id, *command)
    pairs = (line.split("\t") for line in said.splitlines())
    return Counter({name: int(count) for name, count in pairs if int(count)})


def test_prometheus_watches_both_servers_and_both_workers(scaled: Compose) -> None:
    def up() -> list[Any]:
        told = ask(scaled.prometheus_url, "/api/v1/query?query=up", key=None).json["data"]["result"]
        return sorted(each["metric"]["instance"] for each in told if each["value"][1] == "1")

    wait_until(lambda: up() == ["server-1:8000", "server-2:8000", "worker-1:9100", "worker-2:9100"], 60)
