"""From a request and the plan for it to a whole answer in canonical form. No I/O, no clock, no chance.

What is said comes from the script, or is invented from the request (`invention`); stop sequences and the largest
number of tokens are heeded either way (`limits`), and usage is counted, unless the script gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from waypost.chat import (
    Choice,
    FinishReason,
    FunctionTool,
    Part,
    Reasoning,
    Refusal,
    Request,
    Response,
    Text,
    ToolCall,
    Usage,
)
from waypost.simulator.dialect import Dialect, Ids, dump
from waypost.simulator.invention import call_of, invented_parts, offered_functions
from waypost.simulator.limits import shortened, stopped
from waypost.simulator.script import Plan, Reply, ScriptedCall, last_user_text
from waypost.simulator.tokens import count_answer

_RESPONSE_ID = {"openai": ("chatcmpl-", 29), "anthropic": ("msg_01", 22)}
_CALL_ID = {"openai": ("call_", 24), "anthropic": ("toolu_01", 22)}


def answer(request: Request, plan: Plan, dialect: Dialect, ids: Ids, *, created: int) -> Response:
    """The answer, with usage counted over all of it, hidden reasoning too."""
    scripted = plan.reply != Reply()
    choices = tuple(
        _choice(index, request, plan, dialect, ids, scripted=scripted) for index in range(request.sampling.choices or 1)
    )
    response = Response(
        id=ids.make(*_RESPONSE_ID[dialect.name]),
        model=request.model,
        choices=choices,
        usage=_overridden(count_answer(choices, request), plan),
        created=created,
    )
    return dialect.told(response, invented=not scripted)


def _choice(index: int, request: Request, plan: Plan, dialect: Dialect, ids: Ids, *, scripted: bool) -> Choice:
    parts = _scripted_parts(plan.reply, request, dialect, ids) if scripted else invented_parts(request, dialect, ids)
    parts = [_with_call_id(part, dialect, ids, index * 1000 + place) for place, part in enumerate(parts)]
    parts, stop_sequence = stopped(parts, request.sampling.stop_sequences)
    parts, cut = shortened(parts, request.sampling.max_tokens)
    reason = "length" if cut else "stop" if stop_sequence else _reason(parts, dialect)
    return Choice(
        index=index,
        parts=tuple(parts),
        reason=plan.finish_reason or reason,
        stop_sequence=None if cut or plan.finish_reason else stop_sequence,
    )


def _reason(parts: Sequence[Part], dialect: Dialect) -> FinishReason:
    if any(isinstance(part, ToolCall) for part in parts):
        return "tool_calls"
    return dialect.refusal_reason if any(isinstance(part, Refusal) for part in parts) else "stop"


def _scripted_parts(reply: Reply, request: Request, dialect: Dialect, ids: Ids) -> list[Part]:
    if reply.echo:
        return [Text(last_user_text(request))]
    parts: list[Part] = []
    if reply.reasoning is not None:
        parts.append(Reasoning(reply.reasoning, opaque=dialect.reasoning_opaque(ids)))
    if reply.text is not None:
        parts.append(Text(reply.text))
    if reply.refusal is not None:
        parts.append(Refusal(reply.refusal))
    return [*parts, *(_scripted_call(call, request) for call in reply.tool_calls)]


def _scripted_call(call: ScriptedCall, request: Request) -> ToolCall:
    if isinstance(call.arguments, str):
        return ToolCall("", call.name, call.arguments)
    if call.arguments is not None:
        return ToolCall("", call.name, dump(call.arguments).decode())
    offered = next((tool for tool in offered_functions(request) if tool.name == call.name), FunctionTool(call.name))
    return call_of(offered, request)


def _with_call_id(part: Part, dialect: Dialect, ids: Ids, index: int) -> Part:
    return replace(part, call_id=ids.make(*_CALL_ID[dialect.name], index)) if isinstance(part, ToolCall) else part


def _overridden(usage: Usage, plan: Plan) -> Usage:
    if plan.usage is None:
        return usage
    return replace(usage, **{name: count for name, count in asdict(plan.usage).items() if count is not None})
