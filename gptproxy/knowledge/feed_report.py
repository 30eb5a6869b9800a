"""
What a feeding says of itself, while it runs and at its end.

Pure: imports the room's values.
"""

from __future__ import annotations

from attrs import frozen

from gptproxy.knowledge.sources import Skipped

__all__ = ["FeedReport", "Progress", "sum_of"]


@frozen
class Progress:
    """
    How far it has come.

    :param doing: what is done, and with what.
    :param done: files, or passages, that are done.
    :param total: how many there are.
    :param passages: passages written in this run.
    """

    doing: str
    done: int
    total: int
    passages: int


@frozen
class FeedReport:
    """
    What was done.

    :param written: documents that are new or have changed.
    :param unchanged: documents that were there already.
    :param removed: documents that are gone from their sources.
    :param passages: passages written.
    :param skipped: what was not fed, or not as it is, each with the reason.
    :param unread: sources that could not be read, each with the reason; what was fed of them stays.
    """

    written: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    skipped: tuple[Skipped, ...] = ()
    unread: tuple[Skipped, ...] = ()


def sum_of(one: FeedReport, other: FeedReport) -> FeedReport:
    """
    :param one: a report.
    :param other: another.
    :return: both as one.
    """
    return FeedReport(
        one.written + other.written,
        one.unchanged + other.unchanged,
        one.removed + other.removed,
        one.passages + other.passages,
        one.skipped + other.skipped,
        one.unread + other.unread,
    )
