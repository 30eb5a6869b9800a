"""
docs/metrics.md, made of the table of figures.

Pure: imports this room.
"""

from __future__ import annotations

from gptproxy.metrics.families import FAMILIES

__all__ = ["metrics_document"]

_HEAD = """\
# Metrics

`[admin] listen` serves them on `/metrics` in Prometheus's form; `etc/gptproxy/grafana.json` is a dashboard of them.
This page is made from the code: `python -m gptproxy.metrics > docs/metrics.md`.

Names of models are told apart where an upstream was asked, the first 100 of them; callers, the first 200. The rest is
`other`. With several worker processes the figures are those of all.

| metric | kind | labels | what it says |
|---|---|---|---|
"""


def metrics_document() -> str:
    """:return: the page, in Markdown."""
    rows = []
    for family in FAMILIES:
        total = "_total" if family.kind == "counter" else ""
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(
            f"| `gptproxy_{family.name}{total}` | {family.kind} | {labels} | {family.help} |\n"
        )
    return _HEAD + "".join(rows)
