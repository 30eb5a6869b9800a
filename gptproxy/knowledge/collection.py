"""
What the database says about a collection: its vectors, and where its documents are from.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

from attrs import frozen

__all__ = ["ActiveSet", "Collection", "Source"]


@frozen
class ActiveSet:
    """
    The vectors that a collection is searched by.

    :param set_id: their set's id.
    :param model: the OpenAI name of the model they are of.
    :param dimensions_asked: what the operator asks of the model; None: its own length.
    :param dimensions: their length.
    """

    set_id: int
    model: str
    dimensions_asked: int | None
    dimensions: int


@frozen
class Collection:
    """
    What the database says about a collection. Where two are equal, so is all that is searched.

    :param database_id: the file's, made with it.
    :param collection_id: its id.
    :param revision: grows with every change.
    :param active: its vectors; None where there are none yet, and words alone find its passages.
    """

    database_id: bytes
    collection_id: int
    revision: int
    active: ActiveSet | None


@frozen
class Source:
    """
    Where some of a collection's documents are from.

    :param source_id: its id.
    :param project: the GitLab project's full path; None for what was read from disk.
    :param members_only: only members of the project may read them.
    """

    source_id: int
    project: str | None
    members_only: bool
