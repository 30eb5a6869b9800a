"""
What ``gptproxy status`` shows: the daemon's own account of itself, on one screen.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["status_screen"]

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def status_screen(status: Mapping[str, object], now: float) -> str:
    """
    :param status: what ``/status`` of the admin listener says; what is missing in it is left out.
    :param now: seconds since the epoch.
    :return: lines of text.
    """
    lines = [_head(status, now), ""]
    lines += _facts(status)
    upstreams = _rows(status.get("upstreams"))
    if upstreams:
        lines += ["", *_table(("upstream", "kind", "state", "calls", "failed"), upstreams)]
    workers = _rows(status.get("workers"))
    if len(workers) > 1:
        lines += ["", *_table(("worker", "pid", "uptime", "calls", "lag"), workers)]
    conditions = _rows(status.get("conditions"))
    if conditions:
        lines += ["", *_table(("name", "state", "detail"), conditions)]
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    # A name may be anything; none of it steers a terminal.
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)


def _head(status: Mapping[str, object], now: float) -> str:
    started = status.get("started")
    uptime = f", up {_duration(now - started)}" if isinstance(started, int | float) else ""
    return f"gptproxy {status.get('version', '?')}, pid {status.get('pid', '?')}{uptime}"


def _facts(status: Mapping[str, object]) -> list[str]:
    lines = []
    for name, value in status.items():
        if isinstance(value, Mapping):
            told = ", ".join(f"{_word(key)} {_said(key, it)}" for key, it in value.items())
            lines.append(f"{name:12} {told}")
    return lines


def _word(key: str) -> str:
    """:return: the name without its unit, which the value has."""
    return key.removesuffix("_bytes").removesuffix("_seconds").replace("_", " ")


def _said(key: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith("bytes") and isinstance(value, int | float):
        return f"{value / 1_048_576:.0f} MiB"
    if key.endswith("seconds") and isinstance(value, int | float):
        return f"{value * 1000:.1f} ms" if value < 1 else _duration(value)
    return str(value)


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    for length, unit in _UNITS:
        if whole >= 2 * length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def _rows(value: object) -> list[Mapping[str, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _table(columns: tuple[str, ...], rows: Iterable[Mapping[str, object]]) -> list[str]:
    """:return: the columns that any row has, as wide as their widest cell."""
    rows = list(rows)
    shown = [name for name in columns if any(_key(name) in row for row in rows)]
    cells = [shown] + [[_said(_key(name), row.get(_key(name))) for name in shown] for row in rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(shown))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]


def _key(column: str) -> str:
    """:return: what the value is called in the account."""
    return {"upstream": "name", "uptime": "uptime_seconds", "lag": "lag_seconds"}.get(
        column, column
    )
