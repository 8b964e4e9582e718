"""providers/llama_cpp.py: the real model behind the provider's face."""

from __future__ import annotations

from waypost.chat import Collector, Message, Request, Sampling, Text
from waypost.local.catalogue import SMOLLM2_135M_INSTRUCT
from waypost.local.process import LocalModelOptions
from waypost.local.store import ModelStore
from waypost.providers.llama_cpp import LlamaCppProvider


def question(text: str, max_tokens: int | None = None) -> Request:
    return Request("", (Message("user", (Text(text),)),), sampling=Sampling(max_tokens=max_tokens))


async def test_the_same_question_has_the_same_answer_by_both_ways_and_a_bound(real_store: ModelStore) -> None:
    """Without max_tokens an answer ends at the model's own bound, not at the end of its context window."""
    provider = LlamaCppProvider("local", LocalModelOptions(), real_store)
    try:
        assert provider.state().status == "idle"
        whole = await provider.generate(question("What is the capital of France?"))
        assert whole.text == "The capital of France is Paris."
        collector = Collector()
        async with provider.stream(question("What is the capital of France?")) as events:
            async for event in events:
                collector.add(event)
        assert collector.response().text == whole.text
        assert provider.state().status == "ready"

        story = await provider.generate(question("Tell me a story"))
        assert story.usage.output_tokens == SMOLLM2_135M_INSTRUCT.default_max_tokens
        assert story.choices[0].reason == "length"
        short = await provider.generate(question("Tell me a story", max_tokens=3))
        assert short.usage.output_tokens == 3
    finally:
        await provider.close()


def test_it_serves_its_one_model_and_no_other(real_store: ModelStore) -> None:
    provider = LlamaCppProvider("local", LocalModelOptions(), real_store)
    assert provider.serves(SMOLLM2_135M_INSTRUCT.name) is True
    assert provider.serves("gpt-5") is False
