"""Every fault, in each dialect, streamed and not, as the bytes and the end that a plain TCP client sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import pytest
from tests.simulator.dialects import DIALECTS, NAMES, body_of, events_of, is_whole, path_of

from waypost.simulator import Simulator
from waypost.simulator.faults import FAULT_KINDS

LAST_CHUNK = b"0\r\n\r\n"
TERMINAL = {name: dialect.terminal for name, dialect in DIALECTS.items()}


@dataclass(frozen=True)
class Seen:
    """What came over the connection. `end`: closed in order, reset, or silent until the client gave up."""

    head: str
    body: bytes
    end: Literal["closed", "reset", "silent"]

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return {name.lower(): value.strip() for name, _, value in lines}

    @property
    def stream(self) -> bytes:
        """The body without HTTP's chunks."""
        rest, data = self.body, b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            data += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return data

    @property
    def events(self) -> list[bytes]:
        return events_of(self.stream)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


async def call(
    simulator: Simulator,
    dialect: str,
    *,
    stream: bool,
    fault: Mapping[str, object] | None = None,
    model: str = "simulated",
    prompt: str = "one two three",
    first_byte_s: float = 10.0,
    patience_s: float = 5.0,
) -> Seen:
    """One request on a connection of its own, read to its end, or until nothing more comes for `patience_s`."""
    data = json.dumps(body_of(dialect, prompt, model=model, stream=stream)).encode()
    headers = {
        **DIALECTS[dialect].headers,
        "host": "localhost",
        "connection": "close",
        "content-length": str(len(data)),
    }
    if fault is not None:
        headers["x-waypost-simulate"] = json.dumps(fault)
    head = f"POST {path_of(dialect, model, stream=stream)} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in headers.items()
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.url.rpartition(":")[2]))
    writer.write(head.encode() + b"\r\n" + data)
    received, end = await _read_to_the_end(reader, first_byte_s, patience_s)
    writer.close()
    reply_head, _, body = received.partition(b"\r\n\r\n")
    return Seen(reply_head.decode(), body, end)


async def _read_to_the_end(
    reader: asyncio.StreamReader, first_byte_s: float, patience_s: float
) -> tuple[bytes, Literal["closed", "reset", "silent"]]:
    received = b""
    try:
        while piece := await asyncio.wait_for(reader.read(65536), patience_s if received else first_byte_s):
            received += piece
    except ConnectionResetError:
        return received, "reset"
    except TimeoutError:
        return received, "silent"
    return received, "closed"


async def outcome(simulator: Simulator) -> str:
    """How the ledger says the last request ended, once it has."""
    async with asyncio.timeout(5):
        return (await simulator.request(len(simulator.requests))).outcome


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", NAMES)
async def test_without_a_fault_the_reply_is_whole(simulator: Simulator, dialect: str, stream: bool) -> None:
    seen = await call(simulator, dialect, stream=stream)
    assert (seen.status, seen.end) == (200, "closed")
    if stream:
        assert seen.body.endswith(LAST_CHUNK)
        assert TERMINAL[dialect] in seen.stream
    else:
        assert int(seen.headers["content-length"]) == len(seen.body)
        assert json.loads(seen.body)
    assert await outcome(simulator) == "completed"


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_status_comes_with_the_dialects_own_body(simulator: Simulator, dialect: str, stream: bool) -> None:
    for status in [*range(400, 419), 422, 429, 431, 451, 499, *range(500, 505), 529, 599]:
        seen = await call(simulator, dialect, stream=stream, fault={"status": status})
        assert seen.status == status
        assert seen.headers["content-type"].startswith("application/json")
        error = json.loads(seen.body)
        top, within = DIALECTS[dialect].error_shape
        assert set(error) == set(top)
        assert set(error["error"]) - {"details"} == set(within)
        assert error["error"]["message"]
        assert await outcome(simulator) == "fault"


TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


async def test_the_requests_id_is_where_the_provider_has_it(simulator: Simulator) -> None:
    for dialect in ("openai", "openai_responses"):
        seen = await call(simulator, dialect, stream=True)
        assert seen.headers["x-request-id"].startswith("req_")
    seen = await call(simulator, "anthropic", stream=False, model="status-500")
    assert json.loads(seen.body)["request_id"] == seen.headers["request-id"]
    assert not {"request-id", "x-request-id"} & set((await call(simulator, "gemini", stream=True)).headers)


