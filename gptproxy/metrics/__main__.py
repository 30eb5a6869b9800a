"""``python -m gptproxy.metrics``: prints docs/metrics.md."""

import sys

from gptproxy.metrics import metrics_document

sys.stdout.write(metrics_document())
