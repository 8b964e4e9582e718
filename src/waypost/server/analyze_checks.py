"""What may be analyzed: text that is text, a document of a type that is read, kinds and a model that there are."""

from __future__ import annotations

from typing import Final

from waypost.analysis.extractors.formats import TOLD_AS, format_of
from waypost.analysis.kinds import chosen_kinds, kinds_of
from waypost.errors import BinaryDocument, DocumentTooLarge, EmptyDocument, InvalidRequest, UnknownModel
from waypost.jobs.job import Input
from waypost.server.application import ServedApplication
from waypost.server.callers import Caller
from waypost.server.job_models import AnalyzeRequest
from waypost.webhooks.address import AddressRules

NO_TEXT: Final = str.maketrans(
    "", "", "".join(chr(code) for code in (*range(32), 127) if chr(code) not in "\t\n\r\f\x1b")
)
BINARY_SHARE: Final = 0.05
"""Of characters that no text has, or that stand for bytes that were none: with more it is no text."""


def text_input(text: str, param: str, most_bytes: int) -> Input:
    """The text as a job's content. Raises EmptyDocument, BinaryDocument, DocumentTooLarge, InvalidRequest."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{param} holds half of a surrogate pair, which is no character.", param=param) from None
    if len(data) > most_bytes:
        raise too_large(param, most_bytes, len(data))
    if not text.strip():
        raise EmptyDocument(f"{param} is empty." if not text else f"{param} is only white space.", param=param)
    strange = len(text) - len(text.translate(NO_TEXT)) + text.count("\N{REPLACEMENT CHARACTER}")
    if "\0" in text or strange > len(text) * BINARY_SHARE:
        raise BinaryDocument(
            f"{param} is not text.", hint="Send a document as a file, in a form (multipart/form-data).", param=param
        )
    return Input(data)


def document_input(document: Input) -> Input:
    """The document, with the type that it is of. Raises what is wrong with it, as far as its first bytes tell."""
    if not document.data.strip():
        raise EmptyDocument("The file is empty.", param="file")
    form = format_of(document.data, document.name or "", document.media_type)
    told = TOLD_AS[form]
    # What is said of a text's encoding is needed when it is read.
    media_type = document.media_type if document.media_type.startswith(f"{told};") else told
    return Input(document.data, media_type, document.name)


def too_large(param: str, most_bytes: int, size_bytes: int | None = None) -> DocumentTooLarge:
    """The error that names the limit."""
    if size_bytes is None:
        return DocumentTooLarge(f"{param} is over the limit of {most_bytes} bytes.", param=param)
    return DocumentTooLarge(f"{param} has {size_bytes} bytes, and the limit is {most_bytes}.", param=param)


def checked_webhook(served: ServedApplication, address: str | None) -> str | None:
    """The address, if it may be called. Raises WebhookRefused."""
    if address is not None:
        AddressRules(served.settings.webhooks.allowed_hosts).check(address)
    return address


def chosen(served: ServedApplication, caller: Caller, fields: AnalyzeRequest) -> list[str]:
    """The kinds that are asked for. Raises UnknownKind, UnknownModel, NotAllowed."""
    kinds = chosen_kinds(kinds_of(served.settings), fields.kinds)
    for model in dict.fromkeys(fields.model or kind.model for kind in kinds):
        caller.demand(model or "")
        try:
            served.gateway.router.plan(model)
        except UnknownModel:
            # Who named no model, and takes what there is without one, gets that.
            if model is not None or not fields.allow_offline:
                raise
    return [kind.name for kind in kinds]
