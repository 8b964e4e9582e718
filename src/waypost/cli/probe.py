"""`waypost probe`: does every model that the settings name really answer? For a pipeline, before a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from waypost.cli.exit_codes import FAILED
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_table

if TYPE_CHECKING:
    from waypost.cli.probing import Probe


@click.command()
@click.option("--simulate", "chosen", multiple=True, metavar="PROVIDER", help="Let the simulator play this provider.")
@click.option(
    "--simulate-missing",
    is_flag=True,
    help="Let the simulator play providers without a key, model or credentials here.",
)
@click.option(
    "--junit",
    "junit_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the outcome as JUnit XML.",
)
@config_option
@json_option("the outcome")
def probe(
    chosen: tuple[str, ...], simulate_missing: bool, junit_file: Path | None, config_file: Path | None, as_json: bool
) -> None:
    """Ask every target of every route for a short answer, whole and streamed. Exit code 1 if one gives none.

    It spends a few tokens at each. What the simulator plays is told, with the reason: it shows that the settings lead
    somewhere, and nothing of the vendor's model.
    """
    import asyncio

    from waypost.cli.probing import probe as ask_all

    probes = asyncio.run(ask_all(config_file, chosen, simulate_missing=simulate_missing))
    if as_json:
        print_json({"ok": not any(each.error for each in probes), "targets": [asdict(each) for each in probes]})
    else:
        print_table([_row(each) for each in probes])
    if junit_file is not None:
        _write_junit(junit_file, probes)
    if any(each.error for each in probes):
        raise click.exceptions.Exit(FAILED)


def _row(probe: Probe) -> tuple[str, str, str, str]:
    said = probe.error or (f"simulated: {probe.simulated}" if probe.simulated else f"{probe.duration_ms} ms")
    return probe.outcome, probe.target, ", ".join(probe.routes), said


def _write_junit(file: Path, probes: Sequence[Probe]) -> None:
    """What a pipeline shows of tests. What the simulator played is told as the case's output."""
    from xml.etree.ElementTree import Element, ElementTree, SubElement

    failures = sum(each.error is not None for each in probes)
    suite = Element("testsuite", name="waypost probe", tests=str(len(probes)), failures=str(failures))
    for each in probes:
        case = SubElement(suite, "testcase", name=each.target, classname="waypost.probe")
        case.set("time", f"{each.duration_ms / 1000:.3f}")
        if each.error:
            SubElement(case, "failure", message=each.error)
        if each.simulated:
            SubElement(case, "system-out").text = f"simulated: {each.simulated}"
    ElementTree(suite).write(file, encoding="utf-8", xml_declaration=True)
