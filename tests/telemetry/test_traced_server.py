"""A real server between a caller with a trace of his own, the simulator, and a collector."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.simulated import provider, serving
from tests.telemetry.receiver import Receiver, Seen, receiving

from waypost.simulator import Fault, Match, Pacing, Reply, Rule, Script, SeenRequest, Simulator, SlowFirstToken
from waypost.simulator.faults import CutAfter, NamedError


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans do not wait for long."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1,other=2"}
PROMPT = "the prompt that nobody may read"
ANSWER = "the answer that nobody may read"
KEYS = ("sk-first-secret-key", "sk-second-secret-key")


@dataclass
class House:
    """All three."""

    client: httpx.AsyncClient
    simulator: Simulator
    receiver: Receiver

    def sent(self) -> list[SeenRequest]:
        """What providers were asked."""
        return list(self.simulator.requests)

    def request(self) -> Seen:
        """The one request's span, when it has come."""
        self.receiver.until(lambda it: any(span.kind == "server" for span in it.spans))
        (request,) = [span for span in self.receiver.spans if span.kind == "server"]
        return request

    def calls(self) -> list[Seen]:
        """The spans of its calls, in order."""
        self.request()
        return sorted((span for span in self.receiver.spans if span.kind == "client"), key=lambda it: it.started_ns)


@asynccontextmanager
async def house(
    tmp_path: Path, fault: Fault | None = None, policy: Mapping[str, Any] | None = None, **otlp: Any
) -> AsyncIterator[House]:
    """The first provider has the fault, the second answers."""
    reply = Reply(text=ANSWER)
    rules = (Rule(Match(key=KEYS[0]), reply, fault=fault), Rule(reply=reply))
    async with Simulator(Script(rules=rules, pacing=Pacing(token_interval_s=0.005))) as simulator:
        with receiving() as receiver:
            settings = {
                "data_dir": tmp_path,
                "providers": {
                    name: {**provider("chat", simulator), "api_key": key}
                    for name, key in zip(("first", "second"), KEYS, strict=True)
                },
                "routes": {
                    "smart": {
                        "targets": ["first/gpt-5-mini", "second/gpt-5"],
                        "policy": {"max_retries": 0, "recover": False, **(policy or {})},
                    }
                },
                "telemetry": {"otlp": {"endpoint": receiver.url, "metrics": False, **otlp}},
            }
            with serving(settings) as url:
                async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                    yield House(client, simulator, receiver)


