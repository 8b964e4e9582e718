"""The official OpenAI client's stored responses, whoever answers: kept, gone on from, found, deleted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ToolParam
from tests.server.gated import KEYS
from tests.simulated import provider, serving

from waypost.simulator import Reply, Rule, Script, ScriptedCall, Simulator

ONCE = {"max_retries": 0, "recover": False}
CACHE = {"ttl_s": 60, "max_bytes": 1_000_000}
MODELS = {
    "chat": "gpt-simulated",
    "responses": "gpt-simulated",
    "anthropic": "claude-simulated",
    "gemini": "gemini-simulated",
}
EVERY_PROVIDER = pytest.mark.parametrize("wire", MODELS)
FORMS = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
SEALED: Literal["reasoning.encrypted_content"] = "reasoning.encrypted_content"
WEATHER: ToolParam = {
    "type": "function",
    "name": "get_weather",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
LOOP = Script(
    rules=(
        Rule(
            times=1,
            reply=Reply(reasoning="Paris is asked for.", tool_calls=(ScriptedCall("get_weather", {"city": "Paris"}),)),
        ),
        Rule(times=1, reply=Reply(reasoning="It rains.", text="Rain.")),
        Rule(reply=Reply(text="Take an umbrella.")),
    )
)


@dataclass(frozen=True)
class House:
    """A server that stores, the simulator behind it, and where its database is."""

    url: str
    simulator: Simulator
    data_dir: Path

    def client(self, name: str = "ann") -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEYS[name], max_retries=0, timeout=20)

    def sent(self, number: int = -1) -> Any:
        """What a provider was asked."""
        return self.simulator.requests[number].body

    def rows(self) -> int:
        """How many answers are stored. The ledger may be about to make the database, or not have begun to."""
        file = self.data_dir / "waypost.db"
        if not file.exists():
            return 0
        with closing(sqlite3.connect(file)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'stored_responses'")
            if not tables.fetchone()[0]:
                return 0
            return int(connection.execute("SELECT count(*) FROM stored_responses").fetchone()[0])


def settings_of(simulator: Simulator, data_dir: Path, **more: Any) -> dict[str, Any]:
    def behind(wire: Any) -> dict[str, Any]:
        return {**provider(wire, simulator), "api_key": f"key-of-{wire}"}

    routes: dict[str, Any] = {
        wire: {"targets": [f"at-{wire}/{model}"], "policy": ONCE} for wire, model in MODELS.items()
    }
    return {
        "data_dir": str(data_dir),
        "providers": {**{f"at-{wire}": behind(wire) for wire in MODELS}, "others": behind("responses")},
        "routes": {
            **routes,
            "kept": {**routes["chat"], "cache": CACHE},
            "there": {**routes["responses"], "provider_storage": True},
            "theirs": {"targets": ["others/gpt-simulated"], "policy": ONCE},
            "mended": {"targets": ["at-responses/cut-9", "at-anthropic/claude-simulated"]},
            "broken": {"targets": ["at-responses/cut-5"], "policy": ONCE},
            "broken-claude": {"targets": ["at-anthropic/cut-5"], "policy": ONCE},
        },
        "keys": {name: {"key": key} for name, key in KEYS.items()},
        **more,
    }


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
def house(simulator: Simulator, tmp_path: Path) -> Iterator[House]:
    with serving(settings_of(simulator, tmp_path)) as url:
        yield House(url, simulator, tmp_path)


@pytest.fixture
async def ann(house: House) -> AsyncIterator[AsyncOpenAI]:
    async with house.client() as client:
        yield client


async def answered(client: AsyncOpenAI, stream: bool, **asked: Any) -> Any:
    """The response, as it came or as its last event has it; in a stream, every event that holds one says the same."""
    asked = {"max_output_tokens": 500, **asked}
    if not stream:
        return await client.responses.create(**asked)
    events = [event async for event in await client.responses.create(**asked, stream=True)]
    last = events[-1].response
    told = [event.response for event in events if hasattr(event, "response")]
    assert {(each.id, each.previous_response_id) for each in told} == {(last.id, last.previous_response_id)}
    return last


@EVERY_PROVIDER
@FORMS
async def test_an_answer_is_stored_and_found_again_as_it_was(ann: AsyncOpenAI, wire: str, stream: bool) -> None:
    answer = await answered(ann, stream, model=wire, input="one two")
    assert answer.id.startswith("resp_")
    assert (answer.store, answer.output_text) == (True, "You said: one two")
    found = await ann.responses.retrieve(answer.id)
    assert found.model_dump() == answer.model_dump()


@EVERY_PROVIDER
@FORMS
async def test_a_follow_up_sends_the_whole_conversation(
    ann: AsyncOpenAI, house: House, wire: str, stream: bool
) -> None:
    """Earlier input and output, but not the instructions of before."""
    first = await answered(ann, stream, model=wire, input="my name is Ann", instructions="Rhyme.")
    second = await answered(
        ann, stream, model=wire, input="what is my name", previous_response_id=first.id, instructions="Be brief."
    )
    third = await answered(ann, stream, model=wire, input="thanks", previous_response_id=second.id)
    assert (first.previous_response_id, second.previous_response_id) == (None, first.id)
    assert third.previous_response_id == second.id
    sent = json.dumps(house.sent())
    said = ["my name is Ann", "You said: my name is Ann", "what is my name", "You said: what is my name", "thanks"]
    assert [sent.index(text) for text in said] == sorted(sent.index(text) for text in said)
    assert "Rhyme." not in sent
    assert "Be brief." not in sent
    assert "previous_response_id" not in sent


@pytest.mark.parametrize("first", MODELS)
@pytest.mark.parametrize("second", MODELS)
async def test_the_next_turn_may_be_answered_by_another_provider(
    ann: AsyncOpenAI, house: House, first: str, second: str
) -> None:
    """Also in the middle of a loop of tool calls, with its thoughts."""
    house.simulator.use(LOOP)
    asked: dict[str, Any] = {"tools": [WEATHER], "reasoning": {"effort": "low"}}
    call = await answered(ann, False, model=first, input="The weather in Paris?", **asked)
    [function] = [item for item in call.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": function.call_id, "output": "rain"}
    told = await answered(ann, True, model=second, input=[result], previous_response_id=call.id, **asked)
    assert told.output_text == "Rain."
    last = await answered(ann, False, model=first, input="So?", previous_response_id=told.id)
    assert last.output_text == "Take an umbrella."


@pytest.mark.parametrize("wire", ["anthropic", "gemini", "responses"])
async def test_a_tool_loop_goes_on_at_another_server_with_its_signatures(
    simulator: Simulator, tmp_path: Path, wire: str
) -> None:
    """What the provider wants back, and the caller was never told, is stored with the answer."""
    simulator.use(LOOP)
    asked: dict[str, Any] = {"model": wire, "tools": [WEATHER], "reasoning": {"effort": "low"}}
    with serving(settings_of(simulator, tmp_path)) as url:
        async with House(url, simulator, tmp_path).client() as client:
            call = await answered(client, True, input="The weather in Paris?", **asked)
    [function] = [item for item in call.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": function.call_id, "output": "rain"}
    with serving(settings_of(simulator, tmp_path)) as url:
        async with House(url, simulator, tmp_path).client() as client:
            told = await answered(client, False, input=[result], previous_response_id=call.id, **asked)
    assert told.output_text == "Rain."
    sent = json.dumps(simulator.requests[-1].body)
    assert {"anthropic": '"signature"', "gemini": '"thoughtSignature"', "responses": '"encrypted_content"'}[
        wire
    ] in sent


async def test_encrypted_thoughts_travel_and_are_told_only_to_those_who_ask(ann: AsyncOpenAI, house: House) -> None:
    house.simulator.use(LOOP)
    asked: dict[str, Any] = {"model": "responses", "tools": [WEATHER], "reasoning": {"effort": "low"}}
    call = await answered(ann, True, input="The weather in Paris?", **asked)
    assert SEALED in house.sent()["include"]
    assert house.sent()["store"] is False
    thought, function = call.output
    assert (thought.type, thought.encrypted_content) == ("reasoning", None)
    result = {"type": "function_call_output", "call_id": function.call_id, "output": "rain"}
    await answered(ann, False, input=[result], previous_response_id=call.id, **asked)
    [sent] = [item for item in house.sent()["input"] if item.get("type") == "reasoning"]
    assert sent["id"] == thought.id
    assert sent["encrypted_content"].startswith("gAAAAA")
    found = await ann.responses.retrieve(call.id)
    assert found.output[0].to_dict().get("encrypted_content") is None
    shown = await ann.responses.retrieve(call.id, include=[SEALED])
    assert shown.output[0].to_dict()["encrypted_content"] == sent["encrypted_content"]


@FORMS
async def test_who_asks_for_encrypted_thoughts_gets_them(ann: AsyncOpenAI, house: House, stream: bool) -> None:
    house.simulator.use(LOOP)
    asked: dict[str, Any] = {"model": "responses", "tools": [WEATHER], "reasoning": {"effort": "low"}}
    answer = await answered(ann, stream, input="The weather?", include=[SEALED], **asked)
    assert answer.output[0].encrypted_content.startswith("gAAAAA")
    found = await ann.responses.retrieve(answer.id)
    assert found.output[0].to_dict() == answer.output[0].to_dict()


async def test_another_account_s_encrypted_thoughts_stay_behind(ann: AsyncOpenAI, house: House) -> None:
    """It could not read them, and would refuse the request."""
    house.simulator.use(LOOP)
    asked: dict[str, Any] = {"tools": [WEATHER], "reasoning": {"effort": "low"}}
    call = await answered(ann, False, model="responses", input="The weather in Paris?", **asked)
    result = {"type": "function_call_output", "call_id": call.output[1].call_id, "output": "rain"}
    told = await answered(ann, False, model="theirs", input=[result], previous_response_id=call.id, **asked)
    assert told.output_text == "Rain."
    kinds = [item.get("type", "message") for item in house.sent()["input"]]
    assert kinds == ["message", "function_call", "function_call_output"]


@pytest.mark.parametrize("wire", ["responses", "anthropic"])
async def test_items_that_come_back_whole_have_their_thoughts(ann: AsyncOpenAI, house: House, wire: str) -> None:
    """As agents send them that lean on storage: reasoning without what is encrypted, which is put back here."""
    house.simulator.use(LOOP)
    asked: dict[str, Any] = {"model": wire, "tools": [WEATHER], "reasoning": {"effort": "low"}}
    call = await answered(ann, False, input="The weather in Paris?", **asked)
    [function] = [item for item in call.output if item.type == "function_call"]
    sent = [item.to_dict() for item in call.output]
    result = {"type": "function_call_output", "call_id": function.call_id, "output": "rain"}
    turn = [{"role": "user", "content": "The weather in Paris?"}, *sent, result]
    told = await answered(ann, False, input=turn, **asked)
    assert told.output_text == "Rain."
    if wire == "responses":
        [thought] = [item for item in house.sent()["input"] if item.get("type") == "reasoning"]
        assert thought["encrypted_content"].startswith("gAAAAA")
    else:
        kinds = [block["type"] for block in house.sent()["messages"][1]["content"]]
        assert kinds == ["thinking", "tool_use"]


async def test_reasoning_of_which_nothing_is_stored_is_left_out_and_told(ann: AsyncOpenAI, house: House) -> None:
    thought = {"type": "reasoning", "id": "rs_unheard_of", "summary": []}
    turn: Any = [thought, {"role": "user", "content": "hi"}]
    raw = await ann.responses.with_raw_response.create(model="responses", input=turn)
    assert raw.parse().output_text == "You said: hi"
    assert raw.headers["x-waypost-warnings"].startswith("input: reasoning without encrypted content was left out")


@EVERY_PROVIDER
async def test_references_to_stored_items_are_put_into_words(ann: AsyncOpenAI, house: House, wire: str) -> None:
    first = await answered(ann, False, model=wire, input="my name is Ann")
    reference = {"type": "item_reference", "id": first.output[0].id}
    again = [{"role": "user", "content": "my name is Ann"}, reference, {"role": "user", "content": "thanks"}]
    second = await answered(ann, False, model=wire, input=again)
    assert second.output_text == "You said: thanks"
    sent = json.dumps(house.sent())
    assert sent.index("You said: my name is Ann") < sent.index("thanks")
    await ann.responses.delete(first.id)
    third = await answered(ann, False, model=wire, input="bye", previous_response_id=second.id)
    assert third.output_text == "You said: bye"
    assert "You said: my name is Ann" in json.dumps(house.sent())


async def test_a_reference_that_leads_nowhere_is_refused(ann: AsyncOpenAI, house: House) -> None:
    with pytest.raises(openai.NotFoundError, match="Item with id 'msg_1' not found") as caught:
        await ann.responses.create(model="chat", input=[{"type": "item_reference", "id": "msg_1"}])
    assert caught.value.param == "input"
    assert house.simulator.requests == ()


@EVERY_PROVIDER
async def test_what_was_deleted_is_gone(ann: AsyncOpenAI, house: House, wire: str) -> None:
    first = await answered(ann, False, model=wire, input="one")
    second = await answered(ann, False, model=wire, input="two", previous_response_id=first.id)
    reply = await ann.responses.with_raw_response.delete(first.id)
    assert json.loads(reply.text) == {"id": first.id, "object": "response", "deleted": True}
    with pytest.raises(openai.NotFoundError, match=f"Response with id '{first.id}' not found") as caught:
        await ann.responses.retrieve(first.id)
    assert caught.value.code == "response_not_found"
    with pytest.raises(openai.NotFoundError):
        await ann.responses.delete(first.id)
    calls = len(house.simulator.requests)
    for previous in (first.id, second.id):
        with pytest.raises(openai.BadRequestError) as refused:
            await ann.responses.create(model=wire, input="three", previous_response_id=previous)
        assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    assert len(house.simulator.requests) == calls, "half a conversation is sent to nobody"
    await go_on_with_what_is_left(ann, second, wire)
    sent = json.dumps(house.sent())
    assert "two" in sent
    assert "one" not in sent


async def go_on_with_what_is_left(ann: AsyncOpenAI, last: Any, wire: str) -> None:
    """As the guide says: by sending it."""
    items = [item async for item in ann.responses.input_items.list(last.id, order="asc")]
    left = [each.model_dump(exclude_none=True) for each in (*items, *last.output)]
    told = await ann.responses.create(model=wire, input=[*left, {"role": "user", "content": "three"}])
    assert told.output_text == "You said: three"


async def test_an_answer_is_its_project_s_own(ann: AsyncOpenAI, house: House) -> None:
    """To every other it is as if there were none, by the last byte."""
    answer = await answered(ann, False, model="chat", input="secret")
    unheard = "resp_" + "0" * 32
    async with httpx.AsyncClient(base_url=f"{house.url}/v1/responses/", timeout=20) as http:
        headers = {"authorization": f"Bearer {KEYS['bob']}"}
        for method, rest in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
            told = [await http.request(method, each + rest, headers=headers) for each in (answer.id, unheard)]
            assert {reply.status_code for reply in told} == {404}
            assert told[0].text.replace(answer.id, unheard) == told[1].text
    async with house.client("bob") as bob:
        for previous in (answer.id, unheard):
            with pytest.raises(openai.BadRequestError, match=f"Previous response with id '{previous}' not found"):
                await bob.responses.create(model="chat", input="and?", previous_response_id=previous)
        with pytest.raises(openai.NotFoundError, match="Item with id"):
            await bob.responses.create(model="chat", input=[{"type": "item_reference", "id": answer.output[0].id}])
    assert (await ann.responses.retrieve(answer.id)).output_text == "You said: secret"


@EVERY_PROVIDER
@FORMS
async def test_what_is_not_to_be_stored_is_not(ann: AsyncOpenAI, house: House, wire: str, stream: bool) -> None:
    answer = await answered(ann, stream, model=wire, input="one", store=False)
    assert answer.store is False
    assert house.rows() == 0
    with pytest.raises(openai.NotFoundError):
        await ann.responses.retrieve(answer.id)


async def test_one_may_go_on_without_storing(ann: AsyncOpenAI, house: House) -> None:
    first = await answered(ann, False, model="responses", input="my name is Ann")
    second = await answered(ann, True, model="responses", input="hm", previous_response_id=first.id, store=False)
    assert (second.store, second.previous_response_id, second.output_text) == (False, first.id, "You said: hm")
    assert house.sent()["store"] is False
    assert house.rows() == 1


async def test_a_route_may_leave_storing_to_the_provider_too(ann: AsyncOpenAI, house: House) -> None:
    """The id is ours all the same."""
    first = await answered(ann, False, model="there", input="one")
    assert house.sent()["store"] is True
    second = await answered(ann, False, model="there", input="two", previous_response_id=first.id)
    assert second.output_text == "You said: two"
    assert "previous_response_id" not in house.sent()
    await answered(ann, False, model="there", input="two", store=False)
    assert house.sent()["store"] is False


@pytest.mark.parametrize("wire", ["chat", "anthropic", "gemini"])
async def test_storing_costs_no_warning_where_the_provider_knows_of_none(ann: AsyncOpenAI, wire: str) -> None:
    raw = await ann.responses.with_raw_response.create(model=wire, input="one", store=True)
    again = await ann.responses.with_raw_response.create(model=wire, input="two", previous_response_id=raw.parse().id)
    assert "x-waypost-warnings" not in {**raw.headers, **again.headers}


async def test_an_answer_that_was_cut_is_stored_as_that(ann: AsyncOpenAI) -> None:
    answer = await answered(ann, True, model="anthropic", input="one two three", max_output_tokens=2)
    found = await ann.responses.retrieve(answer.id)
    assert (answer.status, found.status) == ("incomplete", "incomplete")
    assert found.incomplete_details is not None
    assert found.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("route", ["broken", "broken-claude"])
async def test_a_stream_that_breaks_is_not_stored_and_says_so(ann: AsyncOpenAI, house: House, route: str) -> None:
    stream = await ann.responses.create(model=route, input="one two three four", stream=True, max_output_tokens=50)
    events: list[Any] = [event async for event in stream]
    last, begun = events[-1], events[0].response
    if last.type != "error":
        assert last.type == "response.failed"
        assert (last.response.id, last.response.to_dict()["store"]) == (begun.id, False)
    assert house.rows() == 0
    with pytest.raises(openai.NotFoundError):
        await ann.responses.retrieve(begun.id)


async def test_a_stream_that_another_target_goes_on_with_is_stored_as_one(ann: AsyncOpenAI, house: House) -> None:
    answer = await answered(ann, True, model="mended", input="one two three four five six")
    assert len(house.simulator.requests) > 1
    assert answer.output_text == "You said: one two three four five six"
    found = await ann.responses.retrieve(answer.id)
    assert found.model_dump() == answer.model_dump()


async def test_a_stream_whose_caller_leaves_is_not_stored(ann: AsyncOpenAI, house: House) -> None:
    house.simulator.use({"rules": [{"pacing": {"token_interval_s": 0.05}}]})
    stream = await ann.responses.create(model="chat", input="slow " * 50, stream=True)
    begun: Any = await anext(aiter(stream))
    await stream.close()
    assert (await house.simulator.request(1)).outcome == "client_closed"
    with pytest.raises(openai.NotFoundError):
        await ann.responses.retrieve(begun.response.id)


@EVERY_PROVIDER
async def test_a_stored_answer_can_be_had_as_a_stream(ann: AsyncOpenAI, wire: str) -> None:
    whole = await answered(ann, False, model=wire, input="one two")
    events: list[Any] = [event async for event in await ann.responses.retrieve(whole.id, stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "You said: one two"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.model_dump() == whole.model_dump()
    rest = [event async for event in await ann.responses.retrieve(whole.id, stream=True, starting_after=4)]
    assert [event.model_dump() for event in rest] == [event.model_dump() for event in events[5:]]


async def test_the_numbers_of_a_live_stream_are_not_those_of_its_replay(ann: AsyncOpenAI) -> None:
    """Going on by them would repeat text, or leave some out."""
    streamed = await answered(ann, True, model="chat", input="one two")
    with pytest.raises(openai.BadRequestError) as caught:
        await ann.responses.retrieve(streamed.id, stream=True, starting_after=4)
    assert caught.value.param == "starting_after"
    events = [event async for event in await ann.responses.retrieve(streamed.id, stream=True)]
    assert events[-1].type == "response.completed"


async def test_input_items_are_all_that_an_answer_was_made_from(ann: AsyncOpenAI) -> None:
    first = await answered(ann, False, model="anthropic", input="one", instructions="Be brief.")
    image = {"type": "input_image", "image_url": "https://example.org/cat.png", "detail": "auto"}
    turn: Any = [
        {"role": "developer", "content": "Rhyme."},
        {"role": "user", "content": [{"type": "input_text", "text": "two"}, image]},
    ]
    second = await answered(ann, False, model="chat", input=turn, previous_response_id=first.id)
    listed = [item async for item in ann.responses.input_items.list(second.id, order="asc")]
    listed_items: list[Any] = [item.to_dict() for item in listed]
    texts = [item["content"][0]["text"] for item in listed_items]
    assert texts == ["one", "You said: one", "Rhyme.", "two"]
    assert [item.role for item in listed] == ["user", "assistant", "developer", "user"]  # type: ignore[union-attr]
    assert len({item.id for item in listed}) == 4
    newest = [item.id async for item in ann.responses.input_items.list(second.id)]
    assert newest == [item.id for item in reversed(listed)]
    assert [item.id async for item in ann.responses.input_items.list(first.id)] == [listed[0].id]


async def test_input_items_come_in_pages(ann: AsyncOpenAI, house: House) -> None:
    turn: Any = [{"role": "user", "content": str(number)} for number in range(7)]
    answer = await answered(ann, False, model="chat", input=turn)
    paged = [item.id async for item in ann.responses.input_items.list(answer.id, order="asc", limit=3)]
    whole = [item.id async for item in ann.responses.input_items.list(answer.id, order="asc", limit=100)]
    assert paged == whole
    assert len(whole) == 7
    headers = {"authorization": f"Bearer {KEYS['ann']}"}
    path = f"{house.url}/v1/responses/{answer.id}/input_items"
    async with httpx.AsyncClient(headers=headers, timeout=20) as http:
        page = (await http.get(path, params={"order": "asc", "limit": 2, "after": whole[1]})).json()
        assert [item["id"] for item in page["data"]] == whole[2:4]
        expected = {"object": "list", "first_id": whole[2], "last_id": whole[3], "has_more": True}
        assert {name: page[name] for name in expected} == expected
        page = (await http.get(path, params={"order": "asc", "limit": 2, "before": whole[3]})).json()
        assert [item["id"] for item in page["data"]] == whole[1:3]
        assert page["has_more"] is True
        last = (await http.get(path, params={"order": "asc", "after": whole[6]})).json()
        assert (last["data"], last["first_id"], last["has_more"]) == ([], None, False)
        for params in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"order": "up"}, {"after": "msg_x"}):
            refused = await http.get(path, params=params)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, *params)


async def test_nothing_that_is_over_can_be_cancelled(ann: AsyncOpenAI) -> None:
    answer = await answered(ann, False, model="chat", input="one")
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        await ann.responses.cancel(answer.id)


async def test_a_kept_answer_is_stored_under_an_id_of_its_own(ann: AsyncOpenAI, house: House) -> None:
    """The route's cache answers the second request; whoever deletes one of the two does not take the other."""
    first, second = [await answered(ann, False, model="kept", input="one two") for _ in range(2)]
    assert len(house.simulator.requests) == 1
    assert first.id != second.id
    await ann.responses.delete(first.id)
    assert (await ann.responses.retrieve(second.id)).output_text == "You said: one two"


