"""From a script's file, or a mapping of the same shape, to its values.

Every mistake is a ConfigurationError that names the file, the rule by its number, and the key, with the nearest
right key where one is near. The keys are those of the values in `script` and `faults`: nothing is listed twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import yaml

from waypost.chat import FinishReason
from waypost.errors import ConfigurationError
from waypost.simulator.faults import FAULT_KINDS, Fault, StatusFault
from waypost.simulator.limiter import RateLimits
from waypost.simulator.script import (
    BatchRule,
    Delivery,
    Match,
    Pacing,
    Reply,
    Rule,
    Script,
    ScriptedCall,
    UsageOverride,
    Window,
)

MAX_SCRIPT_BYTES = 4 * 1024 * 1024
_NOT_THE_PROVIDER = ((200, "html"), (200, "empty"))
_FAULT_LIMITS = {
    "retry_after_s": (0, 86400, "seconds"),
    "first_token_s": (0, 3600, "seconds"),
    "size_bytes": (1, 256 * 1024 * 1024, "bytes"),
}
_DAY_S = 86_400
_AT = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)


def load_script(path: Path) -> Script:
    """The script in a YAML or JSON file. Raises ConfigurationError."""
    try:
        if path.stat().st_size > MAX_SCRIPT_BYTES:
            raise ConfigurationError(f"{path}: the script is over the limit of {MAX_SCRIPT_BYTES} bytes.")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: the script cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: the script is not UTF-8 (byte {error.start}).") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ConfigurationError(f"{path}: {where}not YAML: {getattr(error, 'problem', None) or error}.") from error
    return script_from({} if content is None else content, source=str(path))


def script_from(content: object, *, source: str = "script") -> Script:
    """The script a mapping describes. Raises ConfigurationError."""
    return _Reader(source).script(content)


def fault_from(content: object, *, source: str) -> Fault:
    """The fault a mapping describes. Raises ConfigurationError."""
    return _Reader(source).fault(content, "")


class _Reader:
    """Walks the content. `where` is the path to a value, such as `rule 2, match.`."""

    def __init__(self, source: str) -> None:
        self._source = source

    def script(self, content: object) -> Script:
        content = self._mapping(content, "", Script)
        rules, batches = content.get("rules", []), content.get("batches", [])
        for key, listed in (("rules", rules), ("batches", batches)):
            if not isinstance(listed, list):
                raise self._error(key, "must be a list of rules")
        return Script(
            rules=tuple(self._rule(rule, f"rule {number}, ") for number, rule in enumerate(rules, 1)),
            models=self._value(content.get("models", []), "models", tuple[str, ...]),
            seed=self._value(content.get("seed", 0), "seed", int),
            pacing=self._pacing(content.get("pacing", {}), "pacing"),
            delivery=self._delivery(content.get("delivery", {}), "delivery"),
            limits=self._limits(content.get("limits"), "limits"),
            batches=tuple(self._batch(rule, f"batch {number}, ") for number, rule in enumerate(batches, 1)),
        )

    def _batch(self, content: object, where: str) -> BatchRule:
        content = self._mapping(content, where, BatchRule)
        given = {key: value for key, value in content.items() if value is not None}
        readers: dict[str, Callable[[object, str], Any]] = {
            "match": partial(self._section, kind=Match),
            "takes_s": self._seconds,
            "expires_s": self._seconds,
            "takes_polls": self._count,
            "answers": self._count,
            "cancel_polls": self._count,
            "fails": partial(self._value, kind=str),
            "times": self._times,
        }
        return BatchRule(**{key: readers[key](value, f"{where}{key}") for key, value in given.items()})

    def _seconds(self, content: object, where: str) -> float:
        seconds: float = self._value(content, where, float)
        if not 0 <= seconds <= _DAY_S:
            raise self._error(where, f"must be seconds between 0 and {_DAY_S}")
        return seconds

    def _count(self, content: object, where: str) -> int:
        count: int = self._value(content, where, int)
        if count < 0:
            raise self._error(where, "must be 0 or more")
        return count

    def _limits(self, content: object, where: str) -> RateLimits | None:
        if content is None:
            return None
        limits: RateLimits = self._section(content, where, RateLimits)
        for key in ("requests_per_minute", "tokens_per_minute"):
            if (value := getattr(limits, key)) is not None and value < 1:
                raise self._error(f"{where}.{key}", "must be 1 or more")
        return limits

    def _rule(self, content: object, where: str) -> Rule:
        content = self._mapping(content, where, Rule)
        given = {key: value for key, value in content.items() if value is not None}
        readers: dict[str, Callable[[object, str], Any]] = {
            "match": partial(self._section, kind=Match),
            "reply": self._reply,
            "pacing": self._pacing,
            "delivery": self._delivery,
            "usage": partial(self._section, kind=UsageOverride),
            "fault": lambda value, place: self.fault(value, f"{place}."),
            "finish_reason": partial(self._value, kind=FinishReason),
            "raw_finish_reason": partial(self._value, kind=str),
            "times": self._times,
            "every": self._times,
            "window": self._window,
        }
        return Rule(**{key: readers[key](value, f"{where}{key}") for key, value in given.items()})

    def _times(self, content: object, where: str) -> int:
        times: int = self._value(content, where, int)
        if times < 1:
            raise self._error(where, "must be 1 or more")
        return times

    def _window(self, content: object, where: str) -> Window:
        window: Window = self._section(content, where, Window)
        if window.on_s <= 0 or window.after_s < 0 or (window.off_s is not None and window.off_s <= 0):
            raise self._error(where, "must be of seconds above 0 (after_s: 0 or more)")
        return window

    def _reply(self, content: object, where: str) -> Reply:
        if isinstance(content, str):
            return Reply(text=content)
        content = self._mapping(content, f"{where}.", Reply)
        for call in self._list(content.get("tool_calls", []), f"{where}.tool_calls"):
            self._mapping(call, f"{where}.tool_calls.", ScriptedCall)
        reply: Reply = self._value(content, where, Reply)
        if reply.echo and (reply.text or reply.reasoning or reply.refusal or reply.tool_calls):
            raise self._error(f"{where}.echo", "cannot go with another kind of reply")
        return reply

    def _pacing(self, content: object, where: str) -> Pacing:
        pacing: Pacing = self._section(content, where, Pacing)
        for key in ("first_token_s", "token_interval_s"):
            if not 0 <= getattr(pacing, key) <= 3600:
                raise self._error(f"{where}.{key}", "must be seconds between 0 and 3600")
        if pacing.tokens_per_chunk < 1:
            raise self._error(f"{where}.tokens_per_chunk", "must be 1 or more")
        return pacing

    def _delivery(self, content: object, where: str) -> Delivery:
        delivery: Delivery = self._section(content, where, Delivery)
        if delivery.write_bytes < 0:
            raise self._error(f"{where}.write_bytes", "must be 0 (one write an event) or more")
        if delivery.events_per_write < 1:
            raise self._error(f"{where}.events_per_write", "must be 1 or more")
        return delivery

    def fault(self, content: object, where: str) -> Fault:
        """`where` ends in a point, or is empty."""
        if not isinstance(content, Mapping):
            raise self._error(where.rstrip("."), 'must be a mapping such as {"status": 429}')
        kinds = [key for key in content if key in FAULT_KINDS]
        if len(kinds) != 1:
            problem = "names several kinds of fault" if kinds else "names no kind of fault"
            near = _nearest(next(iter(content), ""), FAULT_KINDS)
            raise self._error(where.rstrip("."), f"{problem}; use one of {', '.join(FAULT_KINDS)}", near)
        self._mapping(content, where, FAULT_KINDS[kinds[0]])
        fault: Fault = self._value(content, where.rstrip("."), FAULT_KINDS[kinds[0]])
        self._check_fault(fault, kinds[0], where)
        return fault

    def _check_fault(self, fault: Fault, kind: str, where: str) -> None:
        if isinstance(fault, StatusFault) and not _may_be_told(fault):
            problem = f"must be between 400 and 599, or 200 with a body of html, not {fault.status}"
            raise self._error(f"{where}status", problem)
        for name, (least, most, unit) in _FAULT_LIMITS.items():
            value = getattr(fault, name, None)
            if value is not None and not least <= value <= most:
                raise self._error(f"{where}{name}", f"must be {unit} between {least} and {most}")
        if kind.endswith("_after_events") and getattr(fault, kind) < 0:
            raise self._error(f"{where}{kind}", "must be 0 or more")

    def _section(self, content: object, where: str, kind: Any) -> Any:
        return self._value(self._mapping(content, f"{where}.", kind), where, kind)

    def _mapping(self, content: object, where: str, kind: type) -> Mapping[str, Any]:
        if not isinstance(content, Mapping):
            raise self._error(where.rstrip(", ."), f"must be a mapping of keys and values, not {_kind_name(content)}")
        known = [item.name for item in fields(kind)]
        for key in content:
            if key not in known:
                hint = _nearest(key, known) or f"Known keys: {', '.join(known)}."
                raise self._error(f"{where}{key}", "is not a known key", hint)
        return content

    def _list(self, content: object, where: str) -> list[Any]:
        if not isinstance(content, list):
            raise self._error(where, f"must be a list, not {_kind_name(content)}")
        return content

    def _value(self, content: object, where: str, kind: Any) -> Any:
        try:
            return msgspec.convert(content, kind)
        except msgspec.ValidationError as error:
            problem, path = _told(error)
            hint = _nearest_of_words(problem, kind, path)
            raise self._error(f"{where}{path}".lstrip("."), problem, hint) from error

    def _error(self, where: str, problem: str, hint: str = "") -> ConfigurationError:
        place = f"{where}: " if where else ""
        return ConfigurationError(f"{self._source}: {place}{problem}.", hint=hint)


def _may_be_told(fault: StatusFault) -> bool:
    return 400 <= fault.status <= 599 or (fault.status, fault.body) in _NOT_THE_PROVIDER


def _told(error: msgspec.ValidationError) -> tuple[str, str]:
    """The library's sentence and the path it names, apart."""
    found = _AT.fullmatch(str(error))
    problem = found["problem"] if found else str(error)
    return problem[:1].lower() + problem[1:], (found["path"] or "") if found else ""


def _nearest_of_words(problem: str, kind: Any, path: str) -> str:
    """The nearest right word where the problem is a wrong one; `path` is one key, or empty for `kind` itself."""
    if not problem.startswith("invalid enum value"):
        return ""
    wanted = get_type_hints(kind).get(path.lstrip("."), kind) if path else kind
    words = [word for part in (wanted, *get_args(wanted)) for word in get_args(part) if isinstance(word, str)]
    given = problem.partition(" value ")[2].strip("'")
    return _nearest(given, words) or (f"Known words: {', '.join(words)}." if words else "")


def _nearest(key: object, known: Iterable[str]) -> str:
    near = get_close_matches(str(key), list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _kind_name(content: object) -> str:
    return "nothing" if content is None else type(content).__name__
