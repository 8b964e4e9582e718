"""OpenAI's moderations: an endpoint without a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from waypost.chat import Json, Message, Request, Text
from waypost.simulator.dialect import Refused, error_for
from waypost.simulator.exchange import Exchange, json_in

CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
SURE: Final = 0.97
UNLIKELY: Final = 0.0001


async def moderations(exchange: Exchange) -> web.StreamResponse:
    """`POST /v1/moderations`: a category is flagged if the text holds its name."""
    exchange.authenticate()
    content = json_in(await exchange.body())
    content = content if isinstance(content, dict) else {}
    texts = _texts(content.get("input"))
    if not texts:
        raise Refused(error_for(exchange.dialect, name="bad_request", message="'input' is missing.").at("input"))
    model = content.get("model")
    model = model if isinstance(model, str) and model else "omni-moderation-latest"
    _, fault = exchange.plan(Request(model, (Message("user", (Text(" ".join(texts)),)),)))
    if (reply := await exchange.failed(fault)) is not None:
        return reply
    results = [_result(text) for text in texts]
    return exchange.json({"id": exchange.ids.make("modr-", 26), "model": model, "results": results})


def _texts(value: Json) -> list[str]:
    """A text, several, or the parts of one message, whose texts count."""
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, dict) for item in items):
        return [" ".join(str(item.get("text", "")) for item in items if isinstance(item, Mapping))]
    return [item for item in items if isinstance(item, str)]


def _result(text: str) -> Json:
    flags = {category: category in text.casefold() for category in CATEGORIES}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {category: SURE if flag else UNLIKELY for category, flag in flags.items()},
        "category_applied_input_types": {category: ["text"] for category in CATEGORIES},
    }
