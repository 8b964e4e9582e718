"""What a scrape told, to be asked for single values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


@dataclass
class Scraped:
    """All samples of one scrape."""

    text: str
    families: list[Metric]

    def samples(self, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
        """Labels and value of each series."""
        for family in self.families:
            for sample in family.samples:
                if sample.name == name:
                    yield sample.labels, sample.value

    def of(self, name: str, **labels: str) -> float | None:
        """The value of the one series with just these labels; None: there is none."""
        found = [value for told, value in self.samples(name) if told == labels]
        assert len(found) <= 1, found
        return found[0] if found else None


def scrape(url: str, **headers: str) -> Scraped:
    """Read /metrics."""
    reply = httpx.get(f"{url}/metrics", headers=headers, timeout=30)
    assert reply.status_code == 200, reply.text
    return Scraped(reply.text, list(text_string_to_metric_families(reply.text)))
