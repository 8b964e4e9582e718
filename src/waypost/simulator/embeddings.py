"""Embeddings: unit vectors made from the text alone, so that equal texts have equal vectors and like texts near ones.

Not a model's: a vector is the sum of one pseudo-random direction a word, and a little of the whole text's own.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from aiohttp import web

from waypost.chat import Json, Message, Request, Text
from waypost.simulator.dialect import Refused, error_for
from waypost.simulator.exchange import Exchange, json_in
from waypost.simulator.tokens import count_tokens

OPENAI_DIMENSIONS: Final = 1536
GEMINI_DIMENSIONS: Final = 3072
LARGE_DIMENSIONS: Final = 3072
MAX_INPUTS: Final = 2048
MAX_WORDS: Final = 256
WHOLE_TEXT_WEIGHT: Final = 0.25


def vector(text: str, dimensions: int, *, full: int) -> list[float]:
    """The text's unit vector: the first `dimensions` of `full`, made one unit long again."""
    sums = [value * WHOLE_TEXT_WEIGHT for value in _direction(f"text:{text}", full)[:dimensions]]
    for word in text.casefold().split()[:MAX_WORDS]:
        for place, value in enumerate(_direction(word, full)[:dimensions]):
            sums[place] += value
    length = math.sqrt(sum(value * value for value in sums)) or 1.0
    return [value / length for value in sums]


@lru_cache(maxsize=256)
def _direction(word: str, size: int) -> tuple[float, ...]:
    data = hashlib.shake_256(word.encode("utf-8", "replace")).digest(size)
    return tuple((byte - 127.5) / 127.5 for byte in data)


async def openai_embeddings(exchange: Exchange) -> web.StreamResponse:
    """`POST /v1/embeddings`: one text or several, or tokens; as numbers or base64 of float32."""
    exchange.authenticate()
    content = _object(exchange, await exchange.body())
    model = exchange.parts.get("model") or content.get("model")
    if not isinstance(model, str) or not model:
        raise _refused(exchange, "you must provide a model parameter", "model")
    texts = _texts(exchange, content.get("input"))
    full = LARGE_DIMENSIONS if model.endswith("-large") else OPENAI_DIMENSIONS
    dimensions = _dimensions(exchange, content.get("dimensions"), full, "dimensions")
    if (reply := await _planned(exchange, model, texts)) is not None:
        return reply
    wanted = content.get("encoding_format")
    encode = _ENCODINGS.get("float" if wanted is None else str(wanted))
    if encode is None:
        raise _refused(exchange, "encoding_format must be 'float' or 'base64'", "encoding_format")
    tokens = sum(map(count_tokens, texts))
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector(text, dimensions, full=full))}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return exchange.json({"object": "list", "data": data, "model": model, "usage": usage})


async def gemini_embedding(exchange: Exchange) -> web.StreamResponse:
    """`:embedContent`."""
    exchange.authenticate()
    content = _object(exchange, await exchange.body())
    text, values = _gemini(exchange, content, "")
    reply = await _planned(exchange, exchange.parts["model"], [text])
    return reply or exchange.json({"embedding": {"values": values}})


async def gemini_embeddings(exchange: Exchange) -> web.StreamResponse:
    """`:batchEmbedContents`."""
    exchange.authenticate()
    requests = _object(exchange, await exchange.body()).get("requests")
    if not isinstance(requests, list) or not requests:
        raise _refused(exchange, "* BatchEmbedContentsRequest.requests: requests is empty", "requests")
    found = [_gemini(exchange, each, f"requests[{index}].") for index, each in enumerate(requests)]
    reply = await _planned(exchange, exchange.parts["model"], [text for text, _ in found])
    return reply or exchange.json({"embeddings": [{"values": values} for _, values in found]})


def _gemini(exchange: Exchange, request: Json, where: str) -> tuple[str, list[float]]:
    content = request.get("content") if isinstance(request, dict) else None
    parts = content.get("parts") if isinstance(content, dict) else None
    parts = [parts] if isinstance(parts, dict) else parts
    if not isinstance(parts, list) or not parts:
        raise _refused(exchange, f"* EmbedContentRequest.content: {where}content is empty", "content")
    text = "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
    wanted = request.get("outputDimensionality") or request.get("output_dimensionality")
    dimensions = _dimensions(exchange, wanted, GEMINI_DIMENSIONS, f"{where}outputDimensionality")
    return text, vector(text, dimensions, full=GEMINI_DIMENSIONS)


async def _planned(exchange: Exchange, model: str, texts: Sequence[str]) -> web.StreamResponse | None:
    """The reply that the script, the header or the model's name wants instead, as for a conversation."""
    request = Request(model, tuple(Message("user", (Text(text),)) for text in texts))
    _, fault = exchange.plan(request)
    return await exchange.failed(fault)


def _object(exchange: Exchange, body: bytes) -> Mapping[str, Json]:
    content = json_in(body)
    if not isinstance(content, dict):
        raise _refused(exchange, "The body is not a JSON object.", None)
    return content


def _texts(exchange: Exchange, value: Json) -> list[str]:
    """The inputs; tokens are told apart by their numbers."""
    items = value if isinstance(value, list) and value and not isinstance(value[0], int) else [value]
    if len(items) > MAX_INPUTS:
        raise _refused(exchange, f"'input' array is too long: at most {MAX_INPUTS} items.", "input")
    return [_text(exchange, item) for item in items]


def _text(exchange: Exchange, item: Json) -> str:
    if isinstance(item, list) and item and all(type(token) is int for token in item):
        return " ".join(map(str, item))
    if isinstance(item, str) and item:
        return item
    raise _refused(exchange, "'$.input' is invalid: texts or tokens are wanted, and none may be empty.", "input")


def _dimensions(exchange: Exchange, value: Json, full: int, param: str) -> int:
    if value is None:
        return full
    if type(value) is not int or not 1 <= value <= full:
        raise _refused(exchange, f"{param} must be an integer between 1 and {full}", param)
    return value


def _refused(exchange: Exchange, message: str, param: str | None) -> Refused:
    error = error_for(exchange.dialect, name="bad_request", message=message)
    return Refused(error if param is None else error.at(param))


def _base64(values: Sequence[float]) -> str:
    """Little-endian float32, as OpenAI's clients read it."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


_ENCODINGS: Final[Mapping[str, Callable[[Sequence[float]], Json]]] = {"float": list, "base64": _base64}
