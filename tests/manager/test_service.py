"""manager/service.py: the library face, with providers written by users: subclasses and plain doubles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import waypost
from waypost import AIResponse, AIServiceManager, AIServiceProvider, AllTargetsFailed
from waypost.chat import Collector, Finish
from waypost.errors import InvalidRequest, ProviderServerError


class Scripted(AIServiceProvider):
    """A user's own provider."""

    def __init__(self, *pieces: str, error: Exception | None = None, models: tuple[str, ...] = ()) -> None:
        self.pieces, self.error, self.models = pieces, error, models
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.closed = False

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        self.calls.append((prompt, kwargs))
        if self.error:
            raise self.error
        return AIResponse("".join(self.pieces), {"mine": 1}, "my-vendor", "my-model", {"input_tokens": 3})

    async def stream_response(self, prompt: str, **kwargs: Any) -> AsyncIterator[str]:
        self.calls.append((prompt, kwargs))
        for piece in self.pieces:
            yield piece
        if self.error:
            raise self.error

    def serves(self, model: str) -> bool | None:
        return model in self.models if self.models else None

    async def close(self) -> None:
        self.closed = True


class Double:
    """Not a subclass: just the two methods."""

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        return AIResponse(content=f"{prompt}!", metadata={}, provider="double", model="m", usage={})

    async def stream_response(self, prompt: str, **kwargs: Any) -> AsyncIterator[str]:
        async def pieces() -> AsyncIterator[str]:
            yield prompt
            yield "!"

        return pieces()


def manager(**providers: AIServiceProvider) -> AIServiceManager:
    made = AIServiceManager()
    for name, provider in providers.items():
        made.add_provider(name, provider)
    return made


async def text(made: AIServiceManager, prompt: str, **kwargs: Any) -> list[str]:
    return [piece async for piece in made.stream_response(prompt, **kwargs)]


def test_the_given_names_are_importable_and_the_others_are_not() -> None:
    for name in waypost.__all__:
        assert getattr(waypost, name) is not None
    assert not hasattr(waypost, "NoSuchName")


def test_a_provider_without_both_methods_cannot_be_made() -> None:
    class Half(AIServiceProvider):
        async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
            raise NotImplementedError

    with pytest.raises(TypeError, match="stream_response"):
        Half()  # type: ignore[abstract]


async def test_the_primary_is_first_whenever_it_was_added() -> None:
    first, primary = Scripted("first"), Scripted("primary")
    made = manager(first=first)
    made.add_provider("primary", primary, is_primary=True)
    assert (await made.generate_response("hi")).content == "primary"
    assert first.calls == []


async def test_fallbacks_come_in_the_order_added_with_the_same_arguments() -> None:
    broken, second, third = Scripted(error=RuntimeError("down")), Scripted("second"), Scripted("third")
    made = manager(broken=broken, second=second, third=third)
    response = await made.generate_response("hi", model="m", temperature=0.5, extra={"any": "thing"})
    assert response == AIResponse("second", {"mine": 1}, "my-vendor", "my-model", {"input_tokens": 3})
    assert broken.calls == second.calls == [("hi", {"model": "m", "temperature": 0.5, "extra": {"any": "thing"}})]
    assert [(attempt.provider, str(attempt.error or "")) for attempt in response.attempts] == [
        ("broken", "down"),
        ("second", ""),
    ]
    assert third.calls == []


async def test_when_all_fail_the_error_carries_each_providers_own() -> None:
    one, two = RuntimeError("first down"), ValueError("second down")
    with pytest.raises(Exception, match=r"^All AI providers failed.*first down.*second down") as caught:
        await manager(one=Scripted(error=one), two=Scripted(error=two)).generate_response("hi")
    assert isinstance(caught.value, AllTargetsFailed)
    assert caught.value.errors == {"one": one, "two": two}


async def test_no_providers_at_all_is_said() -> None:
    with pytest.raises(AllTargetsFailed, match="All AI providers failed: none is configured"):
        await AIServiceManager().generate_response("hi")