async def ask(house: House, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
    """One question, with whatever else."""
    headers = more.pop("headers", CALLER)
    body = {"model": "smart", "messages": [{"role": "user", "content": PROMPT}], **more}
    return await house.client.post(path, json=body, headers=headers)


async def test_fallback(tmp_path: Path) -> None:
    """One span for the request below the caller's, two below it for the calls, known to the providers by their ids."""
    async with house(tmp_path, NamedError("overloaded")) as it:
        answer = (await ask(it)).json()
        request, (failed, answered) = it.request(), it.calls()
        first, second = it.sent()
    assert (request.trace_id, request.parent_id, request.state) == (TRACE, PARENT, CALLER["tracestate"])
    assert request.attributes["waypost.route"] == "smart"
    assert request.attributes["http.response.status_code"] == 200
    for span, seen in ((failed, first), (answered, second)):
        assert (span.trace_id, span.parent_id) == (TRACE, request.span_id)
        assert seen.headers["traceparent"] == f"00-{TRACE}-{span.span_id}-01"
        assert seen.headers["tracestate"] == CALLER["tracestate"]
        assert request.started_ns <= span.started_ns <= span.ended_ns <= request.ended_ns + 2_000_000
    assert len({request.span_id, failed.span_id, answered.span_id, PARENT}) == 4
    assert (failed.name, failed.attributes["error.type"]) == ("chat gpt-5-mini", "provider_overloaded")
    assert failed.failed
    assert not answered.failed
    assert answered.attributes["gen_ai.usage.input_tokens"] == answer["usage"]["prompt_tokens"]
    assert answered.attributes["gen_ai.usage.output_tokens"] == answer["usage"]["completion_tokens"]
    assert answered.attributes["gen_ai.response.model"] == answer["model"]
    assert answered.attributes["server.address"] == "127.0.0.1"
    assert (answered.attributes["waypost.provider"], answered.attributes["gen_ai.provider.name"]) == (
        "second",
        "openai",
    )


async def test_nothing_secret(tmp_path: Path) -> None:
    """Neither keys nor prompts nor answers nor a provider's error text are in what the collector gets."""
    async with house(tmp_path, NamedError("overloaded")) as it:
        await ask(it, headers={**CALLER, "authorization": "Bearer callers-own-secret"})
        await ask(it, stream=True)
        it.receiver.until(lambda receiver: len(receiver.named("POST /v1/chat/completions")) == 2)
        told = str(it.receiver.spans)
    for secret in (*KEYS, PROMPT, ANSWER, "callers-own-secret", "Overloaded"):
        assert secret not in told


async def test_stream(tmp_path: Path) -> None:
    """The call's span lasts as long as the stream, and says when the first token came."""
    async with house(tmp_path, SlowFirstToken(0.1)) as it:
        reply = await ask(it, stream=True, stream_options={"include_usage": True})
        usage = next(
            event["usage"]
            for line in reply.text.split("\n\n")
            if line.startswith("data: {") and (event := json.loads(line[6:])).get("usage")
        )
        (call,) = it.calls()
    assert call.attributes["gen_ai.request.stream"] is True
    assert call.attributes["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    ((name, at_ns),) = call.events
    assert name == "waypost.first_token"
    assert call.started_ns + 90_000_000 <= at_ns <= call.ended_ns
    assert call.attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx((at_ns - call.started_ns) / 1e9)


async def test_broken_stream(tmp_path: Path) -> None:
    """A stream that breaks is a failure of the call and of the request, though its status was 200."""
    async with house(tmp_path, CutAfter(3)) as it:
        await ask(it, stream=True)
        request, (call,) = it.request(), it.calls()
    assert (request.failed, call.failed) == (True, True)
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["error.type"] == call.attributes["error.type"] == "provider_connection_lost"


async def test_hedge(tmp_path: Path) -> None:
    """Of two calls beside each other each has its own span, and is named to its own provider."""
    async with house(tmp_path, SlowFirstToken(5.0), {"hedge_after_s": 0.05}) as it:
        await ask(it)
        slow, quick = it.calls()
        seen = it.sent()
    assert [each.headers["traceparent"].split("-")[2] for each in seen] == [slow.span_id, quick.span_id]
    assert (slow.attributes["waypost.attempt.outcome"], quick.attributes["waypost.attempt.outcome"]) == (
        "lost",
        "answered",
    )


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        (
            "/v1/embeddings",
            {"model": "first/text-embedding-3-small", "input": PROMPT},
            "embeddings text-embedding-3-small",
        ),
        (
            "/v1/messages",
            {"model": "second/gpt-5", "max_tokens": 50, "messages": [{"role": "user", "content": PROMPT}]},
            "chat gpt-5",
        ),
        (
            "/providers/second/chat/completions",
            {"model": "gpt-5", "messages": [{"role": "user", "content": PROMPT}]},
            "chat gpt-5",
        ),
    ],
)
async def test_other_doors(tmp_path: Path, path: str, body: Mapping[str, Any], name: str) -> None:
    """At each door calls have spans by the same conventions, with the provider's own counts."""
    async with house(tmp_path) as it:
        reply = await it.client.post(path, json=body, headers=CALLER)
        assert reply.status_code == 200, reply.text
        (call,) = it.calls()
        (seen,) = it.sent()
    assert call.name == name
    assert seen.headers["traceparent"] == f"00-{TRACE}-{call.span_id}-01"
    assert call.attributes["gen_ai.usage.input_tokens"] > 0


