"""Whether a series is flat: a straight line through its points, by Theil and Sen. Pure.

The slope is the median of the slopes between all pairs of points, so a few outliers (a collection, a burst) do not
tilt it. Source: Sen, Journal of the American Statistical Association 63 (1968), 1379-1389.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
"""A time in hours, and a size in MB."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How a size went: at the start and the end of the line through it, and by how much an hour."""

    start_mb: float
    end_mb: float
    mb_an_hour: float


def trend(points: Sequence[Point]) -> Trend:
    """The line through the points. Raises ValueError if there are fewer than two moments."""
    pairs = ((later[0] - earlier[0], later[1] - earlier[1]) for earlier, later in itertools.combinations(points, 2))
    slopes = [rise / run for run, rise in pairs if run]
    if not slopes:
        raise ValueError("A trend takes points of two moments at least.")
    slope = statistics.median(slopes)
    at_zero = statistics.median(size - slope * hours for hours, size in points)
    return Trend(at_zero + slope * points[0][0], at_zero + slope * points[-1][0], slope)


def settled(points: Sequence[Point], part: float = 0.2) -> list[Point]:
    """The points without the first part of the time, in which pools and caches fill."""
    begins = points[0][0] + part * (points[-1][0] - points[0][0])
    return [point for point in points if point[0] >= begins]


def is_flat(found: Trend, allowed: float = 0.02, least_mb: float = 2.0) -> bool:
    """Whether it grew by no more than that part of what it was at the start, or than what is noise anyhow."""
    return found.end_mb - found.start_mb <= max(allowed * found.start_mb, least_mb)
