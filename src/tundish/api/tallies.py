"""Counters and histograms that cost an addition: one thread counts, and the families are made when they are scraped.

prometheus_client's own take a lock for each number; a request counts twenty.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry


class Cell:
    """A number that is counted up; whoever counts often keeps it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Tally(Collector):
    """A counter (or, with `gauge`, a gauge) for each set of labels: `tally.cell(*labels).value += 1`."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry, *, gauge: bool = False
    ) -> None:
        self._cells: dict[tuple[str, ...], Cell] = {}
        self._family = GaugeMetricFamily if gauge else CounterMetricFamily
        self._name, self._text, self._labels = name, text, labels
        registry.register(self)

    def cell(self, *labels: str) -> Cell:
        """The same one each time."""
        found = self._cells.get(labels)
        if found is None:
            found = self._cells[labels] = Cell()
        return found

    def collect(self) -> Iterator[Metric]:
        family = self._family(self._name, self._text, labels=self._labels)
        for labels, cell in self._cells.items():
            family.add_metric(labels, cell.value)
        yield family

    def describe(self) -> Iterator[Metric]:
        yield self._family(self._name, self._text, labels=self._labels)


class Series:
    """What was observed under one label."""

    __slots__ = ("_buckets", "counts", "total")

    def __init__(self, buckets: Sequence[float]) -> None:
        self._buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One more observation."""
        self.counts[bisect.bisect_left(self._buckets, value)] += 1
        self.total += value


class Spread(Collector):
    """A histogram for each value of one label."""

    def __init__(
        self, name: str, text: str, label: str, registry: CollectorRegistry, *, buckets: Sequence[float]
    ) -> None:
        self._name, self._text, self._label, self._buckets = name, text, label, buckets
        self._series: dict[str, Series] = {}
        registry.register(self)

    def series(self, label: str) -> Series:
        """The same one each time."""
        found = self._series.get(label)
        if found is None:
            found = self._series[label] = Series(self._buckets)
        return found

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=[self._label])
        bounds = [*(str(float(bound)) for bound in self._buckets), "+Inf"]
        for label, series in self._series.items():
            below, cumulated = 0, list[tuple[str, float]]()
            for bound, count in zip(bounds, series.counts, strict=True):
                below += count
                cumulated.append((bound, below))
            family.add_metric([label], cumulated, series.total)
        yield family

    def describe(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(self._name, self._text, labels=[self._label])
