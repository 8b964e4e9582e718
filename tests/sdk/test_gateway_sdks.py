"""The official SDKs through the gateway, each before a provider of every dialect: what they parse is what was meant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from tests.sdk.agents import AGENTS, Agent, Tools
from tests.simulated import Wire, provider, serving

from waypost.simulator import Reply, Rule, Script, ScriptedCall, Simulator

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Google's client makes a class from aiohttp's session, of which that one warns.
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]

MODELS: dict[Wire, str] = {
    "chat": "gpt-5-mini",
    "responses": "gpt-5-mini",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}
PAIRS = [pytest.param(door, wire, id=f"{door} by {wire}") for door in AGENTS for wire in MODELS]
each_pair = pytest.mark.parametrize(("door", "wire"), PAIRS)
either_way = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])

QUESTION = "What is it like in Paris and Rome?"
SIGNED = [
    pytest.param(door, wire, id=f"{door} by {wire}") for door in AGENTS for wire in ("responses", "anthropic", "gemini")
]
"""Chat Completions has no signatures."""

PARIS, ROME, ZONE = {"city": "Paris"}, {"city": "Rome"}, {"zone": "Europe/Rome"}
LOOP = Script(
    rules=(
        Rule(
            times=1,
            reply=Reply(
                reasoning="Both cities are asked for.",
                tool_calls=(ScriptedCall("get_weather", PARIS), ScriptedCall("get_weather", ROME)),
            ),
        ),
        Rule(times=1, reply=Reply(reasoning="And the time.", tool_calls=(ScriptedCall("get_time", ZONE),))),
        Rule(reply=Reply(text="Rain in Paris, sun in Rome, and it is noon.")),
    )
)
TOOLS: Tools = {
    "get_weather": lambda arguments: {"Paris": "rain", "Rome": "sun"}[arguments["city"]],
    "get_time": lambda arguments: "noon",
}


@dataclass(frozen=True)
class House:
    """The server, and the one simulator that is every provider."""

    url: str
    simulator: Simulator

    def agent(self, door: str, wire: Wire, script: Script | None = None) -> Agent:
        """A client of that dialect that is answered by a provider of the other, by a fresh script."""
        self.simulator.use(script)
        self.simulator.clear()
        return AGENTS[door](self.url, f"by-{wire}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    async with Simulator() as simulator:
        with serving(_settings(simulator)) as url:
            yield House(url, simulator)


def _settings(simulator: Simulator) -> dict[str, Any]:
    return {
        "providers": {wire: {**provider(wire, simulator), "api_key": "any"} for wire in MODELS},
        "routes": {f"by-{wire}": {"targets": [f"{wire}/{MODELS[wire]}"]} for wire in MODELS},
    }


@each_pair
@either_way
async def test_a_text_arrives_whole(house: House, door: str, wire: Wire, stream: bool) -> None:
    async with house.agent(door, wire) as agent:
        assert await agent.say("Grüße", stream=stream) == "You said: Grüße"
    [seen] = house.simulator.requests
    assert (seen.streamed, seen.model) == (stream, MODELS[wire])


@each_pair
async def test_an_answer_fits_the_wanted_class(house: House, door: str, wire: Wire) -> None:
    async with house.agent(door, wire) as agent:
        weather = await agent.parsed("Oslo")
    assert weather is not None
    assert weather.city == "Oslo"


@each_pair
@either_way
async def test_a_tool_loop_has_three_turns_and_parallel_calls(
    house: House, door: str, wire: Wire, stream: bool
) -> None:
    async with house.agent(door, wire, LOOP) as agent:
        loop = await agent.loop(QUESTION, TOOLS, stream=stream)
    assert loop.rounds == [[("get_weather", PARIS), ("get_weather", ROME)], [("get_time", ZONE)]]
    assert loop.text == "Rain in Paris, sun in Rome, and it is noon."
    _first, second, third = house.simulator.requests
    assert _are_told(RESULTS[wire](second.body), "rain", "sun")
    assert _are_told(RESULTS[wire](third.body), "rain", "sun", "noon")


@pytest.mark.parametrize(("door", "wire"), SIGNED)
@either_way
async def test_reasoning_comes_back_signed_to_the_provider_it_is_from(
    house: House, door: str, wire: Wire, stream: bool
) -> None:
    """Without its signatures a provider that reasons refuses the turn, or forgets what it thought."""
    async with house.agent(door, wire, LOOP) as agent:
        await agent.loop(QUESTION, TOOLS, stream=stream)
    counts = [len(list(SIGNATURES[wire](seen.body))) for seen in house.simulator.requests]
    assert counts == [0, 1, 2]


def _are_told(results: Iterator[str], *words: str) -> bool:
    """Google's results are objects: elsewhere they are told as JSON."""
    return all(word in result for result, word in zip(results, words, strict=True))


def _anthropic_blocks(body: Any, kind: str) -> Iterator[Any]:
    messages = [message["content"] for message in body["messages"] if isinstance(message["content"], list)]
    return (block for content in messages for block in content if block["type"] == kind)


def _gemini_parts(body: Any, member: str) -> Iterator[Any]:
    return (part[member] for content in body["contents"] for part in content["parts"] if member in part)


def _text(content: Any) -> str:
    """Of a result, which may be a text or a list of texts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


RESULTS: dict[str, Callable[[Any], Iterator[str]]] = {
    "chat": lambda body: (_text(each["content"]) for each in body["messages"] if each["role"] == "tool"),
    "responses": lambda body: (
        _text(each["output"]) for each in body["input"] if each.get("type") == "function_call_output"
    ),
    "anthropic": lambda body: (_text(block["content"]) for block in _anthropic_blocks(body, "tool_result")),
    "gemini": lambda body: (
        str(next(iter(part["response"].values()))) for part in _gemini_parts(body, "functionResponse")
    ),
}
"""The tools' results in a provider's request, in order."""

SIGNATURES: dict[str, Callable[[Any], Iterator[str]]] = {
    "responses": lambda body: (
        each["encrypted_content"]
        for each in body["input"]
        if each.get("type") == "reasoning" and each.get("encrypted_content")
    ),
    "anthropic": lambda body: (block["signature"] for block in _anthropic_blocks(body, "thinking")),
    "gemini": lambda body: _gemini_parts(body, "thoughtSignature"),
}
"""What vouches for the reasoning in a provider's request: one for each turn that reasoned."""
