"""The matrix as a Markdown table: written when the environment variable names a file, for the documentation."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from tests.matrix.house import Result
from tests.matrix.rows import Cell

VARIABLE = "WAYPOST_MATRIX_REPORT"
HEAD = (
    "| fault | asked for | doors and providers | what the caller got | what the providers saw | took | record |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


class Report:
    """Collects cells in the order they ran; cells of a row with the same outcome share a line."""

    def __init__(self) -> None:
        self._cells: list[tuple[Cell, Result]] = []

    def add(self, cell: Cell, result: Result) -> None:
        """One more cell."""
        self._cells.append((cell, result))

    def markdown(self) -> str:
        """The table."""
        lines: dict[tuple[str, ...], list[tuple[Cell, Result]]] = defaultdict(list)
        for cell, result in self._cells:
            form = "a stream" if cell.stream else "JSON"
            lines[cell.row.name, form, _got(result), _saw(result), _recorded(result)].append((cell, result))
        return HEAD + "".join(_line(key, cells) for key, cells in lines.items())

    def write(self) -> None:
        """To the file that the environment names, if it names one."""
        if (name := os.environ.get(VARIABLE)) and self._cells:
            Path(name).write_text(self.markdown(), encoding="utf-8")


REPORT = Report()


def _line(key: tuple[str, ...], cells: list[tuple[Cell, Result]]) -> str:
    row, form, got, saw, recorded = key
    who = "all" if len(cells) == 8 else ", ".join(f"{cell.door.name} ← {cell.wires[0]}" for cell, _ in cells)
    took = sorted(result.took_s for _, result in cells)
    return f"| {row} | {form} | {who} | {got} | {saw} | {took[0]:.1f}-{took[-1]:.1f} s | {recorded} |\n"


def _got(result: Result) -> str:
    if not result.heard.told:
        return f"{result.status}, the whole text"
    if result.heard.told_in_stream:
        return f"{result.status}, a part of the text, then the error `{result.heard.told}`"
    return f"{result.status} `{result.heard.told}`"


def _saw(result: Result) -> str:
    return " → ".join(which for which, _ in result.calls)


def _recorded(result: Result) -> str:
    failed = ", ".join(f"{provider.rpartition('.')[2]}: `{code}`" for provider, code in result.failures)
    return f"{result.record['outcome']}" + (f" ({failed})" if failed else "")
