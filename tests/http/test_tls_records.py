"""The records of a TLS stream are counted where a read is made of whole ones, however the reads before were cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.http.tls_records import RecordCount


def record(length: int) -> bytes:
    """:return: one whose plaintext nobody looks at."""
    return b"\x17\x03\x03" + length.to_bytes(2, "big") + bytes(length)


def test_one_record_is_one() -> None:
    """As most reads of an API's connection are."""
    assert RecordCount().whole(record(900)) == 1


def test_several_records_are_counted() -> None:
    """An empty record is one, too."""
    assert RecordCount().whole(record(1) + record(0) + record(70)) == 3


def test_nothing_is_none() -> None:
    """And nothing changes by it."""
    count = RecordCount()
    assert count.whole(b"") == 0
    assert count.whole(record(3)) == 1


def test_a_read_that_ends_what_another_began_is_not_whole() -> None:
    """OpenSSL still has the first part: how often it answers is not told by the second alone."""
    count = RecordCount()
    whole = record(10)
    assert [count.whole(whole[:3]), count.whole(whole[3:]), count.whole(whole)] == [0, 0, 1]
    assert [count.whole(whole[:8]), count.whole(whole[8:] + whole), count.whole(whole)] == [0, 0, 1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=8), st.data())
def test_however_reads_are_cut_only_whole_ones_count(
    lengths: list[int], data: st.DataObject
) -> None:
    """A read counts just if it begins and ends at a boundary, and then as many records as lie in it."""
    stream = b"".join(record(length) for length in lengths)
    ends = [sum(length + 5 for length in lengths[: i + 1]) for i in range(len(lengths))]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream)), max_size=6)) | {len(stream)})
    count, start = RecordCount(), 0
    for cut in cuts:
        whole = start in (0, *ends) and cut in ends
        inside = sum(start < end <= cut for end in ends)
        assert count.whole(stream[start:cut]) == (inside if whole else 0)
        start = cut
