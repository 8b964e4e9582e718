"""The official SDKs behind one face, so that a test can go over all of them: each is used as its manual says.

A tool loop sends back what the SDK gave, as it gave it, with the tools' results; nothing is added or left out.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import pydantic
from anthropic import AsyncAnthropic
from google import genai
from google.genai import types
from openai import AsyncOpenAI

MAX_ROUNDS = 5
Tools = Mapping[str, Callable[[dict[str, Any]], str]]


class Weather(pydantic.BaseModel):
    city: str
    degrees: float


DECLARED: list[dict[str, Any]] = [
    {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
    {
        "name": "get_time",
        "description": "The time in a zone",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    },
]


@dataclass
class Loop:
    """What became of a tool loop: the calls of each round, and the text at the end."""

    rounds: list[list[tuple[str, dict[str, Any]]]] = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True)
class Call:
    """One tool call as an SDK gave it."""

    call_id: str
    name: str
    arguments: dict[str, Any]


class Agent(ABC):
    """One SDK's client at one address, asking for one model."""

    def __init__(self, url: str, model: str) -> None:
        self.url = url
        self.model = model

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connections."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    async def say(self, text: str, *, stream: bool) -> str:
        """The answer's text."""

    @abstractmethod
    async def parsed(self, text: str) -> Weather | None:
        """An answer in the form of a class."""

    @abstractmethod
    def begin(self, text: str) -> list[Any]:
        """A conversation's first turn."""

    @abstractmethod
    async def turn(self, conversation: list[Any], *, stream: bool) -> tuple[list[Call], str]:
        """Ask, with tools and reasoning; the answer goes into the conversation as it is."""

    @abstractmethod
    def results(self, told: list[tuple[Call, str]]) -> list[Any]:
        """The turn that brings the tools' results."""

    async def loop(self, text: str, tools: Tools, *, stream: bool) -> Loop:
        """Until there is an answer without calls."""
        conversation, loop = self.begin(text), Loop()
        for _ in range(MAX_ROUNDS):
            calls, loop.text = await self.turn(conversation, stream=stream)
            if not calls:
                return loop
            loop.rounds.append([(call.name, call.arguments) for call in calls])
            conversation += self.results([(call, tools[call.name](call.arguments)) for call in calls])
        raise AssertionError(f"there is no end: {loop}")


class OpenAIChatAgent(Agent):
    """`openai`, Chat Completions."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(url, model)
        self._client = AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=20)
        self._tools: Any = [{"type": "function", "function": tool} for tool in DECLARED]

    async def close(self) -> None:
        await self._client.close()

    async def say(self, text: str, *, stream: bool) -> str:
        messages: Any = self.begin(text)
        if stream:
            chunks = await self._client.chat.completions.create(model=self.model, messages=messages, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])
        answer = await self._client.chat.completions.create(model=self.model, messages=messages)
        return answer.choices[0].message.content or ""

    async def parsed(self, text: str) -> Weather | None:
        messages: Any = self.begin(text)
        answer = await self._client.chat.completions.parse(model=self.model, messages=messages, response_format=Weather)
        return answer.choices[0].message.parsed

    def begin(self, text: str) -> list[Any]:
        return [{"role": "user", "content": text}]

    async def turn(self, conversation: list[Any], *, stream: bool) -> tuple[list[Call], str]:
        asked: Any = {"model": self.model, "messages": conversation, "tools": self._tools, "reasoning_effort": "low"}
        if stream:
            async with self._client.chat.completions.stream(**asked) as events:
                async for _ in events:
                    pass
                message: Any = (await events.get_final_completion()).choices[0].message
        else:
            message = (await self._client.chat.completions.create(**asked)).choices[0].message
        conversation.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        calls = [
            Call(call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()
        ]
        return calls, message.content or ""

    def results(self, told: list[tuple[Call, str]]) -> list[Any]:
        return [{"role": "tool", "tool_call_id": call.call_id, "content": result} for call, result in told]


class OpenAIResponsesAgent(Agent):
    """`openai`, Responses, with nothing stored."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(url, model)
        self._client = AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=20)
        self._tools: Any = [{"type": "function", "strict": False, **tool} for tool in DECLARED]

    async def close(self) -> None:
        await self._client.close()

    async def say(self, text: str, *, stream: bool) -> str:
        if stream:
            async with self._client.responses.stream(model=self.model, input=text) as events:
                deltas = [event.delta async for event in events if event.type == "response.output_text.delta"]
                assert (await events.get_final_response()).output_text == "".join(deltas)
            return "".join(deltas)
        return (await self._client.responses.create(model=self.model, input=text)).output_text

    async def parsed(self, text: str) -> Weather | None:
        answer = await self._client.responses.parse(model=self.model, input=text, text_format=Weather)
        return answer.output_parsed

    def begin(self, text: str) -> list[Any]:
        return [{"role": "user", "content": text}]

    async def turn(self, conversation: list[Any], *, stream: bool) -> tuple[list[Call], str]:
        asked: Any = {
            "model": self.model,
            "input": conversation,
            "tools": self._tools,
            "reasoning": {"effort": "low", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "store": False,
        }
        if stream:
            async with self._client.responses.stream(**asked) as events:
                async for _ in events:
                    pass
                answer: Any = await events.get_final_response()
        else:
            answer = await self._client.responses.create(**asked)
        conversation += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in answer.output]
        calls = [
            Call(item.call_id, item.name, json.loads(item.arguments))
            for item in answer.output
            if item.type == "function_call"
        ]
        return calls, answer.output_text

    def results(self, told: list[tuple[Call, str]]) -> list[Any]:
        return [{"type": "function_call_output", "call_id": call.call_id, "output": result} for call, result in told]


