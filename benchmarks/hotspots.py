"""Where the time went, by function: a table out of collapsed stacks, as py-spy's `raw` format writes them.

Pure: no process is looked at. A line is `outer;…;inner COUNT`; a frame is `name (file:line)`. A function counts once a
sample however often it is on the stack, so no share is over 100 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hotspot:
    """One function: samples in it alone, and samples in it or in what it called, as shares of all (0 to 1)."""

    function: str
    own: float
    total: float


def hotspots(lines: Iterable[str]) -> list[Hotspot]:
    """Every function that was seen, the one with the most time of its own first."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in lines:
        stack, _, count_text = line.strip().rpartition(" ")
        if not stack:
            continue
        frames = stack.split(";")
        own[frames[-1]] += int(count_text)
        for frame in set(frames):
            total[frame] += int(count_text)
    samples = own.total()
    found = [Hotspot(name, own[name] / samples, total[name] / samples) for name in total]
    return sorted(found, key=lambda spot: (-spot.own, -spot.total, spot.function))


def by_package(spots: Iterable[Hotspot], depth: int = 2) -> list[tuple[str, float]]:
    """The functions' own shares added up by the first `depth` folders of their path, such as `waypost/server`."""
    shares: dict[str, float] = {}
    for spot in spots:
        package = _package(spot.function, depth)
        shares[package] = shares.get(package, 0.0) + spot.own
    return sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))


def table(spots: Sequence[Hotspot], count: int) -> str:
    """The first `count` as a Markdown table."""
    rows = (f"| {100 * spot.own:.1f} | {100 * spot.total:.1f} | {spot.function} |\n" for spot in spots[:count])
    return "| own % | with callees % | function |\n| ---: | ---: | --- |\n" + "".join(rows)


def package_table(shares: Sequence[tuple[str, float]], count: int) -> str:
    """The first `count` packages as a Markdown table."""
    rows = (f"| {100 * share:.1f} | {package} |\n" for package, share in shares[:count])
    return "| own % | package |\n| ---: | --- |\n" + "".join(rows)


def _package(function: str, depth: int) -> str:
    path = function.rpartition("(")[2].partition(":")[0].partition(")")[0]
    folders = path.split("/")[:-1]
    return "/".join(folders[:depth]) if folders else path
