"""How a line of the log is written: readable, or as JSON, with the ids of the request and trace that it belongs to.

The invariant: no secret of the settings, and nothing that has a known key's shape, is in any line, whoever wrote it and
whatever an exception says. Headers and bodies are never given to a logger at all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, SecretStr

from waypost.telemetry.secret_shapes import find_secrets

Form: TypeAlias = Literal["text", "json"]
Ids: TypeAlias = Callable[[], tuple[str, str]]
"""The ids of the request and of the trace that the running task works for; empty texts outside of one."""
REDACTED: Final = "[redacted]"
SHORTEST: Final = 6
"""Anything shorter is no secret, and would be found inside ordinary words."""
TEXT: Final = "%(asctime)s %(levelname)s %(name)s%(ids)s: %(message)s"
FACTS: Final = "facts"
"""The record's attribute for members of its own in JSON; the text form tells them in its message."""


class Cleaner:
    """Takes secrets out of text: those it knows, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longer first: one may hold another.
        self._secrets = sorted({each for each in secrets if len(each) >= SHORTEST}, key=len, reverse=True)
        self.short = lru_cache(maxsize=1024)(self.__call__)
        """The same for texts that come again and again."""

    def __call__(self, text: str) -> str:
        """The text without them."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        spans = find_secrets(text)
        for begin, end in reversed(spans):
            text = f"{text[:begin]}{REDACTED}{text[end:]}"
        return text

    def all(self, value: Any) -> Any:
        """JSON data, with every text of it cleaned."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self(str(name)): self.all(each) for name, each in value.items()}
        return [self.all(each) for each in value] if isinstance(value, list | tuple) else value


def secrets_in(settings: BaseModel) -> Iterator[str]:
    """Every secret that the settings hold, and of an address with a password that too."""
    for name in type(settings).model_fields:
        yield from _secrets_of(getattr(settings, name))


def _secrets_of(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        yield text
        # postgresql://user:password@host/name
        account, at, _ = text.partition("://")[2].rpartition("@")
        if at and ":" in account:
            yield account.partition(":")[2]
    elif isinstance(value, BaseModel):
        yield from secrets_in(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _secrets_of(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _secrets_of(each)


class TextLines(logging.Formatter):
    """One readable line a record, with a trace below it if there is one."""

    def __init__(self, ids: Ids, clean: Cleaner) -> None:
        super().__init__(TEXT)
        self._ids = ids
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        """As it is written."""
        told = [each for each in self._ids() if each]
        record.ids = f" [{' '.join(told)}]" if told else ""
        return self._clean(super().format(record))


class JsonLines(logging.Formatter):
    """One line of JSON a record: time, level, logger, message, ids, and what it has of its own."""

    def __init__(self, ids: Ids, clean: Cleaner) -> None:
        super().__init__()
        self._ids = ids
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        """As it is written."""
        facts = getattr(record, FACTS, None)
        request_id, trace_id = self._ids()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            # Where the facts are members of their own, the message need not repeat them.
            "message": record.getMessage() if facts is None else record.msg.partition(": %")[0],
            "request_id": request_id,
            "trace_id": trace_id,
            **(facts or {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(self._clean.all({name: value for name, value in line.items() if value not in ("", None)}))


def formatter(form: Form, ids: Ids, clean: Cleaner) -> logging.Formatter:
    """What writes lines of this form."""
    return (JsonLines if form == "json" else TextLines)(ids, clean)


def direct(name: str, handler: logging.Handler, level: str) -> None:
    """Have a logger write there, and nowhere else."""
    logger = logging.getLogger(name)
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