@pytest.mark.parametrize("parent", ["", "garbage", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"])
async def test_own_trace(tmp_path: Path, parent: str) -> None:
    """Without a caller's trace, or with one that nobody can read, a new one begins."""
    async with house(tmp_path) as it:
        await ask(it, headers={"traceparent": parent, "tracestate": "vendor=1"} if parent else {})
        request, (call,) = it.request(), it.calls()
        (seen,) = it.sent()
    assert (request.parent_id, request.state) == ("", "")
    assert request.trace_id not in (TRACE, "0" * 32)
    assert seen.headers["traceparent"] == f"00-{request.trace_id}-{call.span_id}-01"
    assert "tracestate" not in seen.headers


async def test_not_kept(tmp_path: Path) -> None:
    """A trace that is not kept says so to whoever is called; one whose caller keeps it is kept all the same."""
    async with house(tmp_path, sample_ratio=0) as it:
        await ask(it, headers={})
        await ask(it, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        await ask(it)
        it.receiver.until(lambda receiver: receiver.spans)
        seen = it.sent()
    assert {span.trace_id for span in it.receiver.spans} == {TRACE}
    assert len(it.receiver.spans) == 2
    assert [each.headers["traceparent"][-2:] for each in seen] == ["00", "00", "01"]


@pytest.mark.parametrize(
    ("otlp", "told"),
    [
        ({}, {"first", "second"}),
        ({"propagate": "none"}, set()),
        ({"propagate": "none", "propagate_to": ["second"]}, {"second"}),
        ({"propagate": "all"}, {"first", "second"}),
    ],
)
async def test_who_is_told(tmp_path: Path, otlp: Mapping[str, Any], told: set[str]) -> None:
    """Only providers whom the settings mean are told of the trace."""
    async with house(tmp_path, NamedError("overloaded"), **otlp) as it:
        await ask(it)
        it.calls()
        seen = dict(zip(("first", "second"), it.sent(), strict=True))
    assert {name for name, each in seen.items() if "traceparent" in each.headers} == told


async def test_same_bytes(tmp_path: Path) -> None:
    """Traced or not, a provider of the same format gets the same body, and the caller the same answer."""
    async with house(tmp_path) as it:
        await ask(it, headers={})
        plain = it.sent()[0]
        await ask(it)
        with_trace = it.sent()[1]
    assert plain.body_sha256 == with_trace.body_sha256
    assert set(with_trace.headers) - set(plain.headers) == {"tracestate"}
    async with house(tmp_path / "off", endpoint=None) as it:
        await ask(it)
        (untraced,) = it.sent()
    assert untraced.body_sha256 == plain.body_sha256
    assert set(plain.headers) - set(untraced.headers) == {"traceparent"}


async def test_off(tmp_path: Path) -> None:
    """Without an address nothing is sent anywhere, and providers hear nothing of the caller's trace."""
    async with house(tmp_path, endpoint=None) as it:
        assert (await ask(it)).status_code == 200
        (seen,) = it.sent()
    assert it.receiver.requests == []
    assert "traceparent" not in seen.headers
    assert "tracestate" not in seen.headers


async def test_probes(tmp_path: Path) -> None:
    """What is asked for every few seconds fills no trace; an unknown path is told by its method alone."""
    async with house(tmp_path) as it:
        await it.client.get("/health")
        await it.client.get("/ready")
        await it.client.get("/nobody/knows/42")
        assert it.request().name == "GET"


async def test_collector_is_silent(tmp_path: Path) -> None:
    """While the collector does not answer, requests are answered as ever, and the server ends in its time."""
    async with house(tmp_path) as it:
        it.receiver.hangs.set()
        for _ in range(5):
            assert (await ask(it)).status_code == 200
        it.receiver.until(lambda receiver: receiver.requests)
        assert (await ask(it)).json()["choices"][0]["message"]["content"] == ANSWER
        assert it.receiver.spans == []


async def test_loss_is_counted(tmp_path: Path) -> None:
    """How much the collector was not told of stands at /metrics, where the collector is not needed to read it."""
    async with house(tmp_path) as it:
        it.receiver.status = 400
        await ask(it)
        it.receiver.until(lambda receiver: receiver.requests)
        lost = 'waypost_telemetry_lost_total{reason="not_taken"} 1.0'
        for _ in range(200):
            told = (await it.client.get("/metrics")).text
            if lost in told:
                break
            await asyncio.sleep(0.02)
        assert lost in told
        assert 'waypost_telemetry_lost_total{reason="queue_full"} 0.0' in told


@pytest.mark.parametrize("stream", [False, True])
async def test_content(tmp_path: Path, stream: bool) -> None:
    """Prompts and answers are told if the settings ask for it, without their secrets, by the conventions' schema."""
    async with house(tmp_path, content=True) as it:
        said = f"{PROMPT}; my key is sk-proj-abcdef0123456789"
        await ask(it, stream=stream, messages=[{"role": "user", "content": said}])
        request = it.request()
        stored = await it.client.get("/api/admin/requests")
    (asked,) = json.loads(request.attributes["gen_ai.input.messages"])
    assert asked["role"] == "user"
    ((part),) = asked["parts"]
    assert part["type"] == "text"
    assert part["content"].startswith(PROMPT)
    assert "sk-proj" not in str(it.receiver.spans)
    assert json.loads(request.attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": ANSWER}], "finish_reason": "stop"}
    ]
    assert PROMPT not in stored.text


async def test_content_at_any_door(tmp_path: Path) -> None:
    """Where the answer has no format that could be read, it is told as it is; what is not kept holds nothing."""
    async with house(tmp_path, content=True) as it:
        await it.client.post("/api/ai/generate", json={"prompt": PROMPT, "model": "second/gpt-5"}, headers=CALLER)
        request = it.request()
    assert PROMPT in request.attributes["gen_ai.input.messages"]
    assert ANSWER in request.attributes["gen_ai.output.messages"]
