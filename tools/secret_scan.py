"""Is a secret in the repository? What looks like one and is none is known by its hash, in tools/known_secrets.json.

Tests are full of keys that open nothing: there only what has a vendor's form, or is a private key, is looked for.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Known: TypeAlias = Mapping[str, Mapping[str, Sequence[str]]]
"""File -> kind of secret -> hashes."""
FILE = "tools/known_secrets.json"
PASSED_OVER = rf"^({FILE}|requirements/.*\.txt|docs/reference/.*|src/waypost/catalogue/prices\.json)$"
"""Hashes of packages, and what is generated."""
GUESSES = ("KeywordDetector", "Base64HighEntropyString", "HexHighEntropyString", "BasicAuthDetector")
"""Detectors that go by what stands beside a text, or by how random it looks."""


def found_in(root: Path) -> dict[str, dict[str, list[str]]]:
    """What looks like a secret in the files that git knows, or would."""
    without_guesses = [part for name in GUESSES for part in ("--disable-plugin", name)]
    return {**_scan(root, [], but="^tests/"), **_scan(root, without_guesses, but="^(?!tests/)")}


def _scan(root: Path, options: Sequence[str], *, but: str) -> dict[str, dict[str, list[str]]]:
    # -n: a secret that is found is not tried out at its vendor.
    command = ["detect-secrets", "scan", "-n", *options, "--exclude-files", PASSED_OVER, "--exclude-files", but]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    found: dict[str, dict[str, list[str]]] = {}
    for file, secrets in sorted(json.loads(told)["results"].items()):
        kinds: dict[str, list[str]] = found.setdefault(file, {})
        for secret in secrets:
            kinds.setdefault(secret["type"], []).append(secret["hashed_secret"])
        found[file] = {kind: sorted(set(hashes)) for kind, hashes in sorted(kinds.items())}
    return found


def known(root: Path) -> Known:
    """What was looked at by a person and is none."""
    file = root / FILE
    found: Known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def accept(root: Path, found: Known) -> None:
    """Write down that all of this is none."""
    (root / FILE).write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def unknown(found: Known, looked_at: Known) -> list[str]:
    """A line for each kind and file that holds one nobody has looked at. The secret itself is not told."""
    return [
        f"{file}: {len(new)} of the kind {kind}"
        for file, kinds in found.items()
        for kind, hashes in kinds.items()
        if (new := set(hashes) - set(looked_at.get(file, {}).get(kind, ())))
    ]