async def test_a_long_conversation_is_refused_by_its_size(simulator: Simulator, tmp_path: Path) -> None:
    settings = settings_of(simulator, tmp_path, server={"max_body_bytes": 20_000})
    with serving(settings) as url:
        async with House(url, simulator, tmp_path).client() as client:
            previous = None
            with pytest.raises(openai.APIStatusError) as caught:
                for _ in range(5):
                    answer = await client.responses.create(
                        model="anthropic", input="word " * 1000, previous_response_id=previous, max_output_tokens=20
                    )
                    previous = answer.id
    assert (caught.value.status_code, caught.value.code) == (413, "body_too_large")
    assert 1 < len(simulator.requests) < 5


@pytest.mark.parametrize(
    ("ledger", "asked", "stored"),
    [
        ({"store_responses": "asked"}, {}, False),
        ({"store_responses": "asked"}, {"store": True}, True),
        ({"store_responses": "default"}, {}, True),
    ],
)
async def test_what_is_stored_by_default_is_a_setting(
    simulator: Simulator, tmp_path: Path, ledger: Any, asked: Any, stored: bool
) -> None:
    with serving(settings_of(simulator, tmp_path, ledger=ledger)) as url:
        house = House(url, simulator, tmp_path)
        async with house.client() as client:
            answer = await client.responses.create(model="anthropic", input="one", **asked)
        assert (answer.to_dict()["store"], house.rows()) == (stored, int(stored))


