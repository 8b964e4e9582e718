"""OpenAI's files: uploaded in a form, told, listed, read and deleted. Source: API reference, files."""

from __future__ import annotations

import re
import time
from email.message import Message
from typing import Final

from aiohttp import content_disposition_filename, parse_content_disposition

from waypost.chat import Json
from waypost.simulator.calls import Lines
from waypost.simulator.dialect import Refused, WireError, error_for
from waypost.simulator.exchange import Exchange
from waypost.simulator.files import File
from waypost.simulator.paging import limit_of, page_after

MAX_BYTES: Final = 200 * 1024 * 1024
"""Of a file for a batch; others are held to it too."""
MAX_FORM_BYTES: Final = MAX_BYTES + 64 * 1024
MAX_PAGE: Final = 10_000
PURPOSES: Final = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
UNREADABLE: Final = ("assistants", "user_data")
"""Files for these are not given out again."""
BATCH_LIFE_S: Final = 30 * 86_400
_LIVES_S: Final = range(3_600, 30 * 86_400 + 1)


async def upload(exchange: Exchange, body: bytes) -> Json:
    """`POST /v1/files`: a multipart body with `purpose` and `file`. Raises Refused."""
    fields = _fields(exchange.request.headers.get("content-type", ""), body)
    for name in ("file", "purpose"):
        if name not in fields:
            raise _refused(exchange, f"Missing required parameter: '{name}'.", name)
    (filename, content), purpose = fields["file"], fields["purpose"][1].decode(errors="replace")
    if purpose not in PURPOSES:
        raise _refused(exchange, f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'", "purpose")
    if purpose == "batch" and not (filename or "").endswith(".jsonl"):
        raise _refused(exchange, "Invalid file format for Batch API. Must be .jsonl", None)
    if len(content) > MAX_BYTES:
        raise Refused(error_for(exchange.dialect, name="too_large").at("file"))
    created_s = int(time.time())
    life_s = _life_s(exchange, fields, BATCH_LIFE_S if purpose == "batch" else None)
    expires_s = None if life_s is None else created_s + life_s
    file = File(exchange.ids.make("file-", 22), filename or "upload", purpose, content, created_s, expires_s)
    exchange.house.files.keep(file)
    return file.told()


def _life_s(exchange: Exchange, fields: dict[str, tuple[str | None, bytes]], usual_s: int | None) -> int | None:
    if "expires_after[seconds]" not in fields:
        return usual_s
    given = fields["expires_after[seconds]"][1]
    if not given.isdigit() or int(given[:9]) not in _LIVES_S:
        problem = f"must be whole seconds between {_LIVES_S[0]} and {_LIVES_S[-1]}"
        raise _refused(exchange, f"'expires_after.seconds' {problem}.", "expires_after")
    return int(given)


async def retrieve(exchange: Exchange, _: bytes) -> Json:
    """`GET /v1/files/{id}`."""
    return _found(exchange).told()


async def content(exchange: Exchange, _: bytes) -> Lines:
    """`GET /v1/files/{id}/content`."""
    file = _found(exchange)
    if file.purpose in UNREADABLE:
        raise _refused(exchange, f"Not allowed to download files of purpose: {file.purpose}", None)
    return Lines(file.content.splitlines(keepends=True), "application/octet-stream")


async def delete(exchange: Exchange, _: bytes) -> Json:
    """`DELETE /v1/files/{id}`."""
    file = _found(exchange)
    exchange.house.files.forget(file.id)
    return {"id": file.id, "object": "file", "deleted": True}


async def listed(exchange: Exchange, _: bytes) -> Json:
    """`GET /v1/files`: the newest first, unless `order=asc`."""
    query, kept = exchange.request.query, exchange.house.files.all
    ids = [file.id for file in kept.values() if query.get("purpose") in (None, file.purpose)]
    if query.get("order") != "asc":
        ids.reverse()
    page = page_after(ids, query.get("after"), limit_of(exchange, MAX_PAGE, MAX_PAGE))
    return {
        "object": "list",
        "data": [kept[file_id].told() for file_id in page.ids],
        "first_id": page.ids[0] if page.ids else None,
        "last_id": page.ids[-1] if page.ids else None,
        "has_more": page.has_more,
    }


def _found(exchange: Exchange) -> File:
    file_id = exchange.parts["id"]
    file = exchange.house.files.all.get(file_id)
    if file is None:
        raise Refused(WireError(404, "invalid_request_error", f"No such File object: {file_id}", param="id"))
    return file


def _refused(exchange: Exchange, message: str, param: str | None) -> Refused:
    error = error_for(exchange.dialect, name="bad_request", message=message)
    return Refused(error if param is None else error.at(param))


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