GOOGLE = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
GOOGLE |= {400: "INVALID_ARGUMENT", 500: "INTERNAL", 502: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


async def test_googles_status_goes_with_the_code(simulator: Simulator) -> None:
    for status, name in GOOGLE.items():
        error = json.loads((await call(simulator, "gemini", stream=False, model=f"status-{status}")).body)["error"]
        assert (error["code"], error["status"]) == (status, name)


async def test_anthropics_type_goes_with_the_status(simulator: Simulator) -> None:
    for status, kind in TYPES.items():
        seen = await call(simulator, "anthropic", stream=False, model=f"status-{status}")
        assert (seen.status, json.loads(seen.body)["error"]["type"]) == (status, kind)


NAMED = {
    "openai": {
        "context_length": (400, "code", "context_length_exceeded"),
        "content_policy": (400, "code", "content_policy_violation"),
        "quota": (429, "code", "insufficient_quota"),
        "rate_limit": (429, "code", "rate_limit_exceeded"),
        "not_found": (404, "code", "model_not_found"),
    },
    "anthropic": {
        "quota": (402, "type", "billing_error"),
        "too_large": (413, "type", "request_too_large"),
        "context_length": (400, "type", "invalid_request_error"),
    },
    "gemini": {
        "context_length": (400, "status", "INVALID_ARGUMENT"),
        "quota": (429, "status", "RESOURCE_EXHAUSTED"),
        "overloaded": (503, "status", "UNAVAILABLE"),
    },
}
NAMED["openai_responses"] = NAMED["openai"]


@pytest.mark.parametrize(
    ("dialect", "name", "status", "member", "word"),
    [(dialect, name, *row) for dialect, rows in NAMED.items() for name, row in rows.items()],
)
async def test_an_error_can_be_asked_for_by_name(
    simulator: Simulator, dialect: str, name: str, status: int, member: str, word: str
) -> None:
    fault = {"status": status, "error": name, "message": "in these words"}
    seen = await call(simulator, dialect, stream=False, fault=fault)
    error = json.loads(seen.body)["error"]
    assert (seen.status, error[member], error["message"]) == (status, word, "in these words")


async def test_the_wait_is_told_in_each_of_three_forms(simulator: Simulator) -> None:
    async def headers(form: str, wait_s: float) -> dict[str, str]:
        fault = {"status": 429, "retry_after_s": wait_s, "retry_after_form": form}
        return (await call(simulator, "openai", stream=False, fault=fault)).headers

    assert (await headers("seconds", 1.5))["retry-after"] == "2"
    assert (await headers("milliseconds", 1.5))["retry-after-ms"] == "1500"
    then = parsedate_to_datetime((await headers("date", 60))["retry-after"])
    assert 55 < (then - datetime.now(UTC)).total_seconds() < 62
    assert "retry-after" not in (await call(simulator, "openai", stream=False, fault={"status": 429})).headers


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_page_in_place_of_an_answer(simulator: Simulator, dialect: str) -> None:
    seen = await call(simulator, dialect, stream=False, fault={"status": 200, "body": "html"})
    assert (seen.status, seen.headers["content-type"]) == (200, "text/html")


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_code_of_ones_own(simulator: Simulator, dialect: str) -> None:
    seen = await call(simulator, dialect, stream=False, fault={"status": 429, "code": "ramp_limit_exceeded"})
    error = json.loads(seen.body)["error"]
    where = {
        "anthropic": lambda: error["details"]["error_code"],
        "gemini": lambda: error["details"][0]["reason"],
    }
    assert where.get(dialect, lambda: error["code"])() == "ramp_limit_exceeded"


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_proxys_page_and_an_empty_body(simulator: Simulator, dialect: str) -> None:
    seen = await call(simulator, dialect, stream=True, model="html-502")
    assert (seen.status, seen.headers["content-type"]) == (502, "text/html")
    assert b"<h1>502 Bad Gateway</h1>" in seen.body
    seen = await call(simulator, dialect, stream=False, fault={"status": 503, "body": "empty"})
    assert (seen.status, seen.body) == (503, b"")


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_reset_before_the_headers_leaves_no_byte(simulator: Simulator, dialect: str, stream: bool) -> None:
    for seen in (
        await call(simulator, dialect, stream=stream, fault={"reset_before_headers": True}),
        await call(simulator, dialect, stream=stream, model="reset"),
    ):
        assert (seen.head, seen.body, seen.end) == ("", b"", "reset")
    assert await outcome(simulator) == "fault"


@pytest.mark.parametrize("dialect", NAMES)
async def test_silence_lasts_until_the_client_leaves(simulator: Simulator, dialect: str) -> None:
    seen = await call(simulator, dialect, stream=True, model="silence", first_byte_s=0.3)
    assert (seen.head, seen.end) == ("", "silent")
    assert await outcome(simulator) == "client_closed"
    assert simulator.requests[-1].fault == "silence"


@pytest.mark.parametrize("count", [0, 1, 4])
@pytest.mark.parametrize("dialect", NAMES)
async def test_a_stream_is_cut_by_a_reset_after_exactly_so_many_events(
    simulator: Simulator, dialect: str, count: int
) -> None:
    for seen in (
        await call(simulator, dialect, stream=True, fault={"cut_after_events": count}),
        await call(simulator, dialect, stream=True, model=f"cut-{count}"),
    ):
        assert (seen.status, seen.end, len(seen.events)) == (200, "reset", count)
        assert LAST_CHUNK not in seen.body
    assert await outcome(simulator) == "fault"
    assert simulator.requests[-1].events_sent == count


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_stream_is_cut_inside_an_event_and_inside_a_character(simulator: Simulator, dialect: str) -> None:
    fault = {"cut_after_events": 3, "inside": "event"}
    seen = await call(simulator, dialect, stream=True, fault=fault)
    assert seen.end == "reset"
    assert len(seen.events) == 4
    assert not seen.stream.endswith(b"\n\n")
    fault = {"cut_after_events": 0, "inside": "character"}
    seen = await call(simulator, dialect, stream=True, fault=fault, prompt="grüß")
    assert seen.end == "reset"
    assert seen.stream.endswith(b"gr" + "ü".encode()[:1])
    seen = await call(simulator, dialect, stream=True, fault=fault, prompt="plain")
    assert seen.end == "closed", "no character of several bytes: nothing to cut"


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_stream_ends_in_order_but_too_early(simulator: Simulator, dialect: str) -> None:
    seen = await call(simulator, dialect, stream=True, model="end-3")
    assert (seen.end, len(seen.events)) == ("closed", 3)
    assert seen.body.endswith(LAST_CHUNK)
    assert TERMINAL[dialect] not in seen.stream


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_stream_stalls_with_the_connection_open(simulator: Simulator, dialect: str) -> None:
    seen = await call(simulator, dialect, stream=True, model="stall-2", patience_s=0.3)
    assert (seen.end, len(seen.events)) == ("silent", 2)
    assert await outcome(simulator) == "client_closed"


IN_BAND = {
    "openai": (b"", "code", "rate_limit_exceeded"),
    "openai_responses": (b"event: error\n", "code", "rate_limit_exceeded"),
    "anthropic": (b"event: error\n", "type", "rate_limit_error"),
    "gemini": (b"", "status", "RESOURCE_EXHAUSTED"),
}


@pytest.mark.parametrize("dialect", NAMES)
async def test_an_error_is_reported_inside_the_stream(simulator: Simulator, dialect: str) -> None:
    line, member, word = IN_BAND[dialect]
    fault = {"error_after_events": 3, "error": "rate_limit"}
    seen = await call(simulator, dialect, stream=True, fault=fault)
    assert (seen.status, seen.end, len(seen.events)) == (200, "closed", 4)
    assert TERMINAL[dialect] not in seen.stream
    name, _, data = seen.events[-1].rpartition(b"data: ")
    found = json.loads(data)
    error = found.get("error", found)
    assert (name, error[member]) == (line, word)


async def test_a_response_fails_as_a_response_if_so_asked(simulator: Simulator) -> None:
    fault = {"error_after_events": 3, "error": "rate_limit", "in_response": True}
    seen = await call(simulator, "openai_responses", stream=True, fault=fault)
    name, _, data = seen.events[-1].partition(b"\ndata: ")
    failed = json.loads(data)
    assert (name, failed["sequence_number"], failed["response"]["status"]) == (b"event: response.failed", 3, "failed")
    assert failed["response"]["error"]["code"] == "rate_limit_exceeded"
    assert failed["response"]["id"] == json.loads(seen.events[0].partition(b"data: ")[2])["response"]["id"]
    assert TERMINAL["openai_responses"] not in seen.stream


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("count", [0, 2, 5])
async def test_one_event_is_malformed_and_the_rest_are_whole(simulator: Simulator, dialect: str, count: int) -> None:
    whole = await call(simulator, dialect, stream=True)
    seen = await call(simulator, dialect, stream=True, fault={"malformed_after_events": count})
    assert (seen.end, len(seen.events)) == ("closed", len(whole.events))
    assert [place for place, event in enumerate(seen.events) if not is_whole(event)] == [
        count + (dialect == "anthropic" and count == 2)  # the third event there is a ping, which is left alone
    ]
    assert TERMINAL[dialect] in seen.stream


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("kind", ["cut", "end", "stall", "error", "malformed"])
async def test_a_stream_shorter_than_the_faults_count_ends_well(simulator: Simulator, dialect: str, kind: str) -> None:
    seen = await call(simulator, dialect, stream=True, model=f"{kind}-900")
    assert seen.end == "closed"
    assert TERMINAL[dialect] in seen.stream
    assert await outcome(simulator) == "completed"


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize(("kind", "end"), [("cut", "reset"), ("end", "closed"), ("stall", "silent")])
async def test_a_whole_answer_breaks_off_in_its_middle(simulator: Simulator, dialect: str, kind: str, end: str) -> None:
    seen = await call(simulator, dialect, stream=False, model=f"{kind}-1", patience_s=0.5)
    assert (seen.status, seen.end) == (200, end)
    assert len(seen.body) == int(seen.headers["content-length"]) // 2


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_whole_answer_becomes_an_error_or_half_a_body(simulator: Simulator, dialect: str) -> None:
    seen = await call(simulator, dialect, stream=False, model="error-1")
    assert seen.status == DIALECTS[dialect].overloaded
    assert json.loads(seen.body)["error"]
    seen = await call(simulator, dialect, stream=False, model="malformed-1")
    assert (seen.status, len(seen.body)) == (200, int(seen.headers["content-length"]))
    with pytest.raises(json.JSONDecodeError):
        json.loads(seen.body)


EXAMPLES: dict[str, dict[str, Any]] = {
    "status": {"status": 500},
    "reset_before_headers": {"reset_before_headers": True},
    "reply_lost": {"reply_lost": True},
    "silence": {"silence": True},
    **{kind: {kind: 1} for kind in FAULT_KINDS if kind.endswith("_after_events")},
    "named_error": {"named_error": "overloaded"},
    "first_token_s": {"first_token_s": 0.1},
    "content_type": {"content_type": "text/plain"},
    "refuse_prefill": {"refuse_prefill": True},
}


@pytest.mark.parametrize("kind", FAULT_KINDS)
async def test_a_rules_fault_strikes_as_often_as_the_rule_may_and_is_in_the_ledger(kind: str) -> None:
    async with Simulator({"rules": [{"fault": EXAMPLES[kind], "times": 1}]}) as simulator:
        await call(simulator, "openai", stream=True, first_byte_s=1.0, patience_s=0.3)
        await outcome(simulator)
        assert (await call(simulator, "openai", stream=True)).stream.endswith(TERMINAL["openai"])
        assert [(seen.rule, seen.fault) for seen in simulator.requests] == [(1, kind), (None, None)]


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"stats": 1}, "names no kind of fault"),
        ({"status": 200}, "status: must be between 400 and 599"),
        ({"cut_after_events": "x"}, "cut_after_events: expected `int`"),
        (3, "must be a mapping"),
    ],
)
async def test_a_wrong_header_is_refused_in_the_dialect(
    simulator: Simulator, dialect: str, header: Any, problem: str
) -> None:
    seen = await call(simulator, dialect, stream=False, fault=header)
    assert seen.status == 400
    message = json.loads(seen.body)["error"]["message"]
    assert message.startswith("header x-waypost-simulate: ")
    assert problem in message


async def test_closing_the_simulator_ends_what_is_held() -> None:
    async with Simulator() as simulator:
        held = asyncio.create_task(call(simulator, "openai", stream=True, model="stall-1"))
        async with asyncio.timeout(5):
            await simulator.request(1, ended=False)
        started = asyncio.get_running_loop().time()
        await simulator.close()
        assert asyncio.get_running_loop().time() - started < 2
        assert (await held).end in ("closed", "reset")
        assert simulator.requests[0].outcome == "stopped"
