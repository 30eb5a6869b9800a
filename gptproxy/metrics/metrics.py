"""
The figures, and what moves them.

May import prometheus_client, the call's record, and this room. A call's figures are looked up once for each combination
of labels and kept: a lookup by prometheus_client costs as much as three increments.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

import twisted
from gptproxy import __version__
from gptproxy.call_record import CallRecord
from gptproxy.metrics.families import FAMILIES
from gptproxy.metrics.names import OTHER, Names

__all__ = ["CONTENT_TYPE", "Metrics"]

# Else a series more for each counter and histogram, which says when it was first seen.
disable_created_metrics()  # type: ignore[no-untyped-call]  # so it is shipped

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

MOST_MODELS: Final = 100
MOST_CALLERS: Final = 200
MOST_COMBINATIONS: Final = 2_000
"""Of labels of calls: some 40 series each in the two histograms, 10 KiB a combination."""

_NOBODY = "-"

# Of several workers the highest says it: one late loop is late for its callers.
_MODES: Final[dict[str, Literal["livemax"]]] = {
    "reactor_lag_seconds": "livemax",
    "circuit_open": "livemax",
    "build_info": "livemax",
}


class _CallFigures:
    """
    The figures of the calls with one combination of labels.

    :param calls: how many.
    :param seconds: how long.
    :param first_byte: to the first byte.
    """

    __slots__ = ("calls", "first_byte", "seconds")

    def __init__(self, calls: Counter, seconds: Histogram, first_byte: Histogram) -> None:
        self.calls = calls
        self.seconds = seconds
        self.first_byte = first_byte


class Metrics:
    """
    :param shared_directory: where worker processes put their figures together (prometheus_client's multiprocess mode);
        None: this process is alone.
    """

    def __init__(self, shared_directory: str | None = None) -> None:
        self._shared_directory = shared_directory
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for family in FAMILIES:
            name = f"gptproxy_{family.name}"
            if family.kind == "counter":
                self._counters[family.name] = Counter(
                    name, family.help, family.labels, registry=self._registry
                )
            elif family.kind == "gauge":
                self._gauges[family.name] = Gauge(
                    name,
                    family.help,
                    family.labels,
                    registry=self._registry,
                    multiprocess_mode=_MODES.get(family.name, "livesum"),
                )
            else:
                self._histograms[family.name] = Histogram(
                    name,
                    family.help,
                    family.labels,
                    registry=self._registry,
                    buckets=family.buckets,
                )
        self._models = Names(MOST_MODELS)
        self._callers = Names(MOST_CALLERS)
        # Told apart by names of the configuration and codes of ours alone.
        self._counted: dict[tuple[str, ...], Counter] = {}
        self._by_labels: dict[tuple[str, str, str, int], _CallFigures] = {}
        self._tokens: dict[tuple[str, str], tuple[Counter, Counter]] = {}
        self._by_caller: dict[str, tuple[Counter, Counter, Counter]] = {}
        self._gauges["build_info"].labels(
            __version__, platform.python_version(), twisted.__version__
        ).set(1)

    def page(self) -> bytes:
        """:return: all figures in Prometheus's text form; of all worker processes, where there are several."""
        registry = self._registry
        if self._shared_directory is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, self._shared_directory)  # type: ignore[no-untyped-call]  # so it is shipped
        return generate_latest(registry)

    def call_ended(self, record: CallRecord) -> None:
        """
        :param record: what is known of it.
        """
        # A name that no upstream was asked for is the caller's invention.
        model = record.model if record.upstream != _NOBODY else _NOBODY
        key = (record.route, model, record.upstream, record.status)
        figures = self._by_labels.get(key) or self._new_combination(key)
        figures.calls.inc()
        figures.seconds.observe(record.seconds)
        if record.first_byte_seconds is not None:
            figures.first_byte.observe(record.first_byte_seconds)
        if record.error != _NOBODY:
            self.count("refusals", record.error)
        caller = self._by_caller.get(record.caller) or self._new_caller(record.caller)
        caller[0].inc()
        if record.prompt_tokens is not None or record.completion_tokens is not None:
            self._count_tokens(record, model, caller)

    def _count_tokens(
        self, record: CallRecord, model: str, caller: tuple[Counter, Counter, Counter]
    ) -> None:
        pair = (model, record.upstream)
        tokens = self._tokens.get(pair)
        if tokens is None:
            family, name = self._counters["tokens"], self._models.bounded(model)
            tokens = (
                family.labels(name, record.upstream, "in"),
                family.labels(name, record.upstream, "out"),
            )
            if len(self._tokens) < MOST_COMBINATIONS:
                self._tokens[pair] = tokens
        for index, amount in enumerate((record.prompt_tokens, record.completion_tokens)):
            tokens[index].inc(amount or 0)
            caller[index + 1].inc(amount or 0)

    def count(self, family: str, *labels: str, amount: float = 1.0) -> None:
        """
        :param family: a counter's name in the table.
        :param labels: their values, in the table's order.
        :param amount: how many.
        """
        key = (family, *labels)
        counter = self._counted.get(key)
        if counter is None:
            counter = self._counters[family]
            if labels:
                counter = counter.labels(*labels)
            if len(self._counted) < MOST_COMBINATIONS:
                self._counted[key] = counter
        counter.inc(amount)

    def observe(self, family: str, value: float, *labels: str) -> None:
        """
        :param family: a histogram's name in the table.
        :param value: in its unit.
        :param labels: their values, in the table's order.
        """
        histogram = self._histograms[family]
        (histogram.labels(*labels) if labels else histogram).observe(value)

    def set(self, family: str, value: float, *labels: str) -> None:
        """
        :param family: a gauge's name in the table.
        :param value: in its unit.
        :param labels: their values, in the table's order.
        """
        gauge = self._gauges[family]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def read(self, family: str, value: Callable[[], float]) -> None:
        """
        :param family: the name of a gauge without labels.
        :param value: called whenever the page is made; not in several worker processes, whose figures stand in files.
        """
        self._gauges[family].set_function(value)

    def _new_combination(self, key: tuple[str, str, str, int]) -> _CallFigures:
        route, model, upstream, status = key
        known = len(self._by_labels) < MOST_COMBINATIONS
        if known:
            labels = (route, self._models.bounded(model), upstream, str(status))
        else:
            labels = (OTHER, OTHER, OTHER, f"{status // 100}xx")
        figures = _CallFigures(
            self._counters["calls"].labels(*labels),
            self._histograms["call_seconds"].labels(*labels),
            self._histograms["first_byte_seconds"].labels(*labels),
        )
        if known:
            self._by_labels[key] = figures
        return figures

    def _new_caller(self, caller: str) -> tuple[Counter, Counter, Counter]:
        name = self._callers.bounded(caller)
        figures = (
            self._counters["caller_calls"].labels(name),
            self._counters["caller_tokens"].labels(name, "in"),
            self._counters["caller_tokens"].labels(name, "out"),
        )
        if len(self._by_caller) < MOST_COMBINATIONS:
            self._by_caller[caller] = figures
        return figures
