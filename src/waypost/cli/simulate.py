"""`waypost simulate`: a stand-in for the providers, to test against without keys or cost."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8100, show_default=True, type=click.IntRange(0, 65535), help="0 lets the system choose."
)
@click.option(
    "--script",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="YAML file that says what to answer, how fast, and what goes wrong. [default: plain answers]",
)
def simulate(host: str, port: int, script: Path | None) -> None:
    """Play OpenAI, Anthropic, Gemini and Azure on one port: scripted answers, batches and faults over real sockets."""
    from waypost.cli.exit_codes import AddressUnavailable
    from waypost.cli.listening import check_address
    from waypost.simulator import serve
    from waypost.simulator.guard import is_loopback

    if not is_loopback(host):
        raise AddressUnavailable(
            f'The simulator listens on this machine only, and "{host}" is no loopback address: it asks for no key '
            "and shows whoever reaches it what it was asked.",
            hint="Use --host 127.0.0.1.",
        )
    check_address(host, port, "waypost simulate")
    serve(host, port, script)
