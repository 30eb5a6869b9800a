"""
The ids of stored objects that a request names: in a JSON body by the members' names at any depth, in a form by its
fields', in a query by its parameters'.

Pure: imports the wire room only. What a member means is known by its name alone, so that a value hidden under a second
member of the same name, or at an unusual depth, is found as well. What cannot be told for certain is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_plus

from gptproxy.wire import FoundMember, NameFinder, NameScan, end_of_value

__all__ = [
    "FEW_NAMES",
    "NAMES",
    "ReferenceScan",
    "TooManyReferences",
    "form_references",
    "query_references",
]

NAMES: Final = frozenset(
    (
        "assistant_id",
        "audio",
        "batch_id",
        "characters",
        "consent",
        "consent_id",
        "container",
        "container_id",
        "conversation",
        "conversation_id",
        "eval_id",
        "file_id",
        "file_ids",
        "input_file_id",
        "model",
        "output_file_id",
        "previous_response_id",
        "prompt",
        "response_id",
        "skill_id",
        "thread_id",
        "training_file",
        "upload_id",
        "validation_file",
        "vector_store_id",
        "vector_store_ids",
        "video",
        "video_id",
        "voice",
        "voice_id",
        "workflow",
    )
)

_TYPES: Final = ("file_id", "item_reference")
"""Objects whose ``type`` is one of these name another by their ``id``."""

_PREFIXES: Final = {
    "audio": "audio",
    "characters": "char_",
    "model": "ft:",
    "video": "video_",
    "voice": "voice_",
}
"""Names whose values are texts of other kinds as well, and what the ids among them begin with."""

_SAVED: Final = {"prompt": "pmpt_", "workflow": "wf_"}
"""Names of what is saved at the makers' own site, past the gateway, so that no caller has made it."""

_FINDER: Final = NameFinder((*NAMES, "metadata"), _TYPES)

FEW_NAMES: Final = NameFinder(("audio", "file_id", "file_ids", "metadata", "voice"))
"""What the routes know that name no other object: chats and their like."""

_SOUND: Final = (b'"audio"', b'"voice"')

# What stands between two quotation marks, where a name is that is looked for.
_BETWEEN_QUOTES: Final = frozenset(name.encode() for name in (*NAMES - {"model"}, *_TYPES))
_MOST_QUOTES: Final = 2048
"""Up to so many a text is taken apart at them, at 0.05 us each. In what has more it is searched for what names have."""

# "id" stands for those that are objects with an id too: audio, prompts, workflows.
_HINTS: Final = (
    b"_id",
    b'"id"',
    b"conversation",
    b"container",
    b"_file",
    b"consent",
    b"video",
    b"voice",
    b"characters",
)
_SMALL: Final = 262_144

MOST_REFERENCES: Final = 4096
"""No route takes half as many."""

LONGEST_VALUE: Final = 262_144
"""Bytes of a list of ids, or of an object that names one; at most this is parsed at once."""

_ID = re.compile(rb'"((?:[^"\\]|\\.){0,1536}+)(")?', re.DOTALL)
_METADATA = re.compile(
    rb'\{[ \t\n\r]{0,64}+(?:"[^"\\]{0,256}+(?:\\.[^"\\]{0,256}+){0,64}+"[ \t\n\r:,]{0,64}+){0,64}+\}',
    re.DOTALL,
)


class TooManyReferences(ValueError):
    """The body names more objects, or in another form, than can be looked up; says which member."""


