"""A click group that knows its commands by name and imports one only when it is used.

Invariant: `--help` of the group imports none of them, so it stays fast however heavy they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import click


@dataclass(frozen=True, slots=True)
class CommandPlace:
    """Where a command is (`module:name`) and its line in the group's help."""

    place: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are a table."""

    def __init__(self, places: Mapping[str, CommandPlace], **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.places = places

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        """The table's names, in its order."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """The command itself, imported now."""
        if cmd_name not in self.places:
            return None
        module, _, name = self.places[cmd_name].place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in self.places.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but with the table's names as what may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand:
            raise click.NoSuchCommand(args[0], possibilities=self.places, ctx=ctx) from None
