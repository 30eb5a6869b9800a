"""
Every figure there is: its name, its kind, its labels, and what it says.

Pure: imports nothing of gptproxy. https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

__all__ = ["FAMILIES", "Family"]

# From a refusal's fraction of a millisecond to the longest answers of reasoning models.
_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_SHORT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@frozen
class Family:
    """
    :param name: without the prefix ``gptproxy_``, with its unit; a counter's ``_total`` is added by prometheus_client.
    :param kind: what it is.
    :param help: what it says, in one sentence.
    :param labels: what it is told apart by.
    :param buckets: a histogram's upper bounds, in its unit.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_CALL = ("route", "model", "upstream", "status")

FAMILIES: tuple[Family, ...] = (
    Family("calls", "counter", "Calls that have ended.", _CALL),
    Family(
        "call_seconds", "histogram", "From a call's headers to its answer's end.", _CALL, _SECONDS
    ),
    Family(
        "first_byte_seconds",
        "histogram",
        "From a call's headers to its answer's.",
        _CALL,
        _SECONDS,
    ),
    Family(
        "tokens",
        "counter",
        "Tokens as the answers tell them; direction is in or out.",
        ("model", "upstream", "direction"),
    ),
    Family("caller_calls", "counter", "Calls of each caller.", ("caller",)),
    Family("caller_tokens", "counter", "Tokens of each caller.", ("caller", "direction")),
    Family(
        "refusals", "counter", "Calls that gptproxy answered with an error of its own.", ("code",)
    ),
    Family("retries", "counter", "Calls sent to the same upstream again.", ("upstream",)),
    Family(
        "failovers",
        "counter",
        "Calls that went on to another upstream; upstream is the one left.",
        ("upstream",),
    ),
    Family(
        "filter_switches",
        "counter",
        "Calls that went on to another upstream because the content filter intercepted.",
        ("upstream",),
    ),
    Family("circuit_open", "gauge", "1 while an upstream is not asked, else 0.", ("upstream",)),
    Family(
        "gitlab_verdicts",
        "counter",
        "What GitLab said of tokens; verdict is known, refused or away: nothing was said.",
        ("verdict",),
    ),
    Family("gitlab_seconds", "histogram", "How long GitLab took.", (), _SHORT_SECONDS),
    Family(
        "cache_lookups",
        "counter",
        "Looks into a cache; result is hit or miss.",
        ("cache", "result"),
    ),
    Family(
        "retrieval_seconds",
        "histogram",
        "How long the documents took; outcome is found, none, late or failed.",
        ("outcome",),
        _SHORT_SECONDS,
    ),
    Family("open_calls", "gauge", "Calls under way."),
    Family("open_streams", "gauge", "Answers that are being streamed."),
    Family("connections", "gauge", "Clients' connections."),
    Family("upstream_connections", "gauge", "Connections to upstreams, in use and kept."),
    Family("reactor_lag_seconds", "gauge", "How late the event loop is."),
    Family(
        "shed_calls", "counter", "Calls refused because the process had more to do than it can."
    ),
    Family(
        "reloads",
        "counter",
        "Reloads of the configuration; outcome is done or refused.",
        ("outcome",),
    ),
    Family(
        "log_events_suppressed",
        "counter",
        "Errors that were counted and not logged, for there were too many.",
    ),
    Family(
        "build_info",
        "gauge",
        "Always 1; the labels say what runs.",
        ("version", "python", "twisted"),
    ),
)
