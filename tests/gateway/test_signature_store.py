"""gateway/signature_store.py: tool loops of providers that reason go on, whatever dialect the caller speaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.chat import Message, Part, Reasoning, Refusal, Request, ServerTool, Text, ToolCall, ToolResult, collect
from waypost.codecs import anthropic_messages, gemini, openai_chat, openai_responses
from waypost.codecs.codec import Codec
from waypost.codecs.sse import SseDecoder
from waypost.gateway.signature_store import SignatureStore

Body: TypeAlias = dict[str, Any]

SIGNED = {"anthropic": {"signature": "sig-1"}}
MARK = {"gemini": {"thoughtSignature": "mark-1"}}


def call(call_id: str = "c1", **changes: Any) -> ToolCall:
    return replace(ToolCall(call_id, "get_weather", '{"city":"Oslo"}'), **changes)


def asked(*parts: Part) -> Request:
    """A request with an assistant's turn of these parts."""
    turns = (Message("user", (Text("hi"),)), Message("assistant", parts), Message("tool", (ToolResult("c1", ()),)))
    return Request("m", turns)


def turn_of(request: Request) -> tuple[Part, ...]:
    return request.messages[1].parts


@pytest.fixture
def store() -> SignatureStore:
    return SignatureStore(max_entries=100, max_bytes=100_000)


# --- loops of three turns, on the wire -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Door:
    """A caller's side: a first request, and the request that follows an answer, as that dialect's clients write it."""

    codec: Codec
    first: Body
    follow: Callable[[Body, Body], Body]


@dataclass(frozen=True)
class Provider:
    """A provider's side: two answers with calls of tools, and where a request holds the model's turns."""

    codec: Codec
    answers: tuple[Body, Body]
    said_in_answer: Callable[[Body], list[Any]]
    said_in_request: Callable[[Body], list[Any]]


def follow_chat(request: Body, answer: Body) -> Body:
    message = answer["choices"][0]["message"]
    # What the format promises to take back, and no more.
    calls = [{name: each[name] for name in ("id", "type", "function")} for each in message["tool_calls"]]
    results = [{"role": "tool", "tool_call_id": each["id"], "content": "9 degrees"} for each in calls]
    turn = {"role": "assistant", "content": message.get("content"), "tool_calls": calls}
    return {**request, "messages": [*request["messages"], turn, *results]}


def follow_messages(request: Body, answer: Body) -> Body:
    calls = [block for block in answer["content"] if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": each["id"], "content": "9 degrees"} for each in calls]
    turns = [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results}]
    return {**request, "messages": [*request["messages"], *turns]}


def follow_gemini(request: Body, answer: Body) -> Body:
    content = answer["candidates"][0]["content"]
    calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    results = [{"functionResponse": {**each, "response": {"output": "9 degrees"}}} for each in calls]
    for each in results:
        each["functionResponse"].pop("args", None)
    return {**request, "contents": [*request["contents"], content, {"role": "user", "parts": results}]}


def follow_responses(request: Body, answer: Body) -> Body:
    calls = [item for item in answer["output"] if item["type"] == "function_call"]
    results = [{"type": "function_call_output", "call_id": each["call_id"], "output": "9 degrees"} for each in calls]
    return {**request, "input": [*request["input"], *answer["output"], *results]}


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "get_weather", "parameters": SCHEMA}
ASKED = {"role": "user", "content": "Weather?"}

DOORS = {
    "openai_chat": Door(
        openai_chat.codec,
        {"model": "m", "messages": [ASKED], "tools": [{"type": "function", "function": FUNCTION}]},
        follow_chat,
    ),
    "openai_responses": Door(
        openai_responses.codec,
        {"model": "m", "input": [ASKED], "tools": [{"type": "function", **FUNCTION}]},
        follow_responses,
    ),
    "anthropic_messages": Door(
        anthropic_messages.codec,
        {
            "model": "m",
            "max_tokens": 9,
            "messages": [ASKED],
            "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
        },
        follow_messages,
    ),
    "gemini": Door(
        gemini.codec,
        {
            "model": "m",
            "contents": [{"role": "user", "parts": [{"text": "Weather?"}]}],
            "tools": [{"functionDeclarations": [FUNCTION]}],
        },
        follow_gemini,
    ),
}


