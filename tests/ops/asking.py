"""Plain HTTP to a server in a container: short requests, and streams whose end is told as it was seen."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

ADMIN_KEY: Final = "admin-key-of-a-test-0123456789"
APP_KEY: Final = "app-key-of-a-test-0123456789abc"
CHAT: Final = "/v1/chat/completions"
WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(url: str, path: str, body: object = None, *, key: str | None = APP_KEY, timeout_s: float = 30.0) -> Reply:
    """GET, or POST if there is a body. Raises OSError or HTTPException if no answer comes."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
    try:
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
        text = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, text, headers)
        reply = connection.getresponse()
        return Reply(reply.status, reply.read())
    finally:
        connection.close()


def wait_for(url: str, path: str = "/health", timeout_s: float = WAIT_S) -> float:
    """The moment (time.time) at which the address first answers with 200. Raises AssertionError after the time."""
    until_s = time.monotonic() + timeout_s
    told = "nothing"
    while time.monotonic() < until_s:
        try:
            told = str(ask(url, path, timeout_s=2).status)
        except (OSError, http.client.HTTPException) as error:
            told = repr(error)
        if told == "200":
            return time.time()
        time.sleep(0.02)
    raise AssertionError(f"{url}{path} does not answer: {told}")


def wait_until(holds: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Raises AssertionError after the time."""
    until_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until_s, "it did not come to hold"
        time.sleep(0.2)


def message(text: str, *, stream: bool = False, model: str = "default") -> dict[str, Any]:
    """A chat request."""
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}
