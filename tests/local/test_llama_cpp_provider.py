"""providers/llama_cpp.py: the real model behind the provider's face."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from waypost.chat import (
    Collector,
    FunctionTool,
    InlineData,
    Media,
    Message,
    Request,
    Sampling,
    Text,
    ToolChoice,
    ToolResult,
)
from waypost.errors import ModelError, ProviderConnectionLost, UnsupportedFeature
from waypost.local.catalogue import SMOLLM2_135M_INSTRUCT
from waypost.local.process import LocalModelOptions
from waypost.local.store import ModelStore
from waypost.providers.asked import Asked
from waypost.providers.llama_cpp import LlamaCppProvider, demand_abilities


def question(text: str, max_tokens: int | None = None) -> Asked:
    return Asked.of(Request("", (Message("user", (Text(text),)),), sampling=Sampling(max_tokens=max_tokens)))


async def test_it_answers_rightly_by_both_ways(real_store: ModelStore) -> None:
    provider = LlamaCppProvider("local", LocalModelOptions(), real_store)
    try:
        assert provider.state().status == "idle"
        whole = (await provider.generate(question("What is the capital of France?"))).response
        assert "Paris" in whole.text
        collector = Collector()
        async with provider.stream(question("What is the capital of France?")) as stream:
            async for batch in stream:
                for event in batch.events:
                    collector.add(event)
        assert "Paris" in collector.response().text
        assert provider.state().status == "ready"
    finally:
        await provider.close()


async def test_without_max_tokens_an_answer_ends_at_the_models_own_bound(real_store: ModelStore) -> None:
    """Not at the end of its context window, minutes later. A short bound stands for the catalogue's."""
    bounded = replace(SMOLLM2_135M_INSTRUCT, default_max_tokens=16)
    store = ModelStore(real_store.folder, {bounded.name: bounded})
    provider = LlamaCppProvider("local", LocalModelOptions(), store)
    try:
        story = (await provider.generate(question("Tell me a story"))).response
        assert (story.usage.output_tokens, story.choices[0].reason) == (16, "length")
        short = await provider.generate(question("Tell me a story", max_tokens=3))
        assert short.usage.output_tokens == 3
    finally:
        await provider.close()


def test_it_serves_its_one_model_and_no_other(real_store: ModelStore) -> None:
    provider = LlamaCppProvider("local", LocalModelOptions(), real_store)
    assert provider.serves(SMOLLM2_135M_INSTRUCT.name) is True
    assert provider.serves("gpt-5") is False


async def test_a_process_that_dies_in_mid_answer_is_told_as_such_and_the_next_request_is_answered(
    real_store: ModelStore,
) -> None:
    """Not as an address that nobody has heard of."""
    provider = LlamaCppProvider("local", LocalModelOptions(), real_store)
    try:
        with pytest.raises(ProviderConnectionLost) as caught:
            async with provider.stream(question("Tell me a story")) as stream:
                async for batch in stream:
                    if batch.token and (pid := provider._server.pid):
                        os.kill(pid, signal.SIGKILL)
        assert caught.value.message == (
            "The local model's process ended before its answer did: "
            "its process was ended by SIGKILL (as the system does when memory runs out)."
        )
        assert "127.0.0.1" not in str(caught.value)
        assert caught.value.provider == "local"
        assert (await provider.generate(question("What is the capital of France?"))).response.text
    finally:
        await provider.close()


PICTURE = Media("image", InlineData(b"png", "image/png"))
TOOLS = (FunctionTool("look"),)
ASKED = question("hello").request
LACKING = [
    (replace(ASKED, tools=TOOLS), "tools", "tools"),
    (replace(ASKED, tools=TOOLS, tool_choice=ToolChoice("auto")), "tools", "tools"),
    (replace(ASKED, tools=TOOLS, tool_choice=ToolChoice("tool", "look")), "tools", "tools"),
    (replace(ASKED, tool_choice=ToolChoice("required")), "tools", "tool_choice"),
    (replace(ASKED, messages=(Message("user", (Text("What is it?"), PICTURE)),)), "images", "messages"),
    (replace(ASKED, messages=(Message("tool", (ToolResult("c", (PICTURE,)),)),)), "images", "messages"),
    (replace(ASKED, messages=(Message("user", (replace(PICTURE, kind="audio"),)),)), "sound", "messages"),
]


@pytest.mark.parametrize(("request_", "what", "param"), LACKING)
async def test_what_the_model_cannot_do_is_refused_both_ways_and_nothing_is_started(
    request_: Request, what: str, param: str, tmp_path: Path
) -> None:
    provider = LlamaCppProvider("local", LocalModelOptions(), ModelStore(tmp_path))
    with pytest.raises(UnsupportedFeature, match=rf"{SMOLLM2_135M_INSTRUCT.name} cannot use {what}\.") as caught:
        await provider.generate(Asked.of(request_))
    assert caught.value.param == param
    assert "another model" in caught.value.hint
    with pytest.raises(UnsupportedFeature):
        async with provider.stream(Asked.of(request_)):
            pass
    await provider.close()


def test_tools_that_must_not_be_called_are_no_reason_to_refuse() -> None:
    demand_abilities(replace(ASKED, tools=TOOLS, tool_choice=ToolChoice("none")), SMOLLM2_135M_INSTRUCT)


def test_a_model_that_can_do_it_is_asked() -> None:
    able = replace(SMOLLM2_135M_INSTRUCT, tools=True, images=True)
    for request, what, _ in LACKING:
        if what != "sound":
            demand_abilities(request, able)


async def test_what_a_file_of_ones_own_can_do_is_not_judged(tmp_path: Path) -> None:
    """It gets as far as looking for the file."""
    provider = LlamaCppProvider("own", LocalModelOptions(str(tmp_path / "own.gguf")), ModelStore(tmp_path))
    for request, _, _ in LACKING:
        with pytest.raises(ModelError, match=r"own\.gguf"):
            await provider.generate(Asked.of(request))
    await provider.close()