class ReferenceScan:
    """
    :param body: a valid JSON text.
    :param finder: what is looked for; None: everything.
    :param sound: with :data:`FEW_NAMES`, whether there is anything about sound in the body where the routes have it;
        None: it is not known.

    :ivar ids: what was found so far.
    :ivar saved: the same of what no caller has made: prompts and workflows that were saved at the makers' own site.
    :ivar needed: a glance does not show that there is nothing to find: :meth:`step` is to be called.
    """

    def __init__(
        self, body: bytes, finder: NameFinder | None = None, *, sound: bool | None = None
    ) -> None:
        self._body = body
        self._scan: NameScan | None = None
        self._beyond = 0  # what stands before this offset is somebody's own text
        self.ids: set[str] = set()
        self.saved: set[str] = set()
        self.needed = (
            len(body) > _SMALL
            # A search for one byte takes a tenth of one for two.
            or (b"\\" in body and b"\\u" in body)
            or (_may_name(body) if finder is None else _may_name_few(body, sound))
        )
        if self.needed:
            self._scan = NameScan(body, finder or _FINDER)

    def step(self, max_bytes: int) -> bool:
        """
        Go on.

        :param max_bytes: how far.
        :return: whether the body's end was reached.
        :raise TooManyReferences: it cannot be told which objects are meant.
        :raise BrokenJSON: as :meth:`~gptproxy.wire.NameScan.step`.
        """
        scan = self._scan
        if scan is None:
            return True
        done = scan.step(max_bytes)
        for member in scan.found:
            if member.start >= self._beyond:
                self._take(member)
                if len(self.ids) + len(self.saved) > MOST_REFERENCES:
                    raise TooManyReferences(member.name)
        scan.found.clear()
        return done

    def _take(self, member: FoundMember) -> None:
        if member.name == "metadata":
            # Texts under names that the caller chose. Anything but a flat object of texts is looked through.
            own = _METADATA.match(self._body, member.value)
            self._beyond = own.end() if own is not None else self._beyond
        elif member.name == "type":
            self.ids.update(self._ids_of_object(member))
        elif member.name == "model" and self._body[member.value : member.value + 1] != b'"':
            # A schema's property, or nothing.
            return
        elif member.name in _SAVED:
            self._take_saved(member)
        else:
            prefix = _PREFIXES.get(member.name, "")
            self.ids.update(
                text for text, plain in self._values(member) if not plain or text.startswith(prefix)
            )

    def _take_saved(self, member: FoundMember) -> None:
        if self._body[member.value : member.value + 1] == b"[":
            # Prompts of completions: texts, and numbers of tokens.
            return
        prefix = _SAVED[member.name]
        self.saved.update(
            text for text, plain in self._values(member) if not plain or text.startswith(prefix)
        )

    def _values(self, member: FoundMember) -> Iterator[tuple[str, bool]]:
        """:return: the texts that may be ids; whether each stands there by itself, not as an object's ``id``."""
        first = self._body[member.value : member.value + 1]
        if first == b'"':
            text = _ID.match(self._body, member.value)
            raw = text.group(1) if text is not None else b""
            # What goes on is longer than any id, and so is nobody's.
            whole = text is not None and text.group(2) is not None
            yield (_text(raw) if whole else raw[:64].decode("utf-8", "replace") + "...", True)
        elif first in (b"[", b"{"):
            value = self._parsed(member.value, member.name)
            for each in value if first == b"[" else [value]:
                if isinstance(each, str):
                    yield each, True
                elif isinstance(each, _Pairs):
                    yield from ((text, False) for text in each.ids())

    def _ids_of_object(self, member: FoundMember) -> list[str]:
        """:return: the ``id`` beside a ``type``: the object is a small one, with nothing nested before the type."""
        start = self._body.rfind(b"{", max(0, member.start - 4096), member.start)
        value = self._parsed(start, "type") if start >= 0 else None
        if not isinstance(value, _Pairs) or value.end <= member.start or not value.has_type():
            raise TooManyReferences("type")
        return value.ids()

    def _parsed(self, start: int, name: str) -> list[object]:
        piece = self._body[start : start + LONGEST_VALUE]
        try:
            length = end_of_value(piece, 0)
            value = json.loads(piece[:length], object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            raise TooManyReferences(name) from error
        if isinstance(value, _Pairs):
            value.end = start + length
        return value if isinstance(value, list) else []


def _may_name(body: bytes) -> bool:
    """:return: there may be a name in the body that is looked for. It has no escaped letters."""
    if b'"ft:' in body:
        return True
    pieces = body.split(b'"', _MOST_QUOTES)
    if len(pieces) <= _MOST_QUOTES:
        # Quotation marks inside of texts only make more pieces.
        return not _BETWEEN_QUOTES.isdisjoint(pieces)
    return _has_any(body, _HINTS)


def _may_name_few(body: bytes, sound: bool | None) -> bool:
    if sound is None:
        sound = _has_any(body, _SOUND)
    return sound or b"file_id" in body


def _has_any(body: bytes, hints: tuple[bytes, ...]) -> bool:
    return any(hint in body for hint in hints)


class _Pairs(list[tuple[str, object]]):
    """An object's members, each as often as it is written."""

    end = 0

    def ids(self) -> list[str]:
        return [value for name, value in self if name == "id" and isinstance(value, str)]

    def has_type(self) -> bool:
        return any(name == "type" and value in _TYPES for name, value in self)


def form_references(name: str, value: str, *, is_file: bool = False) -> list[str]:
    """
    :param name: a form's field, perhaps with brackets: ``file_ids[]``, ``input_reference[file_id]``.
    :param value: what it says.
    :param is_file: it has a file's name: the value was not kept.
    :return: the ids that it names.
    :raise TooManyReferences: it cannot be told which objects are meant.
    """
    # A form's prompt is a text: no route that takes forms takes saved ones.
    parts = [part for part in re.split(r"[\[\].]+", name) if part in NAMES and part not in _SAVED]
    if is_file:
        if parts and parts[-1] not in _PREFIXES:
            # No route has such a file, and not every reader looks at its name.
            raise TooManyReferences(name)
        return []
    if value.lstrip()[:1] in ("{", "["):
        try:
            json.loads(value)
        except json.JSONDecodeError:
            return []
        except (ValueError, RecursionError) as error:
            # Too many digits, or too deep, for this reader alone.
            raise TooManyReferences(name) from error
        text = value.encode()
        if parts:
            text = b'{"%b":%b}' % (parts[-1].encode(), text)
        scan = ReferenceScan(text)
        try:
            scan.step(len(text) + 1)
            found = [*scan.ids, *scan.saved]
            "".join(found).encode()
        except ValueError as error:
            # Python's reader takes half of a surrogate pair for text, which nobody can look up.
            raise TooManyReferences(name) from error
        return found
    return [value] if parts and value.startswith(_PREFIXES.get(parts[-1], "")) else []


def query_references(query: bytes) -> list[str]:
    """
    :param query: a target's query.
    :return: the ids that it names.
    :raise TooManyReferences: it cannot be told which objects are meant.
    """
    found: list[str] = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        text = unquote_plus(value.decode("latin-1"))
        found += form_references(unquote_plus(name.decode("latin-1")), text)
    return found


def _text(raw: bytes) -> str:
    text = json.loads(b'"%b"' % raw)
    return text if isinstance(text, str) else ""
