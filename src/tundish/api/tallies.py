"""Counters and histograms that cost an addition: one thread counts, and the families are made when they are scraped.

prometheus_client's own take a lock for each number; a request counts twenty.
"""

from __future__ import annotations

import bisect
import collections
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry


class Tally(Collector):
    """A counter (or, with `gauge`, a gauge) for each set of labels: `tally.values[labels] += 1`."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry, *, gauge: bool = False
    ) -> None:
        self.values: collections.defaultdict[tuple[str, ...], float] = collections.defaultdict(float)
        self._family = GaugeMetricFamily if gauge else CounterMetricFamily
        self._name, self._text, self._labels = name, text, labels
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        family = self._family(self._name, self._text, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        yield family

    def describe(self) -> Iterator[Metric]:
        yield self._family(self._name, self._text, labels=self._labels)


class Spread(Collector):
    """A histogram for each value of one label."""

    def __init__(
        self, name: str, text: str, label: str, registry: CollectorRegistry, *, buckets: Sequence[float]
    ) -> None:
        self._name, self._text, self._label, self._buckets = name, text, label, buckets
        self._counts: dict[str, list[int]] = {}
        self._sums: collections.defaultdict[str, float] = collections.defaultdict(float)
        registry.register(self)

    def observe(self, label: str, value: float) -> None:
        """One more observation."""
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0] * (len(self._buckets) + 1)
        counts[bisect.bisect_left(self._buckets, value)] += 1
        self._sums[label] += value

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=[self._label])
        bounds = [*(str(float(bound)) for bound in self._buckets), "+Inf"]
        for label, counts in self._counts.items():
            below, cumulated = 0, list[tuple[str, float]]()
            for bound, count in zip(bounds, counts, strict=True):
                below += count
                cumulated.append((bound, below))
            family.add_metric([label], cumulated, self._sums[label])
        yield family

    def describe(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(self._name, self._text, labels=[self._label])
