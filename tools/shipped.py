"""What a user installs: the package, all of its extras and all that those require, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def shipped(folders: Sequence[Path] | None = None, root: str = "waypost") -> frozenset[str]:
    """Names of what is required here, the root itself left out. `folders` None: where this Python looks.

    A requirement that is not installed here, because it is for another system, is passed over.
    """
    every = distributions() if folders is None else distributions(path=[str(folder) for folder in folders])
    here: dict[str, Distribution] = {canonicalize_name(found.metadata["Name"]): found for found in every}
    if root not in here:
        raise SystemExit(f"{root} is not installed there.")
    seen: set[tuple[str, str]] = set()
    waiting = [(root, extra) for extra in ("", *(here[root].metadata.get_all("Provides-Extra") or ()))]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) not in seen and name in here:
            seen.add((name, extra))
            waiting.extend(_required(here[name], extra))
    return frozenset(name for name, _ in seen if name != root)


def _required(found: Distribution, extra: str) -> list[tuple[str, str]]:
    environment: Mapping[str, str] = {"extra": extra}
    required: list[tuple[str, str]] = []
    for text in found.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(dict(environment)):
            name: str = canonicalize_name(requirement.name)
            required.extend((name, wanted) for wanted in ("", *requirement.extras))
    return required
