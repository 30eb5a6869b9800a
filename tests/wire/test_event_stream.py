"""An event stream's copy is read as the standard has it, however its bytes arrive, at a cost that grows as they do."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.wire import EventStreamReader, ServerSentEvent
from tests.wire.oracles import between_events, events_of

_COMMON = settings(max_examples=100, deadline=None)
_MIB = 1_048_576

_pieces = st.sampled_from(
    (
        *(
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b":",
            b" ",
            b"\x00",
            b"\x0b\x0c\x1c\x85",
            b"\xef\xbb\xbf",
        ),
        *(b"data", b"data:", b"data: x", b"event:", b"event: e", b"id:", b"id: 7", b"id: a\x00b"),
        *(
            b"retry:",
            b"retry: 20",
            b"retry: -1",
            b"retry: " + b"9" * 16,
            b": note",
            b"dat",
            b"\xff",
        ),
    )
)
_streams = st.lists(_pieces | st.binary(max_size=3), max_size=14).map(b"".join)


def _splits(data: bytes) -> st.SearchStrategy[list[bytes]]:
    def cut(places: list[int]) -> list[bytes]:
        return [data[a:b] for a, b in pairwise([0, *sorted(places), len(data)])]

    return st.lists(st.integers(0, len(data)), max_size=6).map(cut)


def _byte_by_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def _told(reader: EventStreamReader, pieces: list[bytes]) -> list[ServerSentEvent]:
    return [event for piece in pieces for event in reader.receive(piece)]


def _state(reader: EventStreamReader) -> tuple[bytes, int | None, bool, bool]:
    return reader.last_event_id, reader.retry_ms, reader.between_events, reader.gave_up


@_COMMON
@given(_streams)
def test_every_stream_is_read_as_the_standard_words_it(stream: bytes) -> None:
    reader = EventStreamReader()
    events, last_id, retry = events_of(stream)
    assert reader.receive(stream) == events
    assert _state(reader) == (last_id, retry, between_events(stream), False)


@_COMMON
@given(_streams.flatmap(lambda stream: st.tuples(st.just(stream), _splits(stream))))
def test_any_split_gives_the_same_events(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case
    whole, split, single = EventStreamReader(), EventStreamReader(), EventStreamReader()
    events = whole.receive(stream)
    assert _told(split, pieces) == events == _told(single, _byte_by_byte(stream))
    assert _state(split) == _state(whole) == _state(single)


@_COMMON
@given(
    _streams.flatmap(lambda stream: st.tuples(st.just(stream), _splits(stream))), st.integers(0, 20)
)
def test_the_limit_holds_at_the_same_byte_in_any_split(
    case: tuple[bytes, list[bytes]], limit: int
) -> None:
    stream, pieces = case
    whole, split = EventStreamReader(limit), EventStreamReader(limit)
    events = whole.receive(stream)
    assert _told(split, pieces) == events == events_of(stream)[0][: len(events)]
    assert _state(split) == _state(whole)
    assert whole.between_events == between_events(stream)
    assert whole.gave_up or events == events_of(stream)[0]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"", []),
        (b"data: x\n\n", [(b"message", b"x")]),
        (b"data: x\r\r", [(b"message", b"x")]),
        (b"data: x\r\n\r\n", [(b"message", b"x")]),
        (b"data:x\n\rdata:y\r\n\n", [(b"message", b"x"), (b"message", b"y")]),
        (b"data: x\ndata\ndata:  y\n\n", [(b"message", b"x\n\n y")]),
        (b"data\n\ndata\ndata\n\ndata:", [(b"message", b""), (b"message", b"\n")]),
        (b"event: done\ndata: [DONE]\n\ndata: z\n\n", [(b"done", b"[DONE]"), (b"message", b"z")]),
        (b"event: lost\n\ndata: x\n\n", [(b"message", b"x")]),
        (b"event: a\nevent:\ndata: x\n\n", [(b"message", b"x")]),
        (b": a comment\ndata: x\n:data: y\n\n", [(b"message", b"x")]),
        (b"Data: x\n data: x\ndata : x\nother: x\n\n", []),
        (b"\xef\xbb\xbfdata: x\n\n", [(b"message", b"x")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
        (b"\n\xef\xbb\xbfdata: x\n\n", []),
        (b"data: a\x0bb\x0cc\x1cd\xc2\x85e\xe2\x80\xa8f\n\n", None),
        (b"data: never ended\n", []),
        (b"data: never ended", []),
    ],
)
def test_events_by_example(stream: bytes, events: list[tuple[bytes, bytes]] | None) -> None:
    if events is None:
        # What ends lines elsewhere does not here.
        events = [(b"message", stream[6:-2])]
    assert EventStreamReader().receive(stream) == events == events_of(stream)[0]
    assert _told(EventStreamReader(), _byte_by_byte(stream)) == events


def test_an_event_is_told_at_its_cr_and_the_lf_behind_it_is_no_empty_line() -> None:
    reader = EventStreamReader()
    assert reader.receive(b"data: x\r\n\r") == [ServerSentEvent(b"message", b"x")]
    assert reader.receive(b"\ndata: y\r") == []
    assert reader.receive(b"") == []
    assert reader.receive(b"\n") == []
    assert reader.receive(b"\r") == [ServerSentEvent(b"message", b"y")]


@pytest.mark.parametrize(
    ("stream", "last_id", "retry"),
    [
        (b"id: 1\nretry: 3000\n", b"", 3000),
        (b"id: 1\n\n", b"1", None),
        (b"id: 1\n\ndata: x\n\n", b"1", None),
        (b"id: 1\n\nid\n\n", b"", None),
        (b"id: 1\nid: 2\x00\n\n", b"1", None),
        (b"retry: 1\nretry: 2 \nretry: +3\nretry:\nretry: \xd9\xa3\n", b"", 1),
        (b"retry: " + b"1" * 5000 + b"\n", b"", None),
    ],
)
def test_ids_and_times_to_reconnect(stream: bytes, last_id: bytes, retry: int | None) -> None:
    reader = EventStreamReader()
    reader.receive(stream)
    assert (reader.last_event_id, reader.retry_ms) == (last_id, retry)


@pytest.mark.parametrize(
    ("stream", "between"),
    [
        (b"", True),
        (b"\xef", False),
        (b"\xef\xbb", False),
        (b"\xef\xbb\xbf", True),
        (b"data: x", False),
        (b"data: x\n", False),
        (b"data: x\n\n", True),
        (b"data: x\r\n\r", True),
        (b"data: x\n\n\n", True),
        (b"event: x\n", False),
        (b"id: 1\n", False),
        (b": note\n", True),
        (b": note", False),
        (b"data: x\n: note\n", False),
    ],
)
@pytest.mark.parametrize("limit", [None, 0, 3])
def test_whether_an_event_may_be_appended(stream: bytes, between: bool, limit: int | None) -> None:
    """After the reader gave up, too: a stream that breaks off still wants its last word."""
    whole, single = EventStreamReader(limit), EventStreamReader(limit)
    whole.receive(stream)
    _told(single, _byte_by_byte(stream))
    assert whole.between_events is single.between_events is between


def test_a_line_of_megabytes_is_read_from_single_bytes_in_one_pass() -> None:
    """Nothing is searched twice: a million reads of one byte, and one of a million bytes."""
    stream = b"data: " + b"x" * _MIB + b"\n\n"
    events = [ServerSentEvent(b"message", b"x" * _MIB)]
    assert _told(EventStreamReader(), _byte_by_byte(stream)) == events
    assert EventStreamReader().receive(stream) == events


@pytest.mark.parametrize("line", [b"data: 1234\n", b"other: 123\n", b": comment \n"])
def test_a_line_at_the_limit_is_read_and_one_above_it_is_not(line: bytes) -> None:
    for pieces in ([line], _byte_by_byte(line)):
        at, above = EventStreamReader(10), EventStreamReader(9)
        _told(at, pieces)
        _told(above, pieces)
        assert (at.gave_up, above.gave_up) == (False, True)


def test_data_lines_count_together_and_an_event_s_end_sets_them_back() -> None:
    reader = EventStreamReader(20)
    assert len(_told(reader, [b"data: 123456\n\n"] * 9)) == 9
    assert not reader.gave_up
    reader.receive(b"data: 123456\ndata: 12345678")
    assert reader.gave_up


def test_what_gave_up_holds_nothing_and_tells_nothing_but_where_events_end() -> None:
    reader = EventStreamReader(100)
    assert reader.receive(b"data: 1\n\ndata: " + b"x" * 200) == [ServerSentEvent(b"message", b"1")]
    assert _told(reader, [b"x" * 1000] * 1000) == []
    assert reader.gave_up
    assert len(reader._line) == 1
    assert not reader._data
    assert not reader.between_events
    assert reader.receive(b"\nid: 3\n\ndata: 2\n\n") == []
    assert reader.between_events
    assert reader.last_event_id == b""
