"""Starting: what `waypost --help` loads and shows, and how errors end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from waypost import errors
from waypost.cli.exit_codes import MEANINGS, AddressUnavailable, exit_code
from waypost.cli.lazy import CommandPlace
from waypost.cli.main import COMMANDS, RootGroup, root

HEAVY = ("pydantic", "fastapi", "starlette", "aiohttp", "uvicorn", "yaml", "asyncio", "msgspec", "waypost.settings")


def run(environment: Mapping[str, str], *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=dict(environment),
        timeout=60,
        check=False,
        **options,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["--version"], ["serve", "--help"], ["ask", "--help"]])
def test_help_and_version_load_nothing_heavy(environment: Mapping[str, str], arguments: list[str]) -> None:
    done = run(environment, "-X", "importtime", "-m", "waypost.cli.main", *arguments)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "waypost.cli.lazy" in loaded
    assert loaded & set(HEAVY) == set()


def test_help_lists_every_command_and_exit_code_without_importing_a_command(environment: Mapping[str, str]) -> None:
    done = run(environment, "-X", "importtime", "-m", "waypost.cli.main", "--help")
    for name, place in COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert place.help in done.stdout
        assert place.place.partition(":")[0] not in done.stderr
    for code, meaning in MEANINGS.items():
        assert f"  {code}".ljust(7) + meaning in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_place_in_the_table_is_a_command_with_help(name: str) -> None:
    module, _, attribute = COMMANDS[name].place.partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


@pytest.mark.parametrize(("path", "command"), list(commands(root, "waypost")), ids=lambda value: str(value))
def test_every_option_has_a_sentence(path: str, command: click.Command) -> None:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


def test_a_mistyped_command_is_told_the_nearest(waypost: Callable[..., Result]) -> None:
    result = waypost("modls")
    assert result.exit_code == 2
    assert "No such command 'modls'. Did you mean 'models'?" in result.stderr


def test_version(waypost: Callable[..., Result]) -> None:
    from waypost import __version__

    assert waypost("version").stdout == waypost("--version").stdout == f"waypost {__version__}\n"
    assert f'"version": "{__version__}"' in waypost("version", "--json").stdout


def error_classes(kind: type[errors.WaypostError] = errors.WaypostError) -> Iterator[type[errors.WaypostError]]:
    yield kind
    for under in kind.__subclasses__():
        yield from error_classes(under)


@pytest.mark.parametrize("kind", list(error_classes()), ids=lambda kind: kind.__name__)
def test_every_error_has_a_documented_exit_code(kind: type[errors.WaypostError]) -> None:
    error = errors.AllTargetsFailed([]) if kind is errors.AllTargetsFailed else kind.__new__(kind)
    assert exit_code(error) in MEANINGS
    assert exit_code(error) not in (0, 2, 130)


def all_failed(*causes: Exception) -> errors.AllTargetsFailed:
    return errors.AllTargetsFailed([errors.Attempt("p", None, cause, 1) for cause in causes])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("m"), 3),
        (errors.ModelError("m"), 4),
        (AddressUnavailable("m"), 5),
        (errors.UnknownModel("m"), 1),
        (errors.AllTargetsFailed([]), 1),
        (all_failed(errors.ModelError("m"), errors.ModelError("n")), 4),
        (all_failed(errors.ModelError("m"), errors.ProviderOverloaded("n")), 1),
        (all_failed(ValueError("a plugin's own")), 1),
        (errors.ProviderOverloaded("m"), 1),
    ],
)
def test_exit_codes(error: errors.WaypostError, code: int) -> None:
    assert exit_code(error) == code


def failing(error: BaseException) -> RootGroup:
    """A root group whose command `fail` raises."""

    def fail() -> None:
        raise error

    group = RootGroup({"fail": CommandPlace("nowhere:fail", "Fails.")}, name="waypost")
    command = click.Command("fail", callback=fail)
    group.get_command = lambda ctx, cmd_name: command  # type: ignore[method-assign]
    return group


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (errors.ModelError("It is gone.", hint="Fetch it."), 4, "Error: It is gone. Fetch it.\n"),
        (errors.ConfigurationError("one\ntwo"), 3, "Error: one\nError: two\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_errors_end_in_sentences(error: BaseException, code: int, told: str) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert (result.exit_code, result.stderr, result.stdout) == (code, told, "")


def test_a_defect_keeps_its_stack_trace() -> None:
    defect = ZeroDivisionError("a defect")
    assert CliRunner().invoke(failing(defect), ["fail"]).exception is defect


def test_output_into_a_closed_pipe_is_quiet(environment: Mapping[str, str]) -> None:
    command = f"{sys.executable} -m waypost.cli.main config schema | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=dict(environment), timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("{", "")


def test_a_terminal_that_lacks_a_character_gets_a_question_mark(environment: Mapping[str, str], tmp_path: Any) -> None:
    file = tmp_path / "waypost.yaml"
    file.write_text("server\u0142: {}", encoding="utf-8")
    western = {**environment, "PYTHONIOENCODING": "latin-1"}
    done = run(western, "-m", "waypost.cli.main", "config", "check", "--config", str(file))
    assert done.returncode == 3
    assert "unknown key server?; did you mean server?" in done.stderr


@pytest.mark.parametrize(("variable", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal_unless_no_color_is_set(
    environment: Mapping[str, str], variable: dict[str, str], colored: bool
) -> None:
    import os
    import pty

    leader, follower = pty.openpty()
    plain = {name: value for name, value in environment.items() if name != "NO_COLOR"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "waypost.cli.main", "config", "check", "--config", "gone.yaml"],
            stderr=follower,
            env={**plain, **variable, "TERM": "xterm"},
            timeout=60,
            check=False,
        )
        told = os.read(leader, 4096)
    finally:
        os.close(leader)
        os.close(follower)
    assert done.returncode == 3
    assert b"gone.yaml does not exist." in told
    assert (b"\x1b[" in told) is colored
