"""`waypost version`."""

from __future__ import annotations

import click

from waypost import __version__
from waypost.cli.output import print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with Python and platform.")
def version(as_json: bool) -> None:
    """Print the version."""
    if not as_json:
        click.echo(f"waypost {__version__}")
        return
    import platform

    print_json({"version": __version__, "python": platform.python_version(), "platform": platform.platform()})