@pytest.mark.parametrize("ledger", [{"enabled": False}, {"store_responses": "never"}])
async def test_where_nothing_is_stored_it_is_said(simulator: Simulator, tmp_path: Path, ledger: Any) -> None:
    with serving(settings_of(simulator, tmp_path, ledger=ledger)) as url:
        async with House(url, simulator, tmp_path).client() as client:
            answer = await client.responses.create(model="anthropic", input="one", store=True)
            assert answer.to_dict()["store"] is False
            unkept: Any = [{"type": "item_reference", "id": "msg_1"}]
            for asked in ({"input": "x", "previous_response_id": answer.id}, {"input": unkept}):
                with pytest.raises(openai.UnprocessableEntityError, match="none are stored here"):
                    await client.responses.create(model="anthropic", **asked)
            with pytest.raises(openai.UnprocessableEntityError):
                await client.responses.retrieve("resp_1")
    assert House("", simulator, tmp_path).rows() == 0


@pytest.mark.parametrize(("field", "value"), [("conversation", "conv_1")])
async def test_what_is_kept_nowhere_is_refused_by_name(ann: AsyncOpenAI, house: House, field: str, value: Any) -> None:
    asked: dict[str, Any] = {"model": "chat", "input": "x", field: value}
    with pytest.raises(openai.UnprocessableEntityError, match=field) as caught:
        await ann.responses.create(**asked)
    assert caught.value.param == field
    assert house.simulator.requests == ()


