"""`waypost ask`: one question in this process, without a server. The answer is printed as it comes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_answer, print_json, print_note

if TYPE_CHECKING:
    from waypost.chat import Collector, Event
    from waypost.errors import Attempt
    from waypost.manager.service import AIStream, StreamingAIService

MAX_STDIN_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the last line and the JSON form tell of an answer."""

    id: str
    content: str
    provider: str
    model: str
    usage: dict[str, Any] | None
    finish_reason: str
    attempts: tuple[Attempt, ...]
    warnings: tuple[str, ...]
    duration_ms: int
    first_token_ms: int | None = None


@click.command()
@click.argument("prompt")
@click.option("-m", "--model", help="A route, an alias, provider/model, or a model's id. [default: the default route]")
@click.option("-s", "--system", help="Instructions that stand before the prompt.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--temperature", type=click.FloatRange(min=0, max=2), help="0 is steady, higher is more varied.")
@click.option("--no-stream", is_flag=True, help="Ask for the whole answer at once.")
@config_option
@json_option("the answer with provider, model, usage and times")
def ask(
    prompt: str,
    model: str | None,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    no_stream: bool,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Ask a model PROMPT and print the answer. A PROMPT of "-" is read from standard input."""
    # Costs 40 ms, which `waypost ask --help` need not pay.
    import asyncio

    wishes = {"model": model, "system": system, "max_tokens": max_tokens, "temperature": temperature}
    arguments = {name: value for name, value in wishes.items() if value is not None}
    answer = asyncio.run(_ask(config_file, _prompt(prompt), arguments, streamed=not no_stream, shown=not as_json))
    if as_json:
        print_json(_json(answer))
        return
    for note in _notes(answer):
        print_note(note)


def _prompt(text: str) -> str:
    """The question. Command lines and pipes may hold bytes that are no text."""
    try:
        if text != "-":
            text.encode()
        else:
            data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
            if len(data) > MAX_STDIN_BYTES:
                raise click.UsageError(f"Standard input is over the limit of {MAX_STDIN_BYTES} bytes for a prompt.")
            text = data.decode("utf-8-sig")
    except UnicodeError:
        raise click.UsageError("The prompt is not UTF-8 text.") from None
    if not text.strip():
        raise click.UsageError("The prompt is empty.")
    return text


async def _ask(
    config_file: Path | None, prompt: str, arguments: dict[str, Any], *, streamed: bool, shown: bool
) -> Answer:
    from waypost.app import build
    from waypost.settings import load_settings

    application = build(load_settings(config_file))
    asked = _ask_streamed if streamed else _ask_whole
    try:
        return await asked(application.manager, prompt, arguments, shown)
    finally:
        await application.close()


async def _ask_whole(manager: StreamingAIService, prompt: str, arguments: dict[str, Any], shown: bool) -> Answer:
    started_s = time.perf_counter()
    response = await manager.generate_response(prompt, **arguments)
    if shown:
        print_answer(f"{response.content}\n")
    return Answer(
        id=response.metadata.get("id", ""),
        content=response.content,
        provider=response.provider,
        model=response.model,
        usage=dict(response.usage) if response.usage else None,
        finish_reason=response.metadata.get("finish_reason", "other"),
        attempts=response.attempts,
        warnings=response.warnings,
        duration_ms=_since_ms(started_s),
    )


async def _ask_streamed(manager: StreamingAIService, prompt: str, arguments: dict[str, Any], shown: bool) -> Answer:
    from waypost.chat import Collector

    started_s, first_token_ms = time.perf_counter(), None
    collector, printer = Collector(), _Printer(shown)
    async with manager.stream_events(prompt, **arguments) as stream:
        try:
            async for event in stream:
                collector.add(event)
                if printer.take(event) and first_token_ms is None:
                    first_token_ms = _since_ms(started_s)
        finally:
            printer.end_line()
        return _answer(stream, collector, _since_ms(started_s), first_token_ms)


def _answer(stream: AIStream, collector: Collector, duration_ms: int, first_token_ms: int | None) -> Answer:
    from waypost.manager.response import usage_counts

    response = collector.response()
    return Answer(
        id=response.id,
        content=response.text,
        provider=stream.provider,
        model=stream.model,
        usage=usage_counts(response.usage),
        finish_reason=response.choices[0].reason,
        attempts=stream.attempts,
        warnings=stream.warnings,
        duration_ms=duration_ms,
        first_token_ms=first_token_ms,
    )


class _Printer:
    """Prints the text of the first choice as it comes; reasoning and tool calls are not printed."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._text_parts: set[int] = set()
        self._line_open = False

    def take(self, event: Event) -> bool:
        """Print what the event adds. True if it brought text of any kind, printed or not."""
        from waypost.chat import PartDelta, PartStart, Refusal, Text

        if isinstance(event, PartStart):
            text: str = getattr(event.part, "text", "")
            if event.choice == 0 and isinstance(event.part, Text | Refusal):
                self._text_parts.add(event.index)
        elif isinstance(event, PartDelta):
            text = event.text
        else:
            return False
        if self._shown and text and event.choice == 0 and event.index in self._text_parts:
            print_answer(text)
            self._line_open = not text.endswith("\n")
        return bool(text)

    def end_line(self) -> None:
        """So that what follows, an error too, begins on a line of its own."""
        if self._line_open:
            print_answer("\n")


def _since_ms(started_s: float) -> int:
    return round((time.perf_counter() - started_s) * 1000)


def _notes(answer: Answer) -> list[str]:
    """The lines after the answer; the last says who answered, with how many tokens, in what time."""
    # A retry that failed as the call before it did is not worth a second line.
    failed = dict.fromkeys(
        f"note: {attempt.provider} failed first: {attempt.error}" for attempt in answer.attempts if attempt.error
    )
    counts = answer.usage or {}
    tokens = f"{_count(counts.get('input_tokens'))} in, {_count(counts.get('output_tokens'))} out tokens"
    first = [f"first token {answer.first_token_ms / 1000:.2f} s"] if answer.first_token_ms is not None else []
    ended = [f"ended by {answer.finish_reason}"] if answer.finish_reason != "stop" else []
    told = [f"{answer.provider}/{answer.model}", tokens, *first, f"{answer.duration_ms / 1000:.2f} s", *ended]
    return [*failed, *(f"note: {warning}" for warning in answer.warnings), " · ".join(told)]


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)


def _json(answer: Answer) -> dict[str, Any]:
    return {
        "id": answer.id,
        "content": answer.content,
        "provider": answer.provider,
        "model": answer.model,
        "usage": answer.usage,
        "finish_reason": answer.finish_reason,
        "attempts": [
            {
                "provider": attempt.provider,
                "model": attempt.model,
                "error": str(attempt.error) if attempt.error else None,
                "duration_ms": attempt.duration_ms,
            }
            for attempt in answer.attempts
        ],
        "warnings": list(answer.warnings),
        "duration_ms": answer.duration_ms,
        "first_token_ms": answer.first_token_ms,
    }
