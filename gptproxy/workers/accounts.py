"""
The accounts that workers give of themselves, put together into one of the whole.

Pure: imports nothing of gptproxy and nothing of Twisted. An account is what ``/status`` shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Account", "merged"]

Account = Mapping[str, object]

_ADDED = ("calls", "process", "cache")
"""Tables of what each worker has some of. Of the others each worker says what is so for all."""

_STATES = ("good", "warning", "failed")
"""Of conditions, the worst last."""


def merged(accounts: Sequence[tuple[int, Account]], now: float) -> dict[str, object]:
    """
    :param accounts: at least one, each with its worker's number, in the numbers' order.
    :param now: seconds since the epoch.
    :return: one of all: what is counted is added, of times (``_seconds``), conditions and the rest the worst stands,
        upstreams are put together by name, and each worker has a row of its own.
    """
    members = [account for _, account in accounts]
    whole: dict[str, object] = {}
    for key in dict.fromkeys(key for account in members for key in account):
        values = [account[key] for account in members if key in account]
        if key == "started":
            whole[key] = min(_numbers(values), default=None)
        elif key == "upstreams":
            whole[key] = _upstreams(_rows(values))
        elif key == "conditions":
            whole[key] = _conditions(_rows(values))
        elif key != "workers":
            whole[key] = _one(key, values, adds=key in _ADDED)
    whole["workers"] = [_row(number, account, now) for number, account in accounts]
    return whole


def _one(key: str, values: Sequence[object], *, adds: bool) -> object:
    if any(isinstance(value, Mapping) for value in values):
        tables = [value for value in values if isinstance(value, Mapping)]
        names = dict.fromkeys(name for table in tables for name in table)
        return {
            name: _one(str(name), [table[name] for table in tables if name in table], adds=adds)
            for name in names
        }
    if any(isinstance(value, bool) for value in values):
        # Whether something answers is good news, and all others are bad.
        return all(values) if key == "answers" else any(values)
    numbers = _numbers(values)
    if numbers and key != "pid":
        return sum(numbers) if adds and not key.endswith("_seconds") else max(numbers)
    return next((value for value in values if value is not None), None)


def _upstreams(rows: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    by_name: dict[object, list[Mapping[str, object]]] = {}
    for row in rows:
        by_name.setdefault(row.get("name"), []).append(row)
    found = []
    for same in by_name.values():
        one = {
            key: _one(key, [row[key] for row in same if key in row], adds=True) for key in same[0]
        }
        # Each worker has a circuit of its own, which learns from the worker's own calls.
        states = dict.fromkeys(str(row["state"]) for row in same if "state" in row)
        if states:
            one["state"] = "/".join(states)
        found.append(one)
    return found


def _conditions(rows: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    worst: dict[object, dict[str, object]] = {}
    for row in rows:
        kept = worst.get(row.get("name"))
        if kept is None or _severity(row) > _severity(kept):
            worst[row.get("name")] = dict(row)
    return list(worst.values())


def _severity(row: Mapping[str, object]) -> int:
    state = row.get("state")
    return _STATES.index(state) if isinstance(state, str) and state in _STATES else -1


def _row(number: int, account: Account, now: float) -> dict[str, object]:
    started, calls, process = (account.get(key) for key in ("started", "calls", "process"))
    return {
        "worker": number,
        "pid": account.get("pid"),
        "uptime_seconds": max(0.0, now - started) if isinstance(started, int | float) else None,
        "calls": calls.get("ended") if isinstance(calls, Mapping) else None,
        "lag_seconds": process.get("lag_seconds") if isinstance(process, Mapping) else None,
    }


def _rows(values: Iterable[object]) -> list[Mapping[str, object]]:
    return [
        row
        for value in values
        if isinstance(value, Sequence)
        for row in value
        if isinstance(row, Mapping)
    ]


def _numbers(values: Iterable[object]) -> list[float]:
    return [
        value for value in values if isinstance(value, int | float) and not isinstance(value, bool)
    ]
