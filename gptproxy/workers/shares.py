"""
A worker's part of what the operator allows the whole.

Pure: imports the config room.
"""

from __future__ import annotations

import os

from attrs import evolve

from gptproxy.config import (
    GroupQuotaSettings,
    LimitSettings,
    ProcessSettings,
    QuotaSettings,
)

__all__ = ["divided", "worker_count"]


def worker_count(settings: ProcessSettings, asked: str | None) -> int:
    """
    :param settings: ``[process]``.
    :param asked: what the command line says: a number or ``auto``; None: nothing.
    :return: how many workers there are to be; 1: the process itself.
    :raise ValueError: the command line says something else.
    """
    count: int | None = settings.workers
    if asked is not None:
        if asked != "auto" and not (asked.isascii() and asked.isdigit() and 1 <= int(asked) <= 256):
            raise ValueError(asked)
        count = None if asked == "auto" else int(asked)
    if count is None:
        # Those that this process may use: a container's share, not the machine's whole, where the system tells.
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    return count


def divided(limits: LimitSettings, workers: int) -> LimitSettings:
    """
    :param limits: of the whole, as they are written.
    :param workers: how many processes share them.
    :return: of one. What is counted is divided and rounded up; what bounds one call, and the loop's lateness, is not.
    """
    if workers == 1:
        return limits

    def part(whole: int) -> int:
        return -(-whole // workers)

    def quota(whole: QuotaSettings) -> QuotaSettings:
        return QuotaSettings(
            *(
                None if bound is None else part(bound)
                for bound in (
                    whole.concurrent_calls,
                    whole.calls_per_minute,
                    whole.tokens_per_minute,
                )
            )
        )

    return evolve(
        limits,
        connections=part(limits.connections),
        connections_per_address=part(limits.connections_per_address),
        streams=part(limits.streams),
        memory_bytes=None if limits.memory_bytes is None else part(limits.memory_bytes),
        everybody=None if limits.everybody is None else quota(limits.everybody),
        caller=None if limits.caller is None else quota(limits.caller),
        groups=tuple(GroupQuotaSettings(one.group, quota(one.quota)) for one in limits.groups),
    )