async def test_streaming_falls_back_before_the_first_token_only() -> None:
    broken = Scripted(error=RuntimeError("down"))
    assert await text(manager(broken=broken, second=Scripted("a", "b")), "hi") == ["a", "b"]

    cut, never = Scripted("a", error=RuntimeError("cut")), Scripted("b")
    got: list[str] = []
    with pytest.raises(RuntimeError, match="cut"):
        async for piece in manager(cut=cut, never=never).stream_response("hi"):
            got.append(piece)
    assert got == ["a"]
    assert never.calls == []


async def test_a_double_needs_no_base_class_and_its_stream_may_be_a_coroutine() -> None:
    async with AIServiceManager() as made:
        made.add_provider("double", Double())  # type: ignore[arg-type]
        assert (await made.generate_response("hi")).content == "hi!"
        assert await text(made, "hi") == ["hi", "!"]
        assert made.states()["double"].status == "ready"


async def test_a_provider_that_does_not_close_leaves_no_other_open() -> None:
    class Stubborn(Scripted):
        async def close(self) -> None:
            raise OSError("cannot close")

    before, after = Scripted("a"), Scripted("b")
    with pytest.raises(OSError, match="cannot close"):
        await manager(before=before, stubborn=Stubborn(), after=after).close()
    assert before.closed
    assert after.closed


async def test_an_answer_that_is_none_names_who_gave_it() -> None:
    class Wrong(Scripted):
        async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
            return "just text"  # type: ignore[return-value]

    with pytest.raises(TypeError, match="wrong gave str where an AIResponse is wanted"):
        await manager(wrong=Wrong()).generate_response("hi")


async def test_events_of_a_users_provider_obey_the_grammar_and_end_with_finish() -> None:
    collector = Collector()
    async with manager(mine=Scripted("a", "b")).stream_events("hi", model="m") as stream:
        assert (stream.provider, stream.model) == ("mine", "m")
        async for event in stream:
            collector.add(event)
    assert collector.response().text == "ab"
    assert isinstance(event, Finish)


async def test_a_provider_known_not_to_have_the_model_answers_last_and_with_its_own_default() -> None:
    has_not, has = Scripted("default", models=("other",)), Scripted(error=RuntimeError("down"), models=("wanted",))
    made = manager(has_not=has_not, has=has)
    response = await made.generate_response("hi", model="wanted", top_p=1)
    assert response.content == "default"
    assert [attempt.provider for attempt in response.attempts] == ["has", "has_not"]
    assert has_not.calls == [("hi", {"top_p": 1})]
    assert response.warnings == ("has_not does not have wanted; its default model answered.",)


async def test_a_model_nobody_knows_is_asked_of_everybody() -> None:
    one = Scripted("new", models=("old",))
    response = await manager(one=one).generate_response("hi", model="brand-new")
    assert one.calls == [("hi", {"model": "brand-new"})]
    assert response.warnings == ()


async def test_the_primary_is_asked_first_every_time_however_often_it_failed() -> None:
    """The library remembers no failures: a breaker that skips a provider is for the server's routes."""
    primary, second = Scripted(error=ProviderServerError("500")), Scripted("second")
    made = manager(primary=primary, second=second)
    for _ in range(12):
        await made.generate_response("hi")
        assert await text(made, "hi") == ["second"]
    assert len(primary.calls) == 24


async def test_leaving_the_block_closes_every_provider() -> None:
    one, two = Scripted("a"), Scripted("b")
    async with manager(one=one, two=two) as made:
        await made.generate_response("hi")
    assert one.closed
    assert two.closed


async def test_a_callers_mistake_is_not_blamed_on_providers() -> None:
    second = Scripted("b")
    with pytest.raises(InvalidRequest):
        await manager(one=Scripted(error=InvalidRequest("empty")), two=second).generate_response("")
    assert second.calls == []
