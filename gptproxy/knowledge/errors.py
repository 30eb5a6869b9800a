"""
What can go wrong in this room, by class, so that its caller can decide what a chat gets instead.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

__all__ = [
    "KnowledgeError",
    "MalformedEmbeddings",
    "OtherModel",
    "SearchOverdue",
    "Unfit",
    "UnknownCollection",
    "Unreachable",
]


class KnowledgeError(Exception):
    """The knowledge database cannot do what was asked; the text names the file, if any."""


class UnknownCollection(KnowledgeError):
    """The database has no collection of that name: nothing was fed to it yet."""


class OtherModel(KnowledgeError):
    """The collection's vectors are of another model, or of another length, than those given."""


class SearchOverdue(KnowledgeError):
    """A search took longer than a chat waits for it."""


class MalformedEmbeddings(KnowledgeError):
    """Vectors that cannot be searched with: wrong count or shape, not finite, zero."""


class Unfit(Exception):
    """A file that cannot be a document; its text is the reason."""


class Unreachable(Exception):
    """What cannot be read now, though it may be there; its text is the reason."""
