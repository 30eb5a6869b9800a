"""
Who made which stored object, and where does it live?

Under the organisation's one key the upstream would show everybody's files, batches and stored responses to everybody.
:class:`ObjectTable` keeps one row for each that was made through the gateway; :class:`Ownership` asks it in threads,
and remembers the last answers, so that the reactor waits for no disk. :mod:`~gptproxy.ownership.references` finds the
ids that a body names.
"""

from gptproxy.ownership.items import ITEM_MEMBERS, ItemScan
from gptproxy.ownership.objects import ObjectTable, StoredObject, UnusableTable
from gptproxy.ownership.ownership import Ownership, not_found
from gptproxy.ownership.references import (
    FEW_NAMES,
    NAMES,
    ReferenceScan,
    TooManyReferences,
    form_references,
    query_references,
)

__all__ = [
    "FEW_NAMES",
    "ITEM_MEMBERS",
    "NAMES",
    "ItemScan",
    "ObjectTable",
    "Ownership",
    "ReferenceScan",
    "StoredObject",
    "TooManyReferences",
    "UnusableTable",
    "form_references",
    "not_found",
    "query_references",
]
