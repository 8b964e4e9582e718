"""What commands print: answers on standard output, everything else on standard error.

Colour is for terminals only, and never with NO_COLOR set (no-color.org).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

CONTROL = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def color() -> bool | None:
    """What click wants to know: False for never, None for "if this is a terminal"."""
    return False if os.environ.get("NO_COLOR") else None


def print_json(value: Any) -> None:
    """One JSON value, for scripts."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_answer(text: str) -> None:
    """A piece of a model's answer, at once. A terminal gets no control characters: they could rewrite the screen."""
    click.echo(text.translate(CONTROL) if sys.stdout.isatty() else text, nl=False)


def print_note(text: str) -> None:
    """A line beside the answer, dim."""
    click.echo(click.style(text, dim=True), err=True, color=color())


def print_error(text: str) -> None:
    """Each line of the text as an error of its own."""
    for line in text.splitlines():
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {line}", err=True, color=color())


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns, each as wide as its widest cell; the last is not padded."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        *cells, last = row
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        click.echo("  ".join([*padded, last]).rstrip())


def print_found(rows: Sequence[Sequence[str]], head: Sequence[str], what: str, more_limit: int | None) -> None:
    """What was looked for, or that there is none. `more_limit`: there are more, and this --limit shows more of them."""
    if not rows:
        print_note(f"No {what} fits.")
        return
    print_table([head, *rows])
    if more_limit is not None:
        print_note(f"There are more; --limit {more_limit} shows more of them.")


def size_text(size_bytes: int) -> str:
    """A size for people: `98.4 MB`."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        # What rounds to 1000 is written in the next unit.
        if value < 999.95:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
