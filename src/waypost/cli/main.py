"""The root command. A WaypostError becomes one plain sentence and an exit code here, and nowhere else.

Imports click and the error tree only; anything heavier is imported inside the command that needs it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import IO, Any, NoReturn

import click

from waypost.cli.exit_codes import INTERRUPTED, MEANINGS, exit_code
from waypost.cli.lazy import CommandPlace, LazyGroup
from waypost.cli.output import color, print_error
from waypost.errors import WaypostError

COMMANDS = {
    "serve": CommandPlace("waypost.cli.serve:serve", "Run the server."),
    "worker": CommandPlace("waypost.cli.worker:worker", "Do background jobs beside the server, or elsewhere."),
    "ask": CommandPlace("waypost.cli.ask:ask", "Ask a model and print the answer."),
    "batch": CommandPlace("waypost.cli.batch:batch", "Do many texts or documents at once, from a file to a file."),
    "explain": CommandPlace("waypost.cli.explain:explain", "Tell what became of a request."),
    "projects": CommandPlace("waypost.cli.projects:projects", "Make, list, change and delete projects."),
    "keys": CommandPlace("waypost.cli.keys:keys", "Make, list, change, rotate and revoke keys."),
    "audit": CommandPlace("waypost.cli.audit:audit", "List what administrators changed."),
    "analyze": CommandPlace("waypost.cli.analyze:analyze", "Analyze a text or document in the background."),
    "jobs": CommandPlace("waypost.cli.jobs:jobs", "List, show, watch, cancel, retry and delete jobs."),
    "requests": CommandPlace("waypost.cli.requests:requests", "List, show and export requests."),
    "usage": CommandPlace("waypost.cli.usage:usage", "Show what was used and what it cost."),
    "webhooks": CommandPlace("waypost.cli.webhooks:webhooks", "List, show and send messages to other servers."),
    "models": CommandPlace("waypost.cli.models:models", "List, fetch, check and remove local models."),
    "prices": CommandPlace("waypost.cli.prices:prices", "Show, compare and update the prices of models."),
    "config": CommandPlace("waypost.cli.config:config", "Write, check and show the settings."),
    "db": CommandPlace("waypost.cli.db:db", "Upgrade, check, back up and restore the database."),
    "doctor": CommandPlace("waypost.cli.doctor:doctor", "Say what is missing here and how to mend it."),
    "health": CommandPlace("waypost.cli.health:health", "Say whether a server answers."),
    "smoke": CommandPlace("waypost.cli.smoke:smoke", "Try whether a running server does what its callers need."),
    "simulate": CommandPlace("waypost.cli.simulate:simulate", "Play a provider, faults included, to test against."),
    "version": CommandPlace("waypost.cli.version:version", "Print the version."),
}


class Refusal(click.ClickException):
    """A WaypostError on its way out through click."""

    def __init__(self, error: WaypostError) -> None:
        super().__init__(str(error))
        # click reads it from the instance, and declares it as one for all of the class.
        vars(self)["exit_code"] = exit_code(error)

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - click calls it so
        """Print it on standard error."""
        print_error(self.message)


class RootGroup(LazyGroup):
    """The outermost group: the one place where errors end."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An unexpected exception is a defect and keeps its stack trace."""
        try:
            return super().invoke(ctx)
        except WaypostError as error:
            raise Refusal(error) from error
        except KeyboardInterrupt:
            click.echo(err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """The exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in MEANINGS.items()])


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from waypost import __version__

        click.echo(f"waypost {__version__}")
        context.exit()


root = RootGroup(
    COMMANDS,
    name="waypost",
    help="One service in front of every model provider: gateway, simulator and quality gate.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "color": color()},
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Print the version and exit.",
        )
    ],
)


def main() -> NoReturn:
    """Entry point of the installed command."""
    for stream in (sys.stdout, sys.stderr):
        # An answer may hold characters that the terminal's encoding lacks; a "?" is better than a crash.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    with suppress(KeyboardInterrupt):
        root.main(prog_name="waypost")
    sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
