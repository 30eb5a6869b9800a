"""
What JSON and event streams look like as bytes: places found, edits spliced in, nothing else changed.

A body that needs no change goes upstream byte for byte; one that needs an edit keeps every byte outside of it. This
room holds the pure functions for that, and the reader of an event stream's copy. It sits at the bottom of the house:
any room may use it, it uses none.
"""

from gptproxy.wire.event_stream import EventStreamReader, ServerSentEvent
from gptproxy.wire.json_members import (
    DuplicateMember,
    Edit,
    NotAnObject,
    Span,
    element_spans,
    end_of_value,
    member_spans,
    splice,
)
from gptproxy.wire.json_names import FoundMember, NameFinder, NameScan
from gptproxy.wire.json_scan import BrokenJSON
from gptproxy.wire.json_slices import ElementScan, MemberScan
from gptproxy.wire.multipart import BrokenForm, FormPart, FormScan, boundary_of
from gptproxy.wire.refusal import Refusal, error_body

__all__ = [
    "BrokenForm",
    "BrokenJSON",
    "DuplicateMember",
    "Edit",
    "ElementScan",
    "EventStreamReader",
    "FormPart",
    "FormScan",
    "FoundMember",
    "MemberScan",
    "NameFinder",
    "NameScan",
    "NotAnObject",
    "Refusal",
    "ServerSentEvent",
    "Span",
    "boundary_of",
    "element_spans",
    "end_of_value",
    "error_body",
    "member_spans",
    "splice",
]
