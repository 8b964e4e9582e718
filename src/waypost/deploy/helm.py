"""A version on a cluster: Helm puts the chart there and waits for its pods; then the smoke test has its say.

Kubernetes does the switch and the drain here, and Helm keeps the record. What is left to do is to try the version the
way callers come, and to go back if it does not work.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from waypost.deploy.errors import DeployFailed, DeployRefused
from waypost.deploy.run import Teller
from waypost.deploy.settings import DeployFile, HelmSettings
from waypost.deploy.smoke import demand_passed, longest_s, own_waypost, smoke_keys, smoke_words

MARGIN_S: Final = 60.0
ROLLOUT_S: Final = 30.0
"""For the service to lead to the new pods after Helm has seen them ready."""

COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "revisions": ("history", "{release}", "--output", "json", "--max", "20"),
    # --atomic has another name since Helm 4, which still takes this one.
    "upgrade": ("upgrade", "{release}", "{chart}", "--install", "--atomic", "--create-namespace", "--timeout", "{s}s"),
    "rollback": ("rollback", "{release}", "{revision}", "--wait", "--timeout", "{s}s"),
}


@dataclass(frozen=True, slots=True)
class Revision:
    """One deploy in Helm's own record."""

    number: int
    status: str


class Cluster:
    """One release of the chart. `is_dry`: commands are told and not run, but for looks."""

    def __init__(self, file: DeployFile, helm: HelmSettings, teller: Teller, *, is_dry: bool) -> None:
        self._file = file
        self._helm = helm
        self._teller = teller
        self._is_dry = is_dry

    def put(self, version: str) -> None:
        """Upgrade, try, and go back if it does not work. Raises DeployFailed."""
        before = self._deployed()
        self._teller.step(self.name, f"upgrade to {version}")
        values = [word for path in self._helm.values for word in ("--values", str(path))]
        # A version of digits and a dot is a number for --set.
        self._do("upgrade", *values, "--set-string", f"image.tag={version}")
        self._teller.step(self.name, "try it the way callers come")
        try:
            self._try(version)
        except (DeployFailed, KeyboardInterrupt) as error:
            reason = str(error) or "It was interrupted."
            if before is None:
                raise DeployFailed(f"{reason} Nothing was deployed there before, so {version} stays.") from error
            self._teller.step(self.name, f"go back to revision {before.number}")
            self._do("rollback", revision=str(before.number))
            raise DeployFailed(
                f"{version} is not on {self.name}: {reason} Revision {before.number} is back."
            ) from error

    def go_back(self) -> None:
        """To the revision that was deployed before the present one. Raises DeployRefused, DeployFailed."""
        earlier = [revision for revision in self._revisions() if revision.status == "superseded"]
        if not earlier:
            raise DeployRefused(f"There is no revision before on {self.name}.")
        self._teller.step(self.name, f"go back to revision {earlier[-1].number}")
        self._do("rollback", revision=str(earlier[-1].number))
        self._try(None)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self._helm.namespace}/{self._helm.release}"

    def _deployed(self) -> Revision | None:
        return next((each for each in reversed(self._revisions()) if each.status == "deployed"), None)

    def _revisions(self) -> list[Revision]:
        done = self._run(self._words("revisions"), MARGIN_S)
        if done.returncode and "not found" in done.stderr:
            return []
        return [Revision(int(row["revision"]), str(row["status"])) for row in json.loads(_demand(done).stdout)]

    def _try(self, version: str | None) -> None:
        words = [*own_waypost(), *smoke_words(self._file.smoke, self._file.smoke.url, version, wait_s=ROLLOUT_S)]
        if self._is_dry:
            self._teller.script(" ".join(words))
            return
        environment = {**os.environ, **smoke_keys(self._file.smoke)}
        done = self._run(words, longest_s(self._file.smoke) + ROLLOUT_S + MARGIN_S, environment)
        demand_passed(done.stdout, done.stderr)

    def _do(self, name: str, *more: str, **values: str) -> None:
        words = [*self._words(name, **values), *more]
        if self._is_dry:
            self._teller.script(" ".join(words))
            return
        _demand(self._run(words, self._helm.timeout_s + MARGIN_S))

    def _words(self, name: str, **values: str) -> list[str]:
        helm = self._helm
        told = {"release": helm.release, "chart": str(helm.chart), "s": f"{helm.timeout_s:.0f}", **values}
        where = ["--namespace", helm.namespace, *(["--kube-context", helm.context] if helm.context else [])]
        return [helm.program, *(word.format(**told) for word in COMMANDS[name]), *where]

    def _run(
        self, words: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        try:
            # A session of its own: Ctrl-C is for the deploy, which then takes back what it did.
            return subprocess.run(  # noqa: S603 - a program of the deploy file's
                words,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                start_new_session=True,
                env=environment,
            )
        except FileNotFoundError as error:
            raise DeployFailed(f"There is no program {words[0]} here.", hint="Install Helm.") from error
        except subprocess.TimeoutExpired as error:
            raise DeployFailed(f"{words[0]} {words[1]} took more than {timeout_s:g} s.") from error


def _demand(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if done.returncode:
        raise DeployFailed((done.stderr.strip() or done.stdout.strip())[-2000:] or f"It ended with {done.returncode}.")
    return done
