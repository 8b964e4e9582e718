"""The matrix as a Markdown table: written when the environment variable names a file, for the documentation."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from tests.matrix.house import Result
from tests.matrix.rows import Cell

VARIABLE = "WAYPOST_MATRIX_REPORT"
HEAD = "| fault | asked for as | the caller got | the providers saw | took | the record |\n" + "| --- " * 6 + "|\n"


class Report:
    """Collects cells in the order they ran; what all doors and providers have in common is one line."""

    def __init__(self) -> None:
        self._cells: list[tuple[Cell, Result]] = []

    def add(self, cell: Cell, result: Result) -> None:
        """One more cell, if its row holds."""
        if not cell.row.not_yet:
            self._cells.append((cell, result))

    def markdown(self) -> str:
        """The table."""
        lines: dict[tuple[str, ...], list[tuple[Cell, Result]]] = defaultdict(list)
        for cell, result in self._cells:
            lines[cell.row.name, _kind(result), _saw(result), _recorded(result)].append((cell, result))
        return HEAD + "".join(_line(key, cells) for key, cells in lines.items())

    def write(self) -> None:
        """To the file that the environment names, if it names one."""
        if (name := os.environ.get(VARIABLE)) and self._cells:
            Path(name).write_text(self.markdown(), encoding="utf-8")


REPORT = Report()


def _line(key: tuple[str, ...], cells: list[tuple[Cell, Result]]) -> str:
    row, kind, saw, recorded = key
    forms = {"a stream" if cell.stream else "JSON" for cell, _ in cells}
    took = sorted(result.took_s for _, result in cells)
    got = kind.format(words=", ".join(dict.fromkeys(_words(result) for _, result in cells)))
    return f"| {row} | {' or '.join(sorted(forms))} | {got} | {saw} | {took[0]:.1f}-{took[-1]:.1f} s | {recorded} |\n"


def _kind(result: Result) -> str:
    if result.heard.filtered:
        return "a part of the text, and that it was filtered" if result.heard.text else "that it was filtered"
    if not result.heard.told:
        return "the whole text"
    return "a part of the text, then {words}" if result.heard.told_in_stream else "{words}"


def _words(result: Result) -> str:
    """The error, in one dialect's words."""
    return f"`{result.heard.told}`" + ("" if result.heard.told_in_stream else f" ({result.status})")


def _saw(result: Result) -> str:
    return " → ".join(which for which, _ in result.calls)


def _recorded(result: Result) -> str:
    failed = ", ".join(f"{provider.rpartition('.')[2]}: `{code}`" for provider, code in result.failures)
    return f"{result.record['outcome']}" + (f" ({failed})" if failed else "")
