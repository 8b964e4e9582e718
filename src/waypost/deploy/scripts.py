"""The shell scripts that a deploy runs on a host. Each may be run again; none knows what the others did.

What lies under the root:

    releases/VERSION/   a virtual environment with that version; `.complete` holds the SHA-256 of its wheel
    blue, green         links to the release that each colour serves, or served last
    current             a link to the colour that callers are given
    nginx/live          a link to the folder blue or green beside it, where nginx looks for a file of that name at each
                        request: that link is the switch
    run/, backups/, history.jsonl, lock
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from waypost.deploy.settings import DeployFile, SmokeSettings
from waypost.deploy.smoke import smoke_words
from waypost.deploy.supervisors import SUPERVISORS, Supervisor

Colour: TypeAlias = Literal["blue", "green"]
COLOURS: Final[tuple[Colour, ...]] = ("blue", "green")
OTHER: Final[Mapping[Colour, Colour]] = {"blue": "green", "green": "blue"}
STEP_S: Final = 0.2
LAST_WORDS_S: Final = 10
"""For streams that are ended before their time to tell their callers so."""
INSTALLERS: Final[Mapping[str, str]] = {
    "uv": """uv venv --quiet --python {python} "$release"
export UV_COMPILE_BYTECODE="${{UV_COMPILE_BYTECODE:-1}}"
uv pip install --quiet --python "$release/bin/python" --require-hashes -r "$release/requirements.txt"
uv pip install --quiet --python "$release/bin/python" --no-deps "$release"/*.whl""",
    "pip": """{python} -m venv "$release"
"$release/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$release/requirements.txt"
"$release/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$release"/*.whl""",
}


class Scripts:
    """The scripts for one deploy file."""

    def __init__(self, file: DeployFile) -> None:
        self._file = file
        self._root = shlex.quote(file.root)

    def release(self, version: str) -> str:
        """Where a version is, or is to be."""
        return f"{self._file.root}/releases/{version}"

    def look(self) -> str:
        """Prints `name value` lines of what is there. Changes nothing."""
        lines = [f"cd {self._root} 2>/dev/null || exit 0"]
        for colour in COLOURS:
            lines += [
                f'[ ! -L {colour} ] || echo "{colour} $(basename "$(readlink {colour})")"',
                f"if {self._supervisor(colour).alive}; then echo alive {colour}; fi",
            ]
        lines += [
            '[ ! -L nginx/live ] || echo "current $(readlink nginx/live)"',
            "for mark in releases/*/.complete; do",
            '  [ ! -e "$mark" ] || echo "release $(basename "$(dirname "$mark")") $(cat "$mark")"',
            "done",
        ]
        return "\n".join(lines)

    def begin_release(self, version: str) -> str:
        """An empty folder for files to be put in."""
        release = shlex.quote(self.release(version))
        return f"rm -rf {release}.new {release}\nmkdir -p {release}.new"

    def install(self, version: str, sha256: str) -> str:
        """Make the virtual environment from the files that were put beside it."""
        release = shlex.quote(self.release(version))
        commands = INSTALLERS[self._file.installer].format(python=self._file.python)
        # uv and venv want to make the folder themselves.
        commands = commands.replace('"$release/requirements.txt"', '"$release.new/requirements.txt"')
        commands = commands.replace('"$release"/*.whl', '"$release.new"/*.whl')
        return "\n".join(
            (
                f"{self._exports()}release={release}",
                commands,
                f'[ "$("$release/bin/waypost" version)" = "waypost {version}" ]',
                'mv "$release.new"/* "$release"/ && rmdir "$release.new"',
                f'echo {sha256} >"$release/.complete"',
            )
        )

    def waypost(self, version: str, *words: str, settings: bool = True) -> str:
        """A command of that version, with the surroundings that its server has."""
        config = ["--config", self._file.settings] if settings else []
        command = shlex.join([f"{self.release(version)}/bin/waypost", *words, *config])
        return f"cd {self._root}\n{self._surroundings()}{command}"

    def backup(self, version: str, name: str) -> str:
        """Write a backup by that version, and keep the newest."""
        return (
            f"mkdir -p -m 700 {self._root}/backups\n"
            + self.waypost(version, "db", "backup", f"{self._file.root}/backups/{name}")
            + f'\nls -1t backups/*.db | tail -n +{self._file.keep + 1} | while read -r old; do rm -f -- "$old"; done'
        )

    def start(self, colour: Colour, version: str) -> str:
        """Have the colour serve that version on its own port. What it served before, if it still runs, is ended."""
        supervisor = self._supervisor(colour)
        port = getattr(self._file.ports, colour)
        return "\n".join(
            (
                self._ended(colour, 0),
                f"mkdir -p -m 700 run && mkdir -p nginx/{colour} && : >nginx/{colour}/{colour}",
                # nginx has an account of its own, and must find it.
                f"chmod a+rx . nginx nginx/{colour}",
                f"ln -sfn releases/{shlex.quote(version)} {colour}.new && mv -fT {colour}.new {colour}",
                f"printf '%s' {shlex.quote(self._environment_of(port))} >run/{colour}.env",
                supervisor.start,
            )
        )

    def wait_until_up(self, colour: Colour, version: str) -> str:
        """Wait until it answers; fail as soon as it has ended, with its last words."""
        supervisor, port = self._supervisor(colour), getattr(self._file.ports, colour)
        settings = SmokeSettings(url=f"http://127.0.0.1:{port}", timeout_s=5)
        words = smoke_words(settings, settings.url, version, only=("health", "version"), wait_s=2)
        probe = shlex.join([f"{self.release(version)}/bin/waypost", *words])
        return "\n".join(
            (
                f"cd {self._root}",
                f"alive() {{ {supervisor.alive}; }}",
                f"ends_at=$(($(date +%s) + {round(self._file.start_s)}))",
                f"until {probe} >run/{colour}.probe 2>&1; do",
                f"  if ! alive; then echo 'It ended:'; {supervisor.log}; exit 1; fi",
                f'  if [ "$(date +%s)" -ge "$ends_at" ]; then cat run/{colour}.probe; {supervisor.log}; exit 1; fi',
                "done",
            )
        )

    def switch(self, colour: Colour) -> str:
        """Give callers that colour, from one request to the next: one rename."""
        return f"cd {self._root}/nginx\n{_link(colour, 'live')}\ncd ..\n{_link(colour, 'current')}"

    def end(self, colour: Colour, drain_s: float) -> str:
        """End the colour's server; what it still answers has that long."""
        return self._ended(colour, drain_s)

    def adopt(self, colour: Colour) -> str:
        """The machine's next start brings that colour up, and the other not."""
        return f"{self._supervisor(colour).adopt}\n{self._supervisor(OTHER[colour]).forget}"

    def relink(self, colour: Colour, version: str | None) -> str:
        """Have the colour's link lead where it led before."""
        if version is None:
            return f"rm -f {self._root}/{colour}"
        return f"cd {self._root}\n{_link(f'releases/{shlex.quote(version)}', colour)}"

    def record(self, line: Mapping[str, Any]) -> str:
        """Append to the history."""
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        return f"mkdir -p {self._root}\nprintf '%s\\n' {shlex.quote(text)} >>{self._root}/history.jsonl"

    def history(self) -> str:
        """Print it."""
        return f"cat {self._root}/history.jsonl 2>/dev/null || true"

    def tidy(self) -> str:
        """Remove old releases that no colour leads to."""
        return "\n".join(
            (
                f"cd {self._root}",
                'linked=" $(basename "$(readlink blue)") $(basename "$(readlink green || true)") "',
                f"ls -1t releases | tail -n +{self._file.keep + 1} | while read -r old; do",
                '  case "$linked" in *" $old "*) ;; *) rm -rf "releases/$old" ;; esac',
                "done",
            )
        )

    def _ended(self, colour: Colour, drain_s: float) -> str:
        """Told to end, told again when its time is over, killed at last. Nothing is done to one that is not there."""
        supervisor = self._supervisor(colour)
        turns, last_turns = round(drain_s / STEP_S), round(LAST_WORDS_S / STEP_S)
        return "\n".join(
            (
                f"cd {self._root}",
                f"alive() {{ {supervisor.alive}; }}",
                f"wait_for_end() {{ n=$1; while [ $n -gt 0 ] && alive; do sleep {STEP_S}; n=$((n-1)); done; }}",
                f"if alive; then {supervisor.terminate}; wait_for_end {turns}; fi",
                f"if alive; then {supervisor.terminate}; wait_for_end {last_turns}; fi",
                f"if alive; then {supervisor.kill}; wait_for_end {last_turns}; fi",
                f"if alive; then echo 'The {colour} server does not end.' >&2; exit 1; fi",
            )
        )

    def _supervisor(self, colour: Colour) -> Supervisor:
        file = self._file
        return SUPERVISORS[file.supervisor].filled(colour=colour, root=self._root, systemctl=file.systemctl)

    def without_surroundings(self, script: str) -> str:
        """For people: the variables are in their own file."""
        return script.replace(self._surroundings(), "").replace(self._exports(), "")

    def _exports(self) -> str:
        return "".join(f"export {line}\n" for line in self._variables())

    def _surroundings(self) -> str:
        """Variables for a command: the host's file of secrets, then the deploy file's."""
        secrets = self._file.environment_file
        read = f"set -a; . {shlex.quote(secrets)}; set +a\n" if secrets else ""
        return read + self._exports()

    def _environment_of(self, port: int) -> str:
        """The file of variables that a colour's server is started with."""
        secrets = self._file.environment_file
        read = f". {shlex.quote(secrets)}\n" if secrets and self._file.supervisor == "process" else ""
        own = {
            "WAYPOST_HOST": "127.0.0.1",
            "WAYPOST_PORT": str(port),
            "WAYPOST_CONFIG": self._file.settings,
            "WAYPOST_SHUTDOWN_GRACE_S": f"{min(self._file.drain_s, 3600):g}",
        }
        lines = [*self._variables(), *(f"{name}={shlex.quote(value)}" for name, value in own.items())]
        return read + "".join(f"{line}\n" for line in lines)

    def _variables(self) -> list[str]:
        return [f"{name}={shlex.quote(value)}" for name, value in self._file.environment.items()]


def _link(target: str, name: str) -> str:
    """A link that leads elsewhere from one moment to the next: `ln -sf` alone would have none between."""
    return f'ln -sfn "{target}" {name}.new && mv -fT {name}.new {name}'
