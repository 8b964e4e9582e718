"""The codec on complete wire bodies: an answer and its stream say the same, and the SDK reads what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import TypeAdapter

from waypost.chat import (
    Citation,
    Event,
    Failed,
    Grammar,
    Reasoning,
    ServerTool,
    Text,
    ToolCall,
    Unknown,
    Usage,
    collect,
)
from waypost.codecs.openai_responses import codec
from waypost.codecs.sse import SseDecoder

FOLDER = Path(__file__).parent.parent / "fixtures" / "openai_responses"
PAIRS = sorted(path.stem for path in FOLDER.glob("*.sse"))
REQUESTS = sorted(path.name for path in FOLDER.glob("*.request.json"))
KNOWN_TO_SDK = [name for name in PAIRS if name != "mcp_and_future"]
SDK_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def decode_stream(body: bytes, *, size: int | None = None) -> list[Event]:
    """The events of a stream whose bytes come in pieces of `size`, each checked against the grammar."""
    sse, decoder, grammar = SseDecoder(), codec.stream_decoder(), Grammar()
    events: list[Event] = []
    step = size or len(body) or 1
    for at in range(0, len(body), step):
        for event in sse.feed(body[at : at + step]):
            events += decoder.feed(event)
    events += decoder.finish()
    for canonical in events:
        grammar.check(canonical)
    assert grammar.complete or isinstance(events[-1], Failed)
    return events


def encode_stream(events: list[Event]) -> bytes:
    encoder = codec.stream_encoder()
    wire = b"".join(encoder.encode(event) for event in events) + encoder.finish()
    assert encoder.losses == ()
    return wire


def wire_events(stream: bytes) -> list[dict[str, Any]]:
    """The JSON of every event; each is named in its `event:` line, and numbered."""
    found = SseDecoder().feed(stream)
    events = [json.loads(event.data) for event in found]
    assert [event["type"] for event in events] == [event.event for event in found]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def test_every_required_case_has_a_pair() -> None:
    """The cases that the format's laws must hold on are all there, each as a body and as a stream."""
    wanted = {"text", "tool_call", "parallel_tool_calls", "custom_tool", "reasoning", "reasoning_encrypted", "refusal"}
    wanted |= {"reasoning_raw", "incomplete", "content_filter", "web_search", "usage_cached", "logprobs"}
    assert wanted <= set(PAIRS)
    assert all((FOLDER / f"{name}.json").exists() for name in PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_collects_to_the_whole_answer(name: str) -> None:
    assert collect(decode_stream(read(f"{name}.sse"))) == codec.decode_response(read(f"{name}.json"))


@pytest.mark.parametrize("name", PAIRS)
def test_any_split_of_the_bytes_gives_the_same_events(name: str) -> None:
    """Split inside a character, a line end or a field: the events are those of the whole."""
    body = read(f"{name}.sse")
    whole = decode_stream(body)
    for size in (1, 3, 64, 1000):
        assert decode_stream(body, size=size) == whole
    assert decode_stream(body.replace(b"\n", b"\r\n"), size=5) == whole


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_that_lost_its_deltas_says_the_same(name: str) -> None:
    """The item that ends tells all of it again, and so does the last response: nothing depends on the deltas alone."""
    blocks = read(f"{name}.sse").split(b"\n\n")
    whole = codec.decode_response(read(f"{name}.json"))
    bare = [block for block in blocks if b".delta\n" not in block and b"annotation.added" not in block]
    assert collect(decode_stream(b"\n\n".join(bare))) == whole
    assert collect(decode_stream(b"\n\n".join([blocks[0], *blocks[-2:]]))) == whole
    assert collect(decode_stream(b"\n\n".join(blocks[-2:]))) == whole


@pytest.mark.parametrize("name", PAIRS)
def test_a_whole_answer_round_trips(name: str) -> None:
    """Decoded, encoded and decoded again it is the same, without a loss."""
    whole = codec.decode_response(read(f"{name}.json"))
    encoded = codec.encode_response(whole)
    assert encoded.losses == ()
    assert codec.decode_response(encoded.body) == whole


@pytest.mark.parametrize("name", PAIRS)
def test_a_whole_answer_is_written_as_it_was_read(name: str) -> None:
    """Not only the meaning but the JSON itself comes back, but for null members and empty log-probabilities."""
    sent = json.loads(read(f"{name}.json"))
    written = json.loads(codec.encode_response(codec.decode_response(read(f"{name}.json"))).body)
    assert written["output"] == without_empty_logprobs(sent["output"])
    assert present(written) == {**present(sent), "output": written["output"]}


def present(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def without_empty_logprobs(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for item in items:
        for part in item.get("content", []):
            if part.get("logprobs") == []:
                del part["logprobs"]
    return items


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_round_trips(name: str) -> None:
    """Decoded, encoded and decoded again it collects to the same answer."""
    events = decode_stream(read(f"{name}.sse"))
    assert collect(decode_stream(encode_stream(events))) == collect(events)


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_is_written_as_it_was_read(name: str) -> None:
    """The same events in the same order, the last with the same response; not those of built-in tools at work."""
    sent = [event for event in wire_events(read(f"{name}.sse")) if "_call.in" not in event["type"]]
    sent = [
        event for event in sent if "_call.searching" not in event["type"] and "_call.completed" not in event["type"]
    ]
    written = wire_events(encode_stream(decode_stream(read(f"{name}.sse"))))
    assert [place(event) for event in written] == [place(event) for event in sent]
    assert present(written[-1]["response"]) == {
        **present(sent[-1]["response"]),
        "output": without_empty_logprobs(sent[-1]["response"]["output"]),
    }


def place(event: dict[str, Any]) -> dict[str, Any]:
    names = ("type", "item_id", "output_index", "content_index", "summary_index", "annotation_index", "delta", "text")
    return {name: event[name] for name in (*names, "arguments", "input", "refusal", "annotation") if name in event}


@pytest.mark.parametrize("name", KNOWN_TO_SDK)
def test_the_sdk_reads_what_is_written(name: str) -> None:
    """Whole and event by event, by the models of the official client."""
    SdkResponse.model_validate_json(codec.encode_response(codec.decode_response(read(f"{name}.json"))).body)
    for event in SseDecoder().feed(encode_stream(decode_stream(read(f"{name}.sse")))):
        SDK_EVENTS.validate_json(event.data)


@pytest.mark.parametrize("name", PAIRS)
def test_a_stream_cut_before_its_end_fails_and_never_finishes(name: str) -> None:
    """Whatever event the bytes end after, without the terminal response there is no Finish."""
    events = read(f"{name}.sse").split(b"\n\n")
    for cut in range(len(events) - 1):
        last = decode_stream(b"\n\n".join(events[:cut]) + b"\n\n")[-1]
        assert isinstance(last, Failed) == (cut < len(events) - 1)
    assert not isinstance(decode_stream(read(f"{name}.sse"))[-1], Failed)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_round_trips(name: str) -> None:
    """What is decoded from a caller's body reaches the provider whole: nothing is lost, nothing changed."""
    decoded = codec.decode_request(read(name))
    encoded = codec.encode_request(decoded.request, stream=decoded.stream)
    assert encoded.losses == ()
    assert codec.decode_request(encoded.body) == decoded


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_written_as_it_was_read(name: str) -> None:
    """Not only the meaning but the JSON itself comes back; `user` under its new name."""
    sent = json.loads(read(name))
    decoded = codec.decode_request(read(name))
    written = json.loads(codec.encode_request(decoded.request, stream=decoded.stream).body)
    if "user" in sent:
        sent["safety_identifier"] = sent.pop("user")
    assert written == sent


@pytest.mark.parametrize("name", [name for name in REQUESTS if name.startswith(("text", "stored"))])
def test_the_sdk_knows_each_member_of_a_request(name: str) -> None:
    decoded = codec.decode_request(read(name))
    params = ResponseCreateParamsStreaming if decoded.stream else ResponseCreateParamsNonStreaming
    adapter: TypeAdapter[Any] = TypeAdapter(params)
    adapter.validate_json(codec.encode_request(decoded.request, stream=decoded.stream).body)


def test_the_cases_say_what_the_wire_says() -> None:
    """The values themselves, so that two equal mistakes cannot hide each other."""
    whole = codec.decode_response(read("text.json"))
    assert whole.text == "The capital of France is Paris. 🇫🇷 C\u2019est tout."
    own = {"id": "msg_68a1", "item": {"status": "completed"}}
    assert whole.choices[0].parts == (Text(whole.text, (), {"openai_responses": own}),)
    assert (whole.choices[0].reason, whole.choices[0].raw_reason, whole.created) == ("stop", "completed", 1762790011)
    assert whole.usage == Usage(
        input_tokens=14,
        input_cache_read_tokens=0,
        input_cache_write_5m_tokens=0,
        output_tokens=12,
        output_reasoning_tokens=0,
        service_tier="default",
    )


def test_calls_reasoning_and_citations_are_where_other_formats_look_for_them() -> None:
    calls = codec.decode_response(read("parallel_tool_calls.json")).choices[0]
    assert [(part.call_id, part.arguments) for part in calls.parts if isinstance(part, ToolCall)] == [
        ("call_p1", '{"city":"Paris"}'),
        ("call_p2", '{"city":"Rome"}'),
    ]
    assert calls.reason == "tool_calls"
    thought = codec.decode_response(read("reasoning.json")).choices[0].parts
    assert [type(part) for part in thought] == [Reasoning, Reasoning, Text]
    assert thought[1] == Reasoning(
        "**Answering**\n\nSo 9.9 is larger.",
        {
            "openai_responses": {
                "id": "rs_68e1",
                "item": {"encrypted_content": "gAAAAABoZW5jcnlwdGVkLXJlYXNvbmluZw=="},
            }
        },
    )
    searched = codec.decode_response(read("web_search.json")).choices[0].parts
    assert isinstance(searched[0], ServerTool)
    assert isinstance(searched[1], Text)
    assert [type(citation) for citation in searched[1].citations] == [Citation, Citation]
    future = codec.decode_response(read("mcp_and_future.json")).choices[0].parts
    assert [type(part) for part in future] == [ServerTool, Unknown, Text]
    assert codec.decode_response(read("incomplete.json")).choices[0].reason == "length"
    assert codec.decode_response(read("content_filter.json")).choices[0].reason == "content_filter"
    logprobs = codec.decode_response(read("logprobs.json")).choices[0].logprobs
    assert logprobs is not None
    assert [token["token"] for token in logprobs["content"]] == ["Yes", "."]
