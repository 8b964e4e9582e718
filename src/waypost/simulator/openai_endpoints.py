"""OpenAI's endpoints without a conversation: moderations, and files as far as an upload is received and told."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.message import Message
from typing import Final

from aiohttp import content_disposition_filename, parse_content_disposition, web

from waypost.chat import Json, Request, Text
from waypost.chat import Message as Turn
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
    _, fault = exchange.plan(Request(model, (Turn("user", (Text(" ".join(texts)),)),)))
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


async def upload(exchange: Exchange) -> web.StreamResponse:
    """`POST /v1/files`: a multipart body with `purpose` and `file`, of which the size and name are told."""
    exchange.authenticate()
    body = await exchange.body()
    fields = _fields(exchange.request.headers.get("content-type", ""), body)
    for name in ("file", "purpose"):
        if name not in fields:
            message = f"Missing required parameter: '{name}'."
            raise Refused(error_for(exchange.dialect, name="bad_request", message=message).at(name))
    filename, data = fields["file"]
    return exchange.json({
        "id": exchange.ids.make("file-", 22),
        "object": "file",
        "bytes": len(data),
        "created_at": int(time.time()),
        "expires_at": None,
        "filename": filename or "upload",
        "purpose": fields["purpose"][1].decode(errors="replace"),
        "status": "processed",
        "status_details": None,
    })  # fmt: skip


def _fields(content_type: str, body: bytes) -> dict[str, tuple[str | None, bytes]]:
    """File name and bytes of each field of a form, empty if it is none. Source: RFC 7578; RFC 2046, 5.1.1."""
    head = Message()
    head["content-type"] = content_type
    boundary = head.get_boundary()
    if head.get_content_maintype() != "multipart" or boundary is None:
        return {}
    fields: dict[str, tuple[str | None, bytes]] = {}
    for part in (b"\r\n" + body).split(f"\r\n--{boundary}".encode())[1:-1]:
        lines, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found = _DISPOSITION.search(lines)
        disposition = found[1].decode(errors="replace") if found else ""
        _, parameters = parse_content_disposition(disposition)
        if name := parameters.get("name"):
            fields[name] = content_disposition_filename(parameters), data
    return fields


_DISPOSITION: Final = re.compile(rb"(?im)^content-disposition:[ \t]*(.*?)\r?$")