def message(number: int, *content: Body) -> Body:
    head = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "m", "content": list(content)}
    return {**head, "stop_reason": "tool_use", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}


def tool_use(number: int) -> Body:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "get_weather", "input": {"city": f"Oslo {number}"}}


def generated(number: int, *parts: Body) -> Body:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "responseId": f"resp{number}", "modelVersion": "m"}


def function_call(number: int, **beside: Any) -> Body:
    return {"functionCall": {"id": f"fn_{number}", "name": "get_weather", "args": {"city": f"Oslo {number}"}}, **beside}


def without_id(part: Body) -> Body:
    call = {name: value for name, value in part["functionCall"].items() if name != "id"}
    return {**part, "functionCall": call}


def response(number: int, *output: Body) -> Body:
    return {"id": f"resp_{number}", "object": "response", "model": "m", "status": "completed", "output": list(output)}


def reasoning_item(number: int, *summary: str) -> Body:
    pieces = [{"type": "summary_text", "text": text} for text in summary]
    return {"id": f"rs_{number}", "type": "reasoning", "summary": pieces, "encrypted_content": f"secret {number}"}


def call_item(number: int) -> Body:
    head = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": "get_weather"}
    return {**head, "arguments": f'{{"city":"Oslo {number}"}}', "status": "completed"}


def spelled_alike(item: Body) -> Body:
    """With the arguments as a value: clients that take them as an object write them anew."""
    return {**item, "arguments": json.loads(item["arguments"])} if "arguments" in item else item


THEIRS = ("reasoning", "function_call")
PROVIDERS = {
    "anthropic": Provider(
        anthropic_messages.codec,
        (
            message(
                1,
                {"type": "thinking", "thinking": "Two places.", "signature": "c2ln MQ=="},
                {"type": "text", "text": "I'll look."},
                tool_use(1),
                tool_use(2),
            ),
            message(
                2,
                {"type": "redacted_thinking", "data": "cmVk"},
                {"type": "thinking", "thinking": "", "signature": "c2ln Mg=="},
                tool_use(3),
            ),
        ),
        lambda answer: [answer["content"]],
        lambda request: [turn["content"] for turn in request["messages"] if turn["role"] == "assistant"],
    ),
    "gemini": Provider(
        gemini.codec,
        (
            generated(
                1,
                {"text": "I'll look."},
                function_call(1, thoughtSignature="c2ln MQ=="),
                function_call(2),
            ),
            generated(2, function_call(3, thoughtSignature="c2ln Mg==")),
        ),
        lambda answer: [answer["candidates"][0]["content"]["parts"]],
        lambda request: [turn["parts"] for turn in request["contents"] if turn["role"] == "model"],
    ),
    "openai_responses": Provider(
        openai_responses.codec,
        (
            response(1, reasoning_item(1, "Two places.", "Both in Norway."), call_item(1), call_item(2)),
            response(2, reasoning_item(2), call_item(3)),
        ),
        lambda answer: [spelled_alike(item) for item in answer["output"]],
        lambda request: [spelled_alike(item) for item in request["input"] if item["type"] in THEIRS],
    ),
}


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_in_three_turns_the_provider_gets_back_what_it_said_whole(
    store: SignatureStore, door: Door, provider: Provider
) -> None:
    """Parallel calls too: signatures, encrypted content and ids stand where they stood, in every turn."""
    body = door.first
    said: list[Any] = []
    for answer in provider.answers:
        decoded = provider.codec.decode_response(json.dumps(answer).encode())
        store.remember("t", decoded.choices[0].parts)
        body = door.follow(body, json.loads(door.codec.encode_response(decoded).body))
        request = door.codec.decode_request(json.dumps(body).encode()).request
        sent = json.loads(provider.codec.encode_request(store.restored("t", request), stream=False).body)
        said += provider.said_in_answer(answer)
        assert provider.said_in_request(sent) == said


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_a_caller_of_the_provider_s_own_dialect_sends_all_itself_and_nothing_is_touched(
    store: SignatureStore, provider: Provider
) -> None:
    door = DOORS[provider.codec.name]
    body = door.first
    for answer in provider.answers:
        store.remember("t", provider.codec.decode_response(json.dumps(answer).encode()).choices[0].parts)
        body = door.follow(body, answer)
        request = door.codec.decode_request(json.dumps(body).encode()).request
        assert store.restored("t", request) is request


