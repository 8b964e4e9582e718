"""An agent on Anthropic's official SDK, before a provider of OpenAI's dialect that is killed while it works.

Real processes: two simulated providers and `waypost serve`, each on a free port. The first provider gets SIGKILL
between two turns, within a turn, or within a plain text; the second takes over, or the caller gets a typed error.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import pytest
import yaml

pytestmark = pytest.mark.timeout(120)

START_S = 30.0
CALLED_PARIS_AND_ROME = {
    "tool_calls": [
        {"name": "get_weather", "arguments": {"city": "Paris"}},
        {"name": "get_weather", "arguments": {"city": "Rome"}},
    ]
}
CALLED_TIME = {"text": "Now the time, which takes a moment to look up.", "tool_calls": [{"name": "get_time"}]}
ANSWER = "It rains in Paris, the sun shines in Rome, and it is noon in both of them, which is time for lunch."
SLOWLY = {"token_interval_s": 0.2}
TOOLS: Any = [
    {
        "name": "get_weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]
RESULTS: dict[str, Callable[[Any], str]] = {
    "get_weather": lambda given: {"Paris": "rain", "Rome": "sun"}[given["city"]],
    "get_time": lambda _: "noon",
}


@dataclass
class Running:
    """A process of the journey, and the address that it says it serves."""

    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        """As a crash would: no word to anybody."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


class Town:
    """Everything that runs: the two providers, the server, and the agent's client."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    def provider(self, name: str, *turns: dict[str, Any]) -> Running:
        """A simulated provider that answers so, turn by turn; the last one for good."""
        rules = [{**turn, "times": 1} for turn in turns[:-1]] + [turns[-1]]
        script = self._folder / f"{name}.yaml"
        script.write_text(yaml.safe_dump({"rules": rules}))
        return self._stack.enter_context(started("simulate", "--port", "0", "--script", str(script)))

    def client(self, first: Running, second: Running) -> anthropic.Anthropic:
        """The SDK at a server with these two providers. It does not try again by itself: that would hide faults."""
        settings = {
            "providers": {
                "first": {"kind": "openai", "api_key": "any", "base_url": f"{first.url}/v1"},
                "second": {"kind": "anthropic", "api_key": "any", "base_url": second.url},
            },
            "routes": {"default": {"targets": ["first/gpt-4o", "second/claude-opus-4-1"], "policy": POLICY}},
        }
        file = self._folder / "waypost.yaml"
        file.write_text(yaml.safe_dump(settings))
        server = self._stack.enter_context(started("serve", "--port", "0", "--config", str(file)))
        client = anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0, timeout=30)
        return self._stack.enter_context(client)


POLICY = {"backoff_first_s": 0.05, "backoff_limit_s": 0.1, "total_s": 30}


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        yield Town(stack, tmp_path)


@contextmanager
def started(*command: str) -> Iterator[Running]:
    """`waypost` with these arguments, once it says its address; ended with the block."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WAYPOST_", "ANTHROPIC_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "waypost.cli.main", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, f"{command} says no address"
        yield Running(process, found[0])
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def turn(client: anthropic.Anthropic, messages: list[Any], when_it_speaks: Callable[[], None] = lambda: None) -> Any:
    """One turn of the agent, streamed, with its tools. `when_it_speaks` is called at the first text."""
    with client.messages.stream(model="default", max_tokens=500, messages=messages, tools=TOOLS) as stream:
        for number, _ in enumerate(stream.text_stream):
            if number == 0:
                when_it_speaks()
        return stream.get_final_message()


def with_results(messages: list[Any], answer: Any) -> list[Any]:
    """The conversation after the answer, with what its tools gave."""
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": RESULTS[block.name](block.input)}
        for block in answer.content
        if block.type == "tool_use"
    ]
    return [*messages, {"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]


def called(answer: Any) -> list[str]:
    """The names of the tools that an answer calls."""
    return [block.name for block in answer.content if block.type == "tool_use"]


QUESTION: list[Any] = [{"role": "user", "content": "What is it like in Paris and Rome, and how late is it?"}]


def test_a_provider_that_dies_between_turns_is_not_missed(town: Town) -> None:
    first = town.provider("first", {"reply": CALLED_PARIS_AND_ROME})
    second = town.provider("second", {"reply": CALLED_TIME}, {"reply": {"text": ANSWER}})
    client = town.client(first, second)
    answer = turn(client, QUESTION)
    assert called(answer) == ["get_weather", "get_weather"]
    first.kill()
    messages = with_results(QUESTION, answer)
    answer = turn(client, messages)
    assert called(answer) == ["get_time"]
    answer = turn(client, with_results(messages, answer))
    assert answer.content[-1].text == ANSWER
    assert answer.stop_reason == "end_turn"


def test_a_provider_that_dies_within_a_turn_is_a_typed_error_and_the_same_turn_again_goes_on(town: Town) -> None:
    """A turn that may call tools is never gone on with by somebody else: half a call and another's half are no call."""
    first = town.provider("first", {"reply": CALLED_PARIS_AND_ROME}, {"reply": CALLED_TIME, "pacing": SLOWLY})
    second = town.provider("second", {"reply": CALLED_TIME}, {"reply": {"text": ANSWER}})
    client = town.client(first, second)
    messages = with_results(QUESTION, turn(client, QUESTION))
    began = time.monotonic()
    with pytest.raises(anthropic.APIStatusError) as raised:
        turn(client, messages, first.kill)
    assert time.monotonic() - began < 10
    body: Any = raised.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "api_error")
    answer = turn(client, messages)
    assert called(answer) == ["get_time"]
    answer = turn(client, with_results(messages, answer))
    assert answer.content[-1].text == ANSWER


def test_a_provider_that_dies_within_a_plain_text_is_gone_on_with(town: Town) -> None:
    """The caller sees one answer: the text whole and once, though two providers said it."""
    first = town.provider("first", {"reply": {"text": ANSWER}, "pacing": SLOWLY})
    second = town.provider("second", {"reply": {"text": ANSWER}})
    client = town.client(first, second)
    pieces = []
    with client.messages.stream(model="default", max_tokens=500, messages=QUESTION) as stream:
        for number, piece in enumerate(stream.text_stream):
            pieces.append(piece)
            if number == 2:
                first.kill()
        answer: Any = stream.get_final_message()
    assert "".join(pieces) == answer.content[0].text == ANSWER
    assert answer.stop_reason == "end_turn"
    assert stream.response.headers["x-waypost-provider"] == "first"


def test_when_nobody_is_left_the_caller_is_told_in_the_clients_own_exception(town: Town) -> None:
    first = town.provider("first", {"reply": CALLED_PARIS_AND_ROME})
    second = town.provider("second", {"reply": CALLED_TIME})
    client = town.client(first, second)
    messages = with_results(QUESTION, turn(client, QUESTION))
    first.kill()
    second.kill()
    with pytest.raises(anthropic.InternalServerError) as raised:
        turn(client, messages)
    assert raised.value.status_code == 502
    assert raised.value.response.headers["x-waypost-attempts"] == "4"
