"""Counters and histograms of one process, and values that stand for them: read, added up, written down. No I/O.

For one thread. The invariant: what is counted never falls, so that rates can be taken of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from waypost.telemetry.metrics.families import COUNTED, FAMILIES, Across, Family

Labels: TypeAlias = tuple[str, ...]
"""Values of a family's labels, in their order."""
Bins: TypeAlias = list[float]
"""Of a histogram: how many fell into each bucket and beyond the last one, and at the end their sum."""
Rows: TypeAlias = list[tuple[Labels, float]]


class Snapshot(msgspec.Struct):
    """All of one process, or of several together, by the names of families."""

    values: dict[str, Rows] = {}
    bins: dict[str, list[tuple[Labels, Bins]]] = {}


class Numbers:
    """What was counted since the start."""

    __slots__ = ("_bins", "_values")

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {each.name: {} for each in COUNTED if each.kind == "counter"}
        self._bins: dict[str, dict[Labels, Bins]] = {each.name: {} for each in COUNTED if each.kind == "histogram"}

    def add(self, family: Family, labels: Labels, amount: float = 1) -> None:
        """Count it."""
        values = self._values[family.name]
        values[labels] = values.get(labels, 0) + amount

    def observe(self, family: Family, labels: Labels, value: float) -> None:
        """Count it into its bucket: the first whose bound is not under it."""
        series = self._bins[family.name]
        bins = series.get(labels)
        if bins is None:
            bins = series[labels] = [0] * (len(family.buckets) + 2)
        bins[bisect_left(family.buckets, value)] += 1
        bins[-1] += value

    def snapshot(self) -> Snapshot:
        """As it stands now; it does not change any more."""
        return Snapshot(
            {name: list(series.items()) for name, series in self._values.items() if series},
            {
                name: [(labels, bins.copy()) for labels, bins in series.items()]
                for name, series in self._bins.items()
                if series
            },
        )


def counted_only(snapshot: Snapshot) -> Snapshot:
    """Without what is looked at anew each time."""
    names = {each.name for each in COUNTED}
    return Snapshot({name: rows for name, rows in snapshot.values.items() if name in names}, snapshot.bins)


def together(snapshots: Sequence[Snapshot]) -> Snapshot:
    """One of several; of what all of them know alike, the first that tells it."""
    values: dict[str, dict[Labels, float]] = {}
    bins: dict[str, dict[Labels, Bins]] = {}
    for snapshot in snapshots:
        for name, rows in snapshot.values.items():
            if name in FAMILIES:
                _join(values.setdefault(name, {}), rows, FAMILIES[name].across)
        for name, many in snapshot.bins.items():
            if name in FAMILIES:
                _join_bins(bins.setdefault(name, {}), many, len(FAMILIES[name].buckets) + 2)
    return Snapshot(_rows(values), {name: list(series.items()) for name, series in bins.items()})


def _rows(values: Mapping[str, dict[Labels, float]]) -> dict[str, Rows]:
    return {name: list(series.items()) for name, series in values.items()}


def _join(series: dict[Labels, float], rows: Iterable[tuple[Labels, float]], across: Across) -> None:
    for labels, value in rows:
        known = series.get(labels)
        if known is None:
            series[labels] = value
        elif across == "sum":
            series[labels] = known + value
        elif across != "shared":
            series[labels] = max(known, value) if across == "max" else min(known, value)


def _join_bins(series: dict[Labels, Bins], rows: Iterable[tuple[Labels, Bins]], length: int) -> None:
    for labels, bins in rows:
        known = series.get(labels)
        # Those of another version may have other buckets.
        if len(bins) == length:
            series[labels] = bins if known is None else [one + other for one, other in zip(known, bins, strict=True)]
