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
from waypost.simulator.dialect import Context, Dialect, Ids, ProviderFields, dump
from waypost.simulator.invention import call_of, invented_parts, offered_tools
from waypost.simulator.limits import shortened, stopped
from waypost.simulator.prefill import prefill_of, prefilled
from waypost.simulator.script import Plan, Reply, ScriptedCall, last_user_text
from waypost.simulator.tokens import count_answer


def answer(context: Context, plan: Plan, dialect: Dialect, ids: Ids, *, created: int) -> Response:
    """The answer, with usage counted over all of it, hidden reasoning too."""
    request = context.request
    choices = tuple(_choice(index, context, plan, dialect, ids) for index in range(request.sampling.choices or 1))
    response = Response(
        id=dialect.response_id(ids),
        model=request.model,
        choices=choices,
        usage=_overridden(count_answer(choices, request), plan),
        created=created,
        provider_fields=_feedback(plan.reply.blocked),
    )
    return dialect.told(response, context, ids)


def is_invented(reply: Reply) -> bool:
    """Does the script leave it to the simulator what to say?"""
    return replace(reply, prefill=None) == Reply()


def _feedback(blocked: str | None) -> ProviderFields:
    return {} if blocked is None else {"google": {"promptFeedback": {"blockReason": blocked}}}


def _choice(index: int, context: Context, plan: Plan, dialect: Dialect, ids: Ids) -> Choice:
    request = context.request
    if plan.reply.blocked is not None:
        return Choice(index, (), "content_filter", plan.reply.blocked)
    parts = (
        invented_parts(request, dialect, ids)
        if context.invented
        else _scripted_parts(plan.reply, request, dialect, ids)
    )
    parts = prefilled(parts, prefill_of(request), plan.reply.prefill or dialect.prefill)
    parts = [_with_call_id(part, dialect, ids, index * 1000 + place) for place, part in enumerate(parts)]
    parts, stop_sequence = stopped(parts, request.sampling.stop_sequences)
    parts, cut = shortened(parts, request.sampling.max_tokens)
    reason = "length" if cut else "stop" if stop_sequence else _reason(parts, dialect)
    return Choice(
        index=index,
        parts=tuple(parts),
        reason=plan.finish_reason or reason,
        raw_reason=plan.raw_finish_reason,
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
    offered = next((tool for tool in offered_tools(request) if tool.name == call.name), FunctionTool(call.name))
    made = call_of(offered, request)
    if call.arguments is None:
        return made
    written = call.arguments if isinstance(call.arguments, str) else dump(call.arguments).decode()
    return replace(made, arguments=written)


def _with_call_id(part: Part, dialect: Dialect, ids: Ids, index: int) -> Part:
    return replace(part, call_id=dialect.call_id(ids, index)) if isinstance(part, ToolCall) else part


def _overridden(usage: Usage, plan: Plan) -> Usage:
    if plan.usage is None:
        return usage
    return replace(usage, **{name: count for name, count in asdict(plan.usage).items() if count is not None})
