"""Recovery on streams as they are on the wire: cut at every event, gone on with in every dialect."""

from __future__ import annotations

from pathlib import Path

import pytest

from waypost.chat import Collector, Event, Failed, Message, PartDelta, PartStart, Request, Response, Text, collect
from waypost.codecs.anthropic_messages import codec as anthropic_messages
from waypost.codecs.codec import Codec
from waypost.codecs.gemini import codec as gemini
from waypost.codecs.openai_chat import codec as openai_chat
from waypost.codecs.openai_responses import codec as openai_responses
from waypost.codecs.sse import SseDecoder
from waypost.errors import ProviderConnectionLost
from waypost.gateway.recovery import recoverable
from waypost.gateway.seam import PrefillSeam, RestartSeam, Seam
from waypost.gateway.sent import Sent, Unrecoverable

FIXTURES = Path(__file__).parents[1] / "fixtures"
CODECS: dict[str, Codec] = {codec.name: codec for codec in (openai_chat, openai_responses, anthropic_messages, gemini)}
REQUEST = Request("m", (Message("user", (Text("hi"),)),))
BREAK = Failed(ProviderConnectionLost("gone"))

PLAIN = [
    "anthropic_messages/max_tokens",
    "anthropic_messages/stop_sequence",
    "anthropic_messages/text",
    "anthropic_messages/thinking",
    "anthropic_messages/usage_cached",
    "gemini/max_tokens",
    "gemini/text",
    "gemini/usage_cached",
    "openai_chat/length",
    "openai_chat/reasoning",
    "openai_chat/text",
    "openai_chat/usage_cached",
    "openai_responses/incomplete",
    "openai_responses/text",
]
NOT_PLAIN = [
    "anthropic_messages/tool_use",
    "anthropic_messages/unknown_block",
    "anthropic_messages/web_search",
    "gemini/function_call",
    "gemini/image_output",
    "gemini/logprobs",
    "openai_chat/citations",
    "openai_chat/logprobs",
    "openai_chat/refusal",
    "openai_chat/tool_call",
    "openai_responses/custom_tool",
    "openai_responses/logprobs",
    "openai_responses/refusal",
    "openai_responses/usage_cached",
    "openai_responses/web_search",
]


def decoded(codec: Codec, data: bytes) -> list[Event]:
    reader, decoder = SseDecoder(), codec.stream_decoder()
    events = [event for wire_event in reader.feed(data) for event in decoder.feed(wire_event)]
    return [*events, *decoder.finish()]


def encoded(codec: Codec, events: list[Event]) -> bytes:
    encoder = codec.stream_encoder()
    return b"".join([*(encoder.encode(event) for event in events), encoder.finish()])


def fixture(name: str) -> tuple[Codec, list[Event]]:
    codec = CODECS[name.partition("/")[0]]
    return codec, decoded(codec, (FIXTURES / f"{name}.sse").read_bytes())


def forwarded(seam: Seam, second: list[Event]) -> list[Event]:
    return [event for new in second for event in seam.feed(new)]


def answer(events: list[Event]) -> Response:
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response()


@pytest.mark.parametrize("dialect", CODECS)
@pytest.mark.parametrize("name", PLAIN)
def test_wherever_it_is_cut_the_caller_gets_the_whole_answer_in_his_dialect(name: str, dialect: str) -> None:
    codec, events = fixture(name)
    whole = collect(events)
    second = decoded(CODECS[dialect], encoded(CODECS[dialect], events))
    recovered = 0
    for cut in range(1, len(events)):
        sent = recoverable(REQUEST, [*events[:cut], BREAK])
        if isinstance(sent, Unrecoverable):
            assert sent.reason in ("the model was still thinking", "the answer was finished")
            continue
        recovered += 1
        joined = [*events[:cut], *forwarded(RestartSeam(sent), second)]
        response = answer(joined)
        assert response.text == whole.text
        assert (response.id, response.model, response.created) == (whole.id, whole.model, whole.created)
        assert response.choices[0].reason == collect(second).choices[0].reason
        assert collect(decoded(codec, encoded(codec, joined))).text == whole.text
    assert recovered > 1


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_an_answer_of_more_than_one_plain_text_is_not_recovered_once_that_was_sent(name: str) -> None:
    _, events = fixture(name)
    verdict = recoverable(REQUEST, [*events[:-1], BREAK])
    assert isinstance(verdict, Unrecoverable)
    assert verdict.reason.startswith(("the answer ha", "the answer holds")), verdict.reason


def test_anthropic_goes_on_from_a_prefill_in_the_words_of_another_stream() -> None:
    """Every cut of the text; the continuation is what follows the text without its white space at the end."""
    _, events = fixture("anthropic_messages/text")
    whole = collect(events).text
    cuts = [sent for cut in range(1, len(events)) if isinstance(sent := recoverable(REQUEST, events[:cut]), Sent)]
    going_on = [sent for sent in cuts if "prefill" in sent.ways]
    assert len(going_on) > 1
    for sent in going_on:
        continuation = whole[len(sent.text.rstrip()) :]
        second = forwarded(PrefillSeam(sent), _said(events, continuation))
        assert sent.text + "".join(event.text for event in second if isinstance(event, PartDelta)) == whole


def _said(events: list[Event], text: str) -> list[Event]:
    """The fixture's stream with another text, through the wire."""
    plain = [event for event in events if not isinstance(event, PartDelta)]
    place = next(at for at, event in enumerate(plain) if isinstance(event, PartStart))
    second = [*plain[: place + 1], PartDelta(0, text), *plain[place + 1 :]]
    return decoded(anthropic_messages, encoded(anthropic_messages, second))
