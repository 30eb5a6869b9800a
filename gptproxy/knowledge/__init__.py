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
    SearchOverdue,
    UnknownCollection,
)
from gptproxy.knowledge.indexing import build_index, build_indexes
from gptproxy.knowledge.passages import Excerpt, Passage
from gptproxy.knowledge.quotation import clean_attribute
from gptproxy.knowledge.reading import Source
from gptproxy.knowledge.response_call import augment_response, conversation_of
from gptproxy.knowledge.retrieval import Embed, EmbedFor, Knowledge, MayRead
from gptproxy.knowledge.searching import Asking
from gptproxy.knowledge.tokens import estimated_tokens, token_bound
from gptproxy.knowledge.topics import MatchedTopic, is_users, matching_topics, question_of
from gptproxy.threads import BoundedThreads, Threads, TooBusy

__all__ = [
    "Asking",
    "BoundedThreads",
    "ChatPlaces",
    "Embed",
    "EmbedFor",
    "Excerpt",
    "Knowledge",
    "KnowledgeError",
    "MalformedEmbeddings",
    "MatchedTopic",
    "MayRead",
    "OperatorTexts",
    "OtherModel",
    "Passage",
    "SearchOverdue",
    "Source",
    "Threads",
    "TooBusy",
    "UnknownCollection",
    "augment",
    "augment_response",
    "build_index",
    "build_indexes",
    "clean_attribute",
    "conversation_of",
    "estimated_tokens",
    "is_operators",
    "is_users",
    "matching_topics",
    "operator_texts",
    "question_of",
    "read_embeddings",
    "token_bound",
]
