"""Answers retold under another id, told again as streams, and their items as input of further requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tests.codecs.test_openai_responses_laws import ANY_ANSWERS, LIMITS

from waypost.chat import Response, collect
from waypost.codecs.openai_responses import codec
from waypost.codecs.openai_responses.continuing import (
    again,
    completed,
    items_of,
    listed,
    lost_thoughts,
    refers,
    seals,
    wanted_ids,
    with_ids,
)
from waypost.codecs.openai_responses.replay import replayed
from waypost.codecs.openai_responses.retelling import Ending, Identity, Retelling, stored_form, told_form
from waypost.codecs.sse import SseDecoder, encode_event

FIXTURES = Path(__file__).parents[1] / "fixtures" / "openai_responses"
WHOLE = sorted(path for path in FIXTURES.glob("*.json") if not path.name.endswith(".request.json"))
STREAMS = sorted(FIXTURES.glob("*.sse"))
OURS = Identity("resp_ours", "resp_before")
SDK_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"}
MADE_ID = "msg_waypost_0123_0"


def named(path: Path) -> str:
    return path.stem


def retold(raw: bytes, identity: Identity = OURS, *, store: bool = True, size: int | None = None) -> bytes:
    """A stream as it is told, whose bytes come in pieces of that size."""
    retelling = Retelling(identity)
    told = b""
    for start in range(0, len(raw), size or len(raw)):
        for piece in retelling.feed(raw[start : start + (size or len(raw))]):
            told += retelling.ended(piece, store=store) if isinstance(piece, Ending) else piece
    return told


def events(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in SseDecoder().feed(raw)]


def without_identity(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name not in ("id", "store", "previous_response_id")}


def unsealed(response: dict[str, Any]) -> dict[str, Any]:
    output = [{name: item[name] for name in item if name != "encrypted_content"} for item in response["output"]]
    return {**response, "output": output}


# Retelling


@pytest.mark.parametrize("path", WHOLE, ids=named)
def test_a_whole_answer_keeps_all_but_its_identity(path: Path) -> None:
    body = path.read_bytes()
    told, stored = (json.loads(each) for each in (told_form(body, OURS, store=True), stored_form(body, OURS)))
    for each in (told, stored):
        assert (each["id"], each["previous_response_id"], each["store"]) == ("resp_ours", "resp_before", True)
    assert without_identity(stored) == without_identity(json.loads(body))
    assert without_identity(told) == without_identity(unsealed(json.loads(body)))
    assert json.loads(told_form(body, OURS, store=False))["store"] is False


@pytest.mark.parametrize("path", STREAMS, ids=named)
@pytest.mark.parametrize("size", [None, 1, 1000])
def test_a_stream_keeps_all_but_its_identity(path: Path, size: int | None) -> None:
    raw = path.read_bytes()
    before, after = events(raw), events(retold(raw, size=size))
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        if "response" in new:
            assert new["response"]["id"] == "resp_ours"
            assert without_identity(new["response"]) == without_identity(unsealed(old["response"]))
        else:
            assert new.keys() == old.keys()
        assert (new["type"], new.get("sequence_number")) == (old["type"], old.get("sequence_number"))


def test_what_is_not_about_the_response_keeps_its_bytes() -> None:
    """Deltas, which are most of a stream, and words that only look like members."""
    deltas = [
        encode_event(msgspec.json.encode({"type": "response.output_text.delta", "delta": text}), event="x")
        for text in ('say "response" and "item"', "Grüße", '{"response": {}}')
    ]
    raw = b": keep-alive\n\n" + b"".join(deltas)
    assert retold(raw) == raw


@pytest.mark.parametrize("sealed", [False, True])
def test_encrypted_reasoning_is_told_only_to_those_who_asked(sealed: bool) -> None:
    item = {"type": "response.output_item.done", "output_index": 0, "item": THOUGHT}
    end = {"type": "response.completed", "response": {"id": "x", "status": "completed", "output": [THOUGHT]}}
    raw = b"".join(encode_event(msgspec.json.encode(each), event=str(each["type"])) for each in (item, end))
    told = retold(raw, Identity("resp_ours", None, sealed=sealed))
    assert (b"c2VhbGVk" in told) is sealed
    [ending] = [piece for piece in Retelling(OURS).feed(raw) if isinstance(piece, Ending)]
    assert b"c2VhbGVk" in ending.response, "what is stored has it in any case"


def test_only_an_answer_that_has_ended_well_can_be_stored() -> None:
    """What failed says that it is not."""
    ends = {}
    for kind in ("response.completed", "response.incomplete", "response.failed", "response.created"):
        raw = encode_event(msgspec.json.encode({"type": kind, "response": {"id": "x", "store": True}}), event=kind)
        ends[kind] = any(isinstance(piece, Ending) for piece in Retelling(OURS).feed(raw))
        if not ends[kind]:
            assert events(retold(raw))[0]["response"]["store"] is (kind == "response.created")
    assert [kind for kind in ends if ends[kind]] == ["response.completed", "response.incomplete"]


def test_an_event_without_a_name_is_known_by_its_type() -> None:
    raw = b'data: {"type":"response.completed","response":{"id":"x","output":[]}}\n\n'
    assert events(retold(raw))[0]["response"]["id"] == "resp_ours"


def test_half_a_surrogate_pair_is_no_end() -> None:
    raw = b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"x","note":"\\ud800"}}\n\n'
    assert events(retold(raw))[0]["response"]["id"] == "resp_ours"


# Replay


@pytest.mark.parametrize("path", WHOLE, ids=named)
def test_a_replay_says_what_the_answer_says(path: Path) -> None:
    """To this decoder, and to the official client by its types."""
    body = path.read_bytes()
    told = b"".join(replayed(json.loads(body)))
    decoder = codec.stream_decoder()
    decoded = [made for event in SseDecoder().feed(told) for made in decoder.feed(event)]
    assert collect(decoded) == codec.decode_response(body)
    assert [event["sequence_number"] for event in events(told)] == list(range(len(events(told))))
    assert events(told)[-1]["response"] == json.loads(body)


@LIMITS
@given(ANY_ANSWERS)
def test_a_replay_of_any_answer_says_what_it_says(response: Response) -> None:
    body = codec.encode_response(response).body
    decoder = codec.stream_decoder()
    told = b"".join(replayed(json.loads(body)))
    decoded = [made for event in SseDecoder().feed(told) for made in decoder.feed(event)]
    assert collect(decoded) == codec.decode_response(body)
    assert b"".join(replayed(json.loads(body))) == told


@pytest.mark.parametrize("name", ["text", "tool_call", "refusal", "reasoning", "custom_tool", "web_search"])
def test_a_replay_is_what_the_sdk_s_types_say(name: str) -> None:
    for event in events(b"".join(replayed(json.loads((FIXTURES / f"{name}.json").read_bytes())))):
        SDK_EVENTS.validate_python(event)


def test_a_replay_goes_on_after_a_number() -> None:
    response = json.loads((FIXTURES / "text.json").read_bytes())
    whole = list(replayed(response))
    for after in (-1, 0, 3, len(whole) - 1, 1000):
        assert list(replayed(response, after)) == whole[after + 1 :]


# Going on


def test_text_is_an_item_and_nothing_is_none() -> None:
    assert items_of("hi") == [{"role": "user", "content": "hi"}]
    assert items_of(None) == []
    assert items_of([{"id": "msg_1"}]) == [{"id": "msg_1"}]


def test_every_item_that_is_stored_has_an_id_of_its_own() -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
        {"type": "message", "role": "user", "content": "hi", "id": "msg_theirs"},
        "not an item",
    ]
    first, second, third, fourth = with_ids(items, "resp_0123")
    assert first["id"].startswith("msg_waypost_")
    assert second["id"].startswith("fco_waypost_")
    assert first["id"] != second["id"]
    assert third["id"] == "msg_theirs"
    assert fourth == "not an item"


SAID: list[tuple[str, Any, Any]] = [
    ("a user's words", {"role": "user", "content": "hi", "id": MADE_ID}, {"role": "user", "content": "hi"}),
    (
        "an answer of ours, in the short form",
        {
            "type": "message",
            "id": MADE_ID,
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "yes", "annotations": []}],
        },
        {"type": "message", "role": "assistant", "content": "yes"},
    ),
    (
        "an answer of a provider's, as it was",
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": []},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": []},
    ),
    ("encrypted thoughts", THOUGHT, THOUGHT),
    ("thoughts that nobody can read again", {**THOUGHT, "encrypted_content": None}, None),
    (
        "a call of ours",
        {"type": "function_call", "id": "fc_waypost_0_1", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ),
    ("what is not known", {"type": "of_the_future", "id": "x_1"}, {"type": "of_the_future", "id": "x_1"}),
]


@pytest.mark.parametrize(("item", "said"), [case[1:] for case in SAID], ids=[case[0] for case in SAID])
def test_an_earlier_item_as_input(item: Any, said: Any) -> None:
    assert again([item]) == ([] if said is None else [said])


def test_references_and_bare_thoughts_lean_on_what_is_stored() -> None:
    bare = {**THOUGHT, "encrypted_content": None}
    items = [
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_2"},
        bare,
        THOUGHT,
        {"role": "user", "content": "x"},
    ]
    assert wanted_ids(items) == ["msg_1", "msg_2", "rs_1"]
    assert [refers(item) for item in items] == [True, True, False, False, False]
    assert not refers({})
    assert not refers("msg_1")
    compaction = {"type": "compaction", "id": "cmp_1", "encrypted_content": "c2VhbGVk"}
    assert list(seals([*items, compaction])) == ["rs_1"], "what stands for all that was said is never left out"
    unknown: list[str] = []
    message = {"type": "message", "id": "msg_2", "role": "user", "content": "stored"}
    assert completed(items, {"msg_2": message, "rs_1": THOUGHT}, unknown.append) == [
        message,
        THOUGHT,
        THOUGHT,
        {"role": "user", "content": "x"},
    ]
    assert unknown == ["msg_1"]


@pytest.mark.parametrize(
    ("known", "lost"), [({}, True), ({"rs_1": {"type": "reasoning"}}, True), ({"rs_1": THOUGHT}, False)]
)
def test_thoughts_are_lost_of_which_nothing_encrypted_is_known(known: Any, lost: bool) -> None:
    assert lost_thoughts([{"type": "reasoning", "id": "rs_1", "summary": []}], known) is lost


def test_a_list_shows_short_items_whole() -> None:
    assert listed({"role": "user", "content": "hi", "id": "msg_1"}) == {
        "type": "message",
        "status": "completed",
        "id": "msg_1",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    assert listed({"role": "assistant", "content": "hi"})["content"] == [
        {"type": "output_text", "text": "hi", "annotations": []}
    ]
    result = {"type": "function_call_output", "call_id": "c", "output": "x"}
    assert listed(result) == result


@given(st.lists(st.dictionaries(st.sampled_from(["id", "type", "role", "content"]), st.text(max_size=5)), max_size=5))
def test_items_of_any_shape_raise_nothing(items: list[dict[str, str]]) -> None:
    again(items)
    wanted_ids(items)
    list(seals(items))
    with_ids(items, "resp_1")
    completed(items, {}, lambda _: None)
    for item in items:
        listed(item)