@pytest.mark.parametrize(("field", "value"), [("store", "yes"), ("previous_response_id", 7)])
async def test_wishes_of_another_type_are_refused(ann: AsyncOpenAI, field: str, value: Any) -> None:
    asked: dict[str, Any] = {"model": "chat", "input": "x", field: value}
    with pytest.raises(openai.BadRequestError) as caught:
        await ann.responses.create(**asked)
    assert caught.value.param == field


@FORMS
async def test_without_the_database_the_answer_comes_and_is_not_said_to_be_stored(
    simulator: Simulator, tmp_path: Path, stream: bool
) -> None:
    """What leans on stored answers is refused meanwhile, and tried again by SDKs."""
    away = {"database_url": "postgresql://nobody@127.0.0.1:1/none"}
    with serving(settings_of(simulator, tmp_path, **away)) as url:
        async with House(url, simulator, tmp_path).client() as client:
            asked: dict[str, Any] = {"model": "responses", "input": "one", "stream": stream}
            if stream:
                events: list[Any] = [event async for event in await client.responses.create(**asked)]
                told = events[-1].response.to_dict()
            else:
                raw = await client.responses.with_raw_response.create(**asked)
                told = raw.parse().to_dict()
                assert "not stored" in raw.headers["x-waypost-warnings"]
            assert (told["status"], told["store"]) == ("completed", False)
            with pytest.raises(openai.InternalServerError) as caught:
                await client.responses.create(model="responses", input="x", previous_response_id=told["id"])
            assert (caught.value.status_code, caught.value.code) == (503, "database_unavailable")
            assert caught.value.response.headers["retry-after"] == "1"
