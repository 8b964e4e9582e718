"""One request for each need, in the smallest form that shows it."""

from __future__ import annotations

from dataclasses import replace

from waypost.catalogue import Need
from waypost.chat import (
    FunctionTool,
    InlineData,
    Media,
    Message,
    ReasoningWish,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    ToolChoice,
)

QUESTION = Message("user", (Text("What is this?"),))
PLAIN = Request("m", (QUESTION,))
TOOL = FunctionTool("look_up", parameters={"type": "object"})
ANSWER = Message("assistant", (Text("It is a"),))


def media(kind: str, media_type: str) -> Request:
    part = Media(kind, InlineData(b"\x00\x01", media_type))  # type: ignore[arg-type]
    return replace(PLAIN, messages=(Message("user", (Text("What is this?"), part)),))


SHOWING: dict[Need, Request] = {
    Need.TOOLS: replace(PLAIN, tools=(TOOL,)),
    Need.PARALLEL_TOOLS: replace(PLAIN, tools=(TOOL,), tool_choice=ToolChoice(parallel=True)),
    Need.FORCED_TOOLS: replace(PLAIN, tools=(TOOL,), tool_choice=ToolChoice("tool", "look_up")),
    Need.IMAGES: media("image", "image/png"),
    Need.DOCUMENTS: media("document", "application/pdf"),
    Need.AUDIO_INPUT: media("audio", "audio/wav"),
    Need.PREFILL: replace(PLAIN, messages=(QUESTION, ANSWER)),
    Need.PREFILL_WITH_REASONING: replace(PLAIN, messages=(QUESTION, ANSWER), reasoning=ReasoningWish("high")),
    Need.STRUCTURED_OUTPUT: replace(PLAIN, response_format=ResponseFormat("json_schema", {"type": "object"})),
    Need.JSON_OBJECT: replace(PLAIN, response_format=ResponseFormat("json_object")),
    Need.REASONING: replace(PLAIN, reasoning=ReasoningWish(enabled=True)),
    Need.REASONING_BUDGET: replace(PLAIN, reasoning=ReasoningWish(budget_tokens=2000)),
    Need.REASONING_OFF: replace(PLAIN, reasoning=ReasoningWish("none")),
    Need.SAMPLING: replace(PLAIN, sampling=Sampling(temperature=0.2)),
    Need.LOGPROBS: replace(PLAIN, provider_options={"openai": {"logprobs": True, "top_logprobs": 2, "user": "u"}}),
    Need.SEVERAL_CHOICES: replace(PLAIN, sampling=Sampling(choices=2)),
    Need.SYSTEM_PROMPT: replace(PLAIN, messages=(Message("developer", (Text("Be brief."),)), QUESTION)),
}
