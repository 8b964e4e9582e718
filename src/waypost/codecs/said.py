"""How many tokens there were in a stream that was cut, told from its beginning and its length. An estimate."""

from __future__ import annotations

from waypost.chat import Event, PartDelta, PartStart
from waypost.codecs.codec import Codec
from waypost.codecs.estimate import estimate_text_tokens
from waypost.codecs.sse import SseDecoder


def said_tokens(codec: Codec, opening: bytes, sample: bytes, said_bytes: int) -> int:
    """The tokens in `said_bytes` of events with content; `sample` is the first of them, `opening` what came before."""
    if not sample:
        return 0
    decoder = codec.stream_decoder()
    events = [event for wire_event in SseDecoder().feed(opening + sample) for event in decoder.feed(wire_event)]
    tokens = estimate_text_tokens("".join(map(_text_of, events)))
    return -(-tokens * said_bytes // len(sample))


def _text_of(event: Event) -> str:
    if isinstance(event, PartDelta):
        return event.text
    return getattr(event.part, "text", "") if isinstance(event, PartStart) else ""
