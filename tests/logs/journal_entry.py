"""A reader of the journal's entries, written from its specification."""

from __future__ import annotations


def fields_of(entry: bytes) -> dict[str, str]:
    """:return: an entry's fields (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/)."""
    fields = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
        entry = rest
    return fields
