"""`waypost explain`: what became of a request, asked of the server that answered it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import click

from waypost.cli.options import config_option, json_option
from waypost.errors import ProviderUnreachable, RequestError, UnknownRequest, WaypostError

TIMEOUT_S = 10
KEY_VARIABLE = "WAYPOST_KEY"


@click.command()
@click.argument("request_id")
@click.option("--url", help="The server's address. [default: server.host and server.port of the settings]")
@click.option("--key", help=f"The key that made the request, or an admin's. [default: ${KEY_VARIABLE}]")
@config_option
@json_option("the story with its attempts")
def explain(request_id: str, url: str | None, key: str | None, config_file: Path | None, as_json: bool) -> None:
    """Tell the story of REQUEST_ID, which is in the header x-request-id of every reply."""
    story = _asked(request_id, url or _own_url(config_file), key or os.environ.get(KEY_VARIABLE))
    click.echo(json.dumps(story, indent=2, ensure_ascii=False) if as_json else "\n".join(story["explanation"]))


def _own_url(config_file: Path | None) -> str:
    from waypost.settings import read_settings

    server = read_settings(config_file).settings.server
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}"


def _asked(request_id: str, url: str, key: str | None) -> Any:
    if not url.startswith(("http://", "https://")):
        raise RequestError(f'"{url}" is no address of a server.', hint="Give one such as http://127.0.0.1:8000.")
    path = f"{url.rstrip('/')}/api/ai/requests/{urllib.parse.quote(request_id, safe='')}/explain"
    headers = {"authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(path, headers=headers)  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310  # nosec B310 - an http address
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise _refusal(error) from error
    except json.JSONDecodeError as error:
        raise RequestError(f"What answers at {url} is no Waypost server.", hint="Give its address by --url.") from error
    except ValueError as error:
        raise RequestError("The key cannot be sent as a header.", hint="Give the key as one line of ASCII.") from error
    except OSError as error:
        raise ProviderUnreachable(
            f"No Waypost server answers at {url}.", hint="Start it with waypost serve, or give --url."
        ) from error


def _refusal(error: urllib.error.HTTPError) -> WaypostError:
    try:
        told = json.load(error)["error"]
        message, hint = str(told["message"]), str(told.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        return RequestError(f"The server answered with status {error.code}.")
    return (UnknownRequest if error.code == UnknownRequest.http_status else RequestError)(message, hint=hint)
