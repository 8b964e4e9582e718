"""What `waypost config import` writes and tells: the file, tried before it is written, and the account of the rest."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waypost.errors import ConfigurationError

if TYPE_CHECKING:
    from waypost.litellm import Imported

OUTCOMES = ("changed", "left out")


def imported_text(imported: Imported, source: Path, out: Path) -> str:
    """The settings as a file. Raises ConfigurationError if Waypost itself would refuse it."""
    import yaml

    head = f"# Taken over from {source.name} by: waypost config import. What is in ${{…}} comes from the environment.\n"
    text = head + yaml.safe_dump(imported.settings, sort_keys=False, allow_unicode=True, width=110)
    _try(text, imported, out)
    return text


def _try(text: str, imported: Imported, out: Path) -> None:
    from waypost.settings import InvalidSettings, read_settings

    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "waypost.yaml"
        draft.write_text(text, encoding="utf-8")
        try:
            read_settings(draft, imported.placeholders)
        except InvalidSettings as error:
            told = "; ".join(problem.text for problem in error.problems)
            raise ConfigurationError(
                f"{out} is not written, as Waypost could not use it: {told}.", hint="Change that in the source."
            ) from error


def told_account(imported: Imported, out: Path) -> dict[str, Any]:
    """For scripts."""
    return {
        "ok": not imported.is_empty,
        "file": None if imported.is_empty else str(out),
        **{
            part: sorted(imported.settings.get(part, {}))
            for part in ("providers", "routes", "aliases", "prices", "keys")
        },
        **{
            outcome.replace(" ", "_"): [
                {"where": finding.where, "text": finding.text}
                for finding in imported.findings
                if finding.outcome == outcome
            ]
            for outcome in OUTCOMES
        },
        "variables": dict(imported.variables),
    }


def printed_account(imported: Imported, out: Path) -> Iterator[str]:
    """For people."""
    if imported.is_empty:
        yield "Nothing could be taken over, and nothing is written."
    else:
        parts = {name: imported.settings.get(name, {}) for name in ("providers", "routes", "aliases", "prices")}
        yield f"Took over into {out}: " + ", ".join(f"{len(part)} {name}" for name, part in parts.items() if part)
    for outcome in OUTCOMES:
        found = [finding for finding in imported.findings if finding.outcome == outcome]
        if found:
            yield f"{outcome.capitalize()}:"
            yield from (f"  {finding.where}: {finding.text}" for finding in found)
    if imported.variables and not imported.is_empty:
        yield "Variables to be set:"
        yield from (f"  {name}: {purpose}" for name, purpose in imported.variables.items())
        yield f"Then check it with: waypost config check --config {out}"
