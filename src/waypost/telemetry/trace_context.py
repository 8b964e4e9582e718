"""W3C trace context: who of a distributed trace asks us, and how we name ourselves to whom we ask. Values only.

What is not written as the standard has it is as good as absent: a request is never refused for its trace.
Source: W3C Trace Context, level 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import getrandbits
from typing import Final

import msgspec

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
LONGEST_STATE: Final = 512
"""Characters of a tracestate that is passed on; the standard asks for as many at least."""
MOST_MEMBERS: Final = 32

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]*)?")
_FORBIDDEN_VERSION: Final = "ff"
_FIRST_VERSION: Final = "00"
_SAMPLED: Final = 1
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_MEMBER: Final = re.compile(
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """A span somewhere in a trace. Ids are in hexadecimal; `state` is the tracestate as it came."""

    trace_id: str
    span_id: str
    is_sampled: bool
    state: str = ""

    @property
    def traceparent(self) -> str:
        """As a header."""
        return f"{_FIRST_VERSION}-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"


def read_context(parents: Sequence[str], states: Sequence[str] = ()) -> TraceContext | None:
    """The context in the values of both headers; None: there is none, or none that could be gone on with."""
    if len(parents) != 1:
        return None
    found = _PARENT.fullmatch(parents[0].strip(" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == _FORBIDDEN_VERSION or (version == _FIRST_VERSION and rest is not None):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED), _state(states))


def _state(values: Sequence[str]) -> str:
    """As one list; empty if anything of it is wrong."""
    if not values:
        return ""
    members = [member for value in values for part in value.split(",") if (member := part.strip(" \t"))]
    joined = ",".join(members)
    if len(members) > MOST_MEMBERS or len(joined) > LONGEST_STATE:
        return ""
    if not all(_MEMBER.fullmatch(member) for member in members):
        return ""
    keys = {member.partition("=")[0] for member in members}
    return joined if len(keys) == len(members) else ""


def new_trace_id() -> str:
    """A random one."""
    return f"{getrandbits(128) or 1:032x}"


def new_span_id() -> str:
    """A random one."""
    return f"{getrandbits(64) or 1:016x}"
