"""
What the daemon counts, for Prometheus.

:mod:`~gptproxy.metrics.families` names every figure, and docs/metrics.md is made of it; :class:`Metrics` has a method
for each event that moves one. Every other room may be handed one, and none needs it. Imports prometheus_client.
"""

from gptproxy.metrics.document import metrics_document
from gptproxy.metrics.families import FAMILIES, Family
from gptproxy.metrics.metrics import Metrics

__all__ = ["FAMILIES", "Family", "Metrics", "metrics_document"]