def test_without_the_store_the_signed_thinking_is_lost() -> None:
    """What the loops above would be without it: the provider would refuse the second turn."""
    door, provider = DOORS["openai_chat"], PROVIDERS["anthropic"]
    decoded = provider.codec.decode_response(json.dumps(provider.answers[0]).encode())
    body = door.follow(door.first, json.loads(door.codec.encode_response(decoded).body))
    request = door.codec.decode_request(json.dumps(body).encode()).request
    sent = json.loads(provider.codec.encode_request(request, stream=False).body)
    (turn,) = provider.said_in_request(sent)
    assert [block["type"] for block in turn] == ["text", "tool_use", "tool_use"]


@pytest.mark.parametrize("door", [DOORS["openai_chat"], DOORS["anthropic_messages"], DOORS["openai_responses"]])
def test_calls_to_which_gemini_gave_no_id_get_their_signatures_back_too(store: SignatureStore, door: Door) -> None:
    calls = [without_id(function_call(number, thoughtSignature=f"c2ln{number}")) for number in (1, 2)]
    decoded = gemini.codec.decode_response(json.dumps(generated(1, *calls)).encode())
    store.remember("t", decoded.choices[0].parts)
    body = door.follow(door.first, json.loads(door.codec.encode_response(decoded).body))
    request = door.codec.decode_request(json.dumps(body).encode()).request
    sent = json.loads(gemini.codec.encode_request(store.restored("t", request), stream=False).body)
    assert PROVIDERS["gemini"].said_in_request(sent) == [calls]


def test_the_google_signature_in_openai_s_chat_format_comes_back(store: SignatureStore) -> None:
    """Google's servers that speak the chat format carry it as `extra_content`."""
    extra = {"google": {"thought_signature": "c2ln"}}
    wire = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}
    answer = {"choices": [{"message": {"tool_calls": [wire]}, "finish_reason": "tool_calls", "index": 0}]}
    decoded = openai_chat.codec.decode_response(json.dumps(answer).encode())
    store.remember("t", decoded.choices[0].parts)
    door = DOORS["anthropic_messages"]
    body = door.follow(door.first, json.loads(door.codec.encode_response(decoded).body))
    request = store.restored("t", door.codec.decode_request(json.dumps(body).encode()).request)
    sent = json.loads(openai_chat.compatible_codec.encode_request(request, stream=False).body)
    assert sent["messages"][1]["tool_calls"] == [wire]


SSE = """\
data: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"m"}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Two "}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"places."}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln MQ=="}}

data: {"type":"content_block_stop","index":0}

data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"c1","name":"get_weather"}}

data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"city\\":"}}

data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\\"Oslo\\"}"}}

data: {"type":"content_block_stop","index":1}

data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":1}}

data: {"type":"message_stop"}

"""


def test_a_streamed_answer_is_remembered_like_a_whole_one(store: SignatureStore) -> None:
    decoder = anthropic_messages.codec.stream_decoder()
    events = [event for wire in SseDecoder().feed(SSE.encode()) for event in decoder.feed(wire)]
    store.remember("t", collect(events).choices[0].parts)
    request = store.restored("t", asked(ONE, call()))
    sent = json.loads(anthropic_messages.codec.encode_request(request, stream=True).body)
    assert sent["messages"][1]["content"][0] == PROVIDERS["anthropic"].answers[0]["content"][0]


# --- single rules ----------------------------------------------------------------------------------------------------

FIRST, SECOND = Reasoning("one", SIGNED), Reasoning("two", SIGNED)
ONE, TWO = Text("one "), Text("two")


