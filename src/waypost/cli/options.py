"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def config_option(function: Function) -> Function:
    """`--config FILE`, passed on as `config_file`."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings file. [default: $WAYPOST_CONFIG, else ./waypost.yaml if it is there]",
    )(function)


def json_option(what: str) -> Callable[[Function], Function]:
    """`--json`, passed on as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")
