"""A snapshot in Prometheus' text form, or in OpenMetrics'. Imports prometheus_client, which takes time: for threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from waypost.telemetry.metrics.families import FAMILIES, PROCESS, Family
from waypost.telemetry.metrics.numbers import Bins, Labels, Snapshot


def told(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """The text, and its content type, as the header Accept wants it."""
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry()
    registry.register(_Collected(snapshot))
    return encode(registry), content_type


def process_values() -> Snapshot:
    """What the system tells of this process; nothing where it tells nothing."""
    names = {each.name for each in PROCESS}
    samples = (sample for metric in ProcessCollector(registry=None).collect() for sample in metric.samples)
    return Snapshot({sample.name: [((), sample.value)] for sample in samples if sample.name in names})


class _Collected(Collector):
    """A snapshot as prometheus_client reads it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Sequence[Metric]:
        """Nothing beforehand: a registry is made for each snapshot."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """In the order of the documentation."""
        for family in FAMILIES.values():
            if family.kind == "histogram":
                yield _histogram(family, self._snapshot.bins.get(family.name, ()))
            else:
                yield _plain(family, self._snapshot.values.get(family.name, ()))


def _plain(family: Family, rows: Sequence[tuple[Labels, float]]) -> Metric:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, value in rows:
        metric.add_metric(labels, value / family.parts if family.parts != 1 else value)
    return metric


def _histogram(family: Family, rows: Sequence[tuple[Labels, Bins]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*(_bound(each) for each in family.buckets), "+Inf"]
    for labels, bins in rows:
        metric.add_metric(labels, list(zip(bounds, accumulate(bins[:-1]), strict=True)), bins[-1])
    return metric


def _bound(bound: float) -> str:
    return f"{bound:g}" if bound < 1e6 else str(bound)