class AnthropicAgent(Agent):
    """`anthropic`, Messages."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(url, model)
        self._client = AsyncAnthropic(base_url=url, api_key="any", max_retries=0, timeout=20)
        self._tools: Any = [
            {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
            for tool in DECLARED
        ]

    async def close(self) -> None:
        await self._client.close()

    async def say(self, text: str, *, stream: bool) -> str:
        asked: Any = {"model": self.model, "max_tokens": 200, "messages": self.begin(text)}
        if stream:
            async with self._client.messages.stream(**asked) as events:
                return "".join([piece async for piece in events.text_stream])
        answer = await self._client.messages.create(**asked)
        return "".join(block.text for block in answer.content if block.type == "text")

    async def parsed(self, text: str) -> Weather | None:
        messages: Any = self.begin(text)
        answer = await self._client.messages.parse(
            model=self.model, max_tokens=200, messages=messages, output_format=Weather
        )
        return answer.parsed_output

    def begin(self, text: str) -> list[Any]:
        return [{"role": "user", "content": text}]

    async def turn(self, conversation: list[Any], *, stream: bool) -> tuple[list[Call], str]:
        asked: Any = {
            "model": self.model,
            "max_tokens": 3000,
            "messages": conversation,
            "tools": self._tools,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        }
        if stream:
            async with self._client.messages.stream(**asked) as events:
                answer: Any = await events.get_final_message()
        else:
            answer = await self._client.messages.create(**asked)
        conversation.append({"role": "assistant", "content": answer.content})
        calls = [Call(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"]
        return calls, "".join(block.text for block in answer.content if block.type == "text")

    def results(self, told: list[tuple[Call, str]]) -> list[Any]:
        blocks = [{"type": "tool_result", "tool_use_id": call.call_id, "content": result} for call, result in told]
        return [{"role": "user", "content": blocks}]


class GoogleAgent(Agent):
    """`google-genai`, the Gemini API."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(url, model)
        options = types.HttpOptions(base_url=url, timeout=20_000)
        self._client = genai.Client(api_key="any", http_options=options).aio
        self._models = self._client.models
        self._tools = [
            types.FunctionDeclaration(
                name=tool["name"], description=tool["description"], parameters_json_schema=tool["parameters"]
            )
            for tool in DECLARED
        ]

    async def close(self) -> None:
        await self._client.aclose()

    async def say(self, text: str, *, stream: bool) -> str:
        if stream:
            chunks = await self._models.generate_content_stream(model=self.model, contents=text)
            return "".join([chunk.text or "" async for chunk in chunks])
        return (await self._models.generate_content(model=self.model, contents=text)).text or ""

    async def parsed(self, text: str) -> Weather | None:
        config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Weather)
        answer = await self._models.generate_content(model=self.model, contents=text, config=config)
        return answer.parsed if isinstance(answer.parsed, Weather) else None

    def begin(self, text: str) -> list[Any]:
        return [types.Content(role="user", parts=[types.Part(text=text)])]

    async def turn(self, conversation: list[Any], *, stream: bool) -> tuple[list[Call], str]:
        asked: Any = {
            "model": self.model,
            "contents": conversation,
            "config": types.GenerateContentConfig(
                tools=[types.Tool(function_declarations=self._tools)],
                thinking_config=types.ThinkingConfig(thinking_budget=1024, include_thoughts=True),
                automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            ),
        }
        if stream:
            chunks = [chunk async for chunk in await self._models.generate_content_stream(**asked)]
        else:
            chunks = [await self._models.generate_content(**asked)]
        parts = [part for chunk in chunks for part in _parts(chunk)]
        conversation.append(types.Content(role="model", parts=parts))
        found = [part.function_call for part in parts if part.function_call is not None]
        calls = [Call(call.id or "", call.name or "", dict(call.args or {})) for call in found]
        return calls, "".join(part.text for part in parts if part.text and not part.thought)

    def results(self, told: list[tuple[Call, str]]) -> list[Any]:
        parts = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.call_id or None, name=call.name, response={"result": result}
                )
            )
            for call, result in told
        ]
        return [types.Content(role="user", parts=parts)]


def _parts(chunk: types.GenerateContentResponse) -> list[types.Part]:
    candidate = (chunk.candidates or [types.Candidate()])[0]
    return list((candidate.content.parts if candidate.content else None) or [])


AGENTS: dict[str, type[Agent]] = {
    "chat": OpenAIChatAgent,
    "responses": OpenAIResponsesAgent,
    "anthropic": AnthropicAgent,
    "gemini": GoogleAgent,
}