@pytest.mark.parametrize(
    ("answered", "sent", "restored"),
    [
        ([FIRST, ONE], [ONE], [FIRST, ONE]),
        ([ONE, FIRST], [ONE], [ONE, FIRST]),
        ([FIRST, ONE, SECOND, TWO], [ONE, TWO], [FIRST, ONE, SECOND, TWO]),
        ([FIRST, ONE, SECOND, TWO], [Text("one two")], [FIRST, Text("one two"), SECOND]),
        ([FIRST, ONE, SECOND], [], [FIRST, SECOND]),
        ([FIRST, Text(""), SECOND, Refusal("no")], [Refusal("no")], [FIRST, SECOND, Refusal("no")]),
        ([ServerTool("anthropic_messages", {}), FIRST, ONE], [ONE], [FIRST, ONE]),
        ([FIRST, ONE], [Reasoning("one"), ONE], [FIRST, ONE]),
        ([FIRST, SECOND], [Reasoning("one\n\ntwo")], [FIRST, SECOND]),
        ([Reasoning("bare"), FIRST], [Reasoning("bare")], [FIRST]),
        ([Reasoning("bare")], [Reasoning("bare")], [Reasoning("bare")]),
        ([FIRST], [SECOND], [SECOND]),
        ([FIRST, SECOND], [FIRST], [FIRST]),
    ],
)
def test_reasoning_goes_back_to_its_place_unless_the_caller_sent_it(
    store: SignatureStore, answered: list[Part], sent: list[Part], restored: list[Part]
) -> None:
    store.remember("t", [*answered, call()])
    assert turn_of(store.restored("t", asked(*sent, call()))) == (*restored, call())


def test_each_call_gets_the_reasoning_that_came_before_it(store: SignatureStore) -> None:
    store.remember("t", [FIRST, call("a"), call("b"), SECOND, call("c"), Reasoning("after", SIGNED)])
    assert turn_of(store.restored("t", asked(call("a"), call("b"), call("c")))) == (
        *(FIRST, call("a"), call("b"), SECOND, call("c")),
    )
    assert turn_of(store.restored("t", asked(call("c"), ONE))) == (SECOND, call("c"), ONE)


def test_opaque_data_of_a_call_is_completed_and_the_caller_s_own_wins(store: SignatureStore) -> None:
    store.remember("t", [call(opaque={"gemini": {"thoughtSignature": "kept", "more": 1}})])
    mine = {"gemini": {"thoughtSignature": "mine"}, "anthropic": {"cache_control": {}}}
    (found,) = turn_of(store.restored("t", asked(call(opaque=mine))))
    assert found == call(opaque={"gemini": {"thoughtSignature": "mine", "more": 1}, "anthropic": {"cache_control": {}}})


@pytest.mark.parametrize(
    ("sent", "same"),
    [
        (call(), True),
        (call(arguments='{ "city" : "Oslo" }'), True),
        (call(arguments='{"city":"Os\\u006co"}'), True),
        (call(arguments='{"city":"Rome"}'), False),
        (call(arguments="Oslo"), False),
        (call(arguments="\ud800"), False),
        (call(arguments=""), False),
        (call(name="get_time"), False),
        (call("c2"), False),
    ],
)
def test_only_the_very_call_that_was_made_is_completed(store: SignatureStore, sent: ToolCall, same: bool) -> None:
    """Made-up ids come again: a signature on another call would make the provider refuse the request."""
    store.remember("t", [FIRST, call(opaque=MARK)])
    request = asked(sent)
    restored = store.restored("t", request)
    assert turn_of(restored) == ((FIRST, replace(sent, opaque=MARK)) if same else (sent,))
    assert (restored is request) is not same


def test_no_arguments_and_an_empty_object_are_the_same_call(store: SignatureStore) -> None:
    store.remember("t", [call(arguments="", opaque=MARK)])
    assert turn_of(store.restored("t", asked(call(arguments="{}")))) == (call(arguments="{}", opaque=MARK),)


def test_what_a_tenant_s_provider_said_is_no_other_tenant_s(store: SignatureStore) -> None:
    store.remember("t", [FIRST, call()])
    request = asked(call())
    assert store.restored("u", request) is request


def test_only_the_model_s_own_turns_are_completed(store: SignatureStore) -> None:
    store.remember("t", [FIRST, call()])
    request = Request("m", (Message("user", (call(),)),))
    assert store.restored("t", request) is request


