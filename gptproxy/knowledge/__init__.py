"""
What do our documents say about it?

Feeding: files are found and read (``sources``), cut into passages (``passages``), embedded by a
call that is given, and written to one SQLite file (``feeding``, ``store``, ``database``). Asking: a
chat that is about a topic (``topics``) is embedded the same way, its nearest passages are found in
memory (``nearest``, ``loaded``) and their texts read from the file (``reading``); ``retrieval`` is
the daemon's one way in. Answering: prompt, preamble and passages, quoted so that a passage cannot
pass for anything else (``quotation``), are spliced into the chat within a bound of tokens
(``augmentation``, ``tokens``).

What blocks runs in a bounded pool of threads (``gptproxy.threads``), and what decides is pure. The room
sends nothing itself: whoever makes it hands in the embedding call, whose answer ``embeddings``
reads.
"""

from gptproxy.knowledge.augmentation import (
    Augmented,
    ChatPlaces,
    OperatorTexts,
    augment,
    is_operators,
    operator_texts,
)
from gptproxy.knowledge.embeddings import read_embeddings
from gptproxy.knowledge.errors import (
    KnowledgeError,
    MalformedEmbeddings,
    OtherModel,
    UnknownCollection,
)
from gptproxy.knowledge.feeding import FeedReport, Progress, feed
from gptproxy.knowledge.passages import Excerpt, Passage, cut
from gptproxy.knowledge.retrieval import Embed, Knowledge
from gptproxy.knowledge.sources import Skipped
from gptproxy.knowledge.store import Document, KnowledgeStore
from gptproxy.knowledge.tokens import estimated_tokens, token_bound
from gptproxy.knowledge.topics import matching_topic, question_of
from gptproxy.threads import BoundedThreads, Threads, TooBusy

__all__ = [
    "Augmented",
    "BoundedThreads",
    "ChatPlaces",
    "Document",
    "Embed",
    "Excerpt",
    "FeedReport",
    "Knowledge",
    "KnowledgeError",
    "KnowledgeStore",
    "MalformedEmbeddings",
    "OperatorTexts",
    "OtherModel",
    "Passage",
    "Progress",
    "Skipped",
    "Threads",
    "TooBusy",
    "UnknownCollection",
    "augment",
    "cut",
    "estimated_tokens",
    "feed",
    "is_operators",
    "matching_topic",
    "operator_texts",
    "question_of",
    "read_embeddings",
    "token_bound",
]
