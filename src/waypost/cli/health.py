"""`waypost health`: does a server answer? For health checks of containers, which have no curl.

It is run every few seconds beside a busy server: nothing but the standard library's client is imported.
"""

from __future__ import annotations

import http.client
import os
from urllib.parse import SplitResult, urlsplit

import click

from waypost.errors import WaypostError

USUAL_PORT = 8000
USUAL_PATH = "/health"


class Unwell(WaypostError):
    """No answer, or one that says that all is not well."""


@click.command()
@click.argument("url", required=False)
@click.option(
    "--timeout",
    "timeout_s",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.01),
    metavar="S",
    help="Seconds to wait for the answer.",
)
def health(url: str | None, timeout_s: float) -> None:
    """Say whether the address answers with status 200, with exit code 1 if not.

    URL is the server's, or any other; /health is asked for if it has no path.
    [default: http://127.0.0.1:$WAYPOST_PORT, 8000]
    """
    address = _address(url or f"http://127.0.0.1:{os.environ.get('WAYPOST_PORT') or USUAL_PORT}")
    status = _ask(address, timeout_s)
    if status != http.client.OK:
        raise Unwell(f"{address.geturl()} answers with status {status}.")
    click.echo("ok")


def _address(url: str) -> SplitResult:
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise click.BadParameter("must be an address such as http://127.0.0.1:8000", param_hint="URL")
    return address if address.path.strip("/") else address._replace(path=USUAL_PATH)


def _ask(address: SplitResult, timeout_s: float) -> int:
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=timeout_s)
    try:
        connection.request("GET", address._replace(scheme="", netloc="", fragment="").geturl())
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise Unwell(f"{address.geturl()} does not answer: {why}.") from error
    finally:
        connection.close()