def test_an_id_that_comes_again_stands_for_the_newer_call(store: SignatureStore) -> None:
    store.remember("t", [FIRST, call()])
    store.remember("t", [SECOND, call()])
    assert turn_of(store.restored("t", asked(call()))) == (SECOND, call())
    store.remember("t", [call()])
    assert (len(store), store.size_bytes) == (0, 0)


def test_answers_without_anything_to_give_back_take_no_memory(store: SignatureStore) -> None:
    store.remember("t", [Reasoning("bare"), ONE, call(), FIRST])
    assert (len(store), store.size_bytes) == (0, 0)


def test_the_least_recently_used_call_goes_first() -> None:
    store = SignatureStore(max_entries=2, max_bytes=100_000)
    for call_id in ("a", "b"):
        store.remember("t", [call(call_id, opaque=MARK)])
    store.restored("t", asked(call("a")))
    store.remember("t", [call("c", opaque=MARK)])
    restored = store.restored("t", asked(call("a"), call("b"), call("c")))
    assert [bool(part.opaque) for part in turn_of(restored) if isinstance(part, ToolCall)] == [True, False, True]


def test_one_answer_over_the_bound_is_not_kept() -> None:
    store = SignatureStore(max_entries=10, max_bytes=5_000)
    store.remember("t", [call("a", opaque=MARK)])
    store.remember("t", [Reasoning("x" * 6_000, SIGNED), call("b")])
    assert store.size_bytes <= 5_000
    request = asked(call("b"))
    assert store.restored("t", request) is request


SIZES = st.tuples(st.sampled_from("abcdef"), st.integers(0, 900), st.booleans())


@given(st.lists(SIZES, max_size=60))
def test_the_weight_is_the_sum_and_under_both_bounds(answers: list[tuple[str, int, bool]]) -> None:
    store = SignatureStore(max_entries=4, max_bytes=4_000)
    for call_id, size, nested in answers:
        data: dict[str, Any] = {"items": [{"text": "x" * size}]} if nested else {"text": "x" * size}
        store.remember("t", [Reasoning("", {"openai_responses": data}), call(call_id)])
        store.restored("t", asked(call("a")))
        assert len(store) <= 4
        assert store.size_bytes == sum(kept.size_bytes for kept in store._kept.values()) <= 4_000
        assert store.size_bytes >= sum(
            len(json.dumps(kept.thoughts[0].reasoning.opaque)) for kept in store._kept.values()
        )


# --- what is written down for another process ------------------------------------------------------------------------


def test_what_was_written_down_is_known_again_elsewhere(store: SignatureStore) -> None:
    """The calls that were named and no others, to the tenant that is named and no other."""
    thought = Reasoning("Hm.", SIGNED)
    store.remember("t", [thought, call(opaque=MARK)])
    store.remember("t", [call("c2", opaque=MARK)])
    written = store.written_down("t", ["c1", "unheard-of"])
    assert written is not None
    assert "c2" not in written
    assert store.written_down("t", ["unheard-of"]) is None
    assert store.written_down("u", ["c1"]) is None
    other = SignatureStore(max_entries=100, max_bytes=100_000)
    other.put_back("t", written)
    assert turn_of(other.restored("t", asked(call()))) == (thought, call(opaque=MARK))
    assert turn_of(other.restored("u", asked(call()))) == (call(),)
    again = other.size_bytes
    other.put_back("t", written)
    assert (len(other), other.size_bytes) == (1, again)


def test_what_was_written_down_keeps_to_the_bounds(store: SignatureStore) -> None:
    for number in range(50):
        store.remember("t", [Reasoning("Hm.", SIGNED), call(f"c{number}")])
    written = store.written_down("t", [f"c{number}" for number in range(50)])
    assert written is not None
    small = SignatureStore(max_entries=10, max_bytes=100_000)
    small.put_back("t", written)
    assert len(small) == 10


def test_what_another_version_wrote_down_is_left_alone(store: SignatureStore) -> None:
    store.put_back("t", '{"c1": {"name": 1}}')
    assert len(store) == 0
