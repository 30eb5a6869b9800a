"""Tests of :mod:`gptproxy.metrics`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from attrs import evolve
from prometheus_client.parser import text_string_to_metric_families

from gptproxy.call_record import CallRecord
from gptproxy.metrics import FAMILIES, Metrics, metrics, metrics_document
from gptproxy.metrics.names import Names

RECORD = CallRecord(
    request_id="a-1",
    caller="alice",
    method="POST",
    route="/chat/completions",
    model="gpt-4o",
    upstream="primary",
    attempts=1,
    status=200,
    sent=900,
    seconds=1.5,
    first_byte_seconds=0.3,
    prompt_tokens=9,
    completion_tokens=3,
)


def samples(counted: Metrics) -> dict[str, float]:
    """:return: what a scrape gets, series as text to value."""
    return {
        sample.name + str(dict(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(counted.page().decode())
        for sample in family.samples
    }


CALL = {"model": "gpt-4o", "route": "/chat/completions", "status": "200", "upstream": "primary"}


def test_a_call_moves_its_figures() -> None:
    """Calls, times and tokens are told apart by route, model, upstream, status and caller."""
    counted = Metrics()
    counted.call_ended(RECORD)
    counted.call_ended(evolve(RECORD, seconds=700.0, first_byte_seconds=None))
    found = samples(counted)
    assert found[f"gptproxy_calls_total{CALL}"] == 2
    assert found[f"gptproxy_call_seconds_sum{CALL}"] == 701.5
    assert found[f"gptproxy_call_seconds_bucket{ {'le': '600.0', **CALL} }"] == 1
    assert found[f"gptproxy_first_byte_seconds_count{CALL}"] == 1
    assert (
        found[
            f"gptproxy_tokens_total{ {'direction': 'in', 'model': 'gpt-4o', 'upstream': 'primary'} }"
        ]
        == 18
    )
    assert found[f"gptproxy_caller_tokens_total{ {'caller': 'alice', 'direction': 'out'} }"] == 6
    assert found[f"gptproxy_caller_calls_total{ {'caller': 'alice'} }"] == 2


def test_without_tokens_none_are_counted() -> None:
    """An answer that tells nothing counts nothing; one that tells half counts half."""
    counted = Metrics()
    counted.call_ended(evolve(RECORD, prompt_tokens=None, completion_tokens=None))
    assert not any(name.startswith("gptproxy_tokens_total") for name in samples(counted))
    counted.call_ended(evolve(RECORD, prompt_tokens=8, completion_tokens=None))
    assert (
        samples(counted)[f"gptproxy_caller_tokens_total{ {'caller': 'alice', 'direction': 'in'} }"]
        == 8
    )


def test_models_that_nobody_was_asked_for_have_no_series() -> None:
    """A caller's inventions are not among the labels."""
    counted = Metrics()
    for number in range(50):
        counted.call_ended(evolve(RECORD, model=f"invented-{number}", upstream="-", status=404))
    page = counted.page().decode()
    assert "invented" not in page
    assert page.count("gptproxy_calls_total{") == 1


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models, callers and combinations beyond the bounds are counted as others, and nothing more is kept."""
    monkeypatch.setattr(metrics, "MOST_COMBINATIONS", 4)
    counted = Metrics()
    for number in range(300):
        counted.call_ended(evolve(RECORD, model=f"m{number}", caller=f"c{number}"))
    found = samples(counted)
    other = {"model": "other", "route": "other", "status": "2xx", "upstream": "other"}
    assert found[f"gptproxy_calls_total{other}"] == 296
    assert found[f"gptproxy_caller_calls_total{ {'caller': 'other'} }"] == 100
    names = Names(1)
    assert [names.bounded(name) for name in ("a", "b", "a")] == ["a", "other", "a"]


def test_other_figures_move_by_name() -> None:
    """Counters, gauges and histograms, with labels and without."""
    counted = Metrics()
    counted.count("retries", "primary")
    counted.count("shed_calls", amount=3)
    counted.set("circuit_open", 1, "primary")
    counted.set("reactor_lag_seconds", 0.25)
    counted.observe("gitlab_seconds", 0.02)
    counted.observe("retrieval_seconds", 0.02, "found")
    counted.read("connections", lambda: 7.0)
    found = samples(counted)
    assert found[f"gptproxy_retries_total{ {'upstream': 'primary'} }"] == 1
    assert found["gptproxy_shed_calls_total{}"] == 3
    assert found[f"gptproxy_circuit_open{ {'upstream': 'primary'} }"] == 1
    assert found["gptproxy_reactor_lag_seconds{}"] == 0.25
    assert found["gptproxy_gitlab_seconds_count{}"] == 1
    assert found[f"gptproxy_retrieval_seconds_count{ {'outcome': 'found'} }"] == 1
    assert found["gptproxy_connections{}"] == 7


def test_the_page_in_the_documentation_is_the_code() -> None:
    """docs/metrics.md is what the table makes."""
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text("utf-8") == metrics_document()
    assert all(f"gptproxy_{family.name}" in metrics_document() for family in FAMILIES)


def test_the_dashboard_shows_figures_that_there_are() -> None:
    """Every metric in etc/gptproxy/grafana.json is one of the table's, and its labels are that one's."""
    dashboard = Path(__file__).parents[2] / "etc" / "gptproxy" / "grafana.json"
    panels = json.loads(dashboard.read_text("utf-8"))["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    families = {family.name: family for family in FAMILIES}
    for expression in expressions:
        names = {
            name.removesuffix("_total").removesuffix("_bucket")
            for name in re.findall(r"gptproxy_(\w+)", expression)
        }
        labels = {"le"}.union(*(families[name].labels for name in names))
        asked = re.findall(r"by \(([^)]*)\)", expression)
        assert {label.strip() for group in asked for label in group.split(",")} <= labels, (
            expression
        )
