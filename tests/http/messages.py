"""
HTTP messages for the tests: valid ones, hostile ones, and Hypothesis strategies for both and for their splits.

May import Hypothesis; nothing of gptproxy.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

METHODS = (b"GET", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"PUT", b"PATCH")

# Pieces that parsers have been known to disagree about.
_TROUBLE = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\x00",
    b"\x0b",
    b"\x0c",
    b"\x7f",
    b"\xff",
    b":",
    b",",
    b";",
    b'"',
    b"\\",
    b"+",
    b"-",
    b"_",
    b"0",
    b"0x",
    b"1",
    b"a",
    b"/",
    b"//",
    b"..",
    b"%",
    b"%2e",
    b"#",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"chunked",
)

_names = st.one_of(
    st.sampled_from((b"Accept", b"X-A", b"user-agent", b"Authorization", b"x!#$%&'*+-.^_`|~")),
    st.from_regex(rb"\AX-[A-Za-z0-9]{1,8}\Z"),
)
_values = st.one_of(
    st.just(b""),
    st.from_regex(rb"\A[!-~](?:[\t -~]{0,12}[!-~])?\Z"),
    st.sampled_from((b"a\tb", b"caf\xe9", b'"x, y"')),
)
_fields = st.lists(st.tuples(_names, _values), max_size=4)
_targets = st.one_of(
    st.sampled_from((b"/", b"/v1/chat/completions", b"/v1/models/a%2Fb?include[]=x&y")),
    st.from_regex(rb"\A/[a-z0-9~_-]{1,8}(?:/[a-z0-9:@]{1,5}){0,2}(?:\?[a-z0-9=&/?]{0,8})?\Z"),
)
_padding = st.sampled_from((b"", b" ", b"  ", b"\t"))
_extensions = st.sampled_from((b"", b"", b"", b";a", b";a=b", b';a="b c"', b';a="\\"";b'))


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    """A body in chunks, with extensions and leading zeros now and then."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=12), max_size=3))
    encoded = b""
    for piece in pieces:
        zeros = b"0" * draw(st.integers(0, 2))
        encoded += zeros + b"%x" % len(piece) + draw(_extensions) + b"\r\n" + piece + b"\r\n"
    return encoded + b"0" + draw(_extensions) + b"\r\n\r\n"


@st.composite
def _field_block(draw: st.DrawFn, first: list[bytes]) -> bytes:
    lines = [name + b":" + draw(_padding) + value + draw(_padding) for name, value in draw(_fields)]
    lines += first
    return b"".join(line + b"\r\n" for line in draw(st.permutations(lines)))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A valid request."""
    version = draw(st.sampled_from((b"1.1", b"1.1", b"1.1", b"1.0")))
    lines, body = [b"Host: h.example:8080"], b""
    kind = draw(st.sampled_from(("none", "length", "chunked")))
    if kind == "length":
        body = draw(st.binary(max_size=20))
        lines.append(b"Content-Length: %d" % len(body))
    elif kind == "chunked" and version == b"1.1":
        body = draw(chunked_bodies())
        lines.append(b"Transfer-Encoding: " + draw(st.sampled_from((b"chunked", b"Chunked"))))
    start = draw(st.sampled_from(METHODS)) + b" " + draw(_targets) + b" HTTP/" + version + b"\r\n"
    return start + draw(_field_block(lines)) + b"\r\n" + body


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A valid response to a GET, complete without the connection's end."""
    status = draw(st.sampled_from((200, 201, 400, 404, 429, 500)))
    reason = draw(st.sampled_from((b"OK", b"", b"Too Many Requests", b"d\xe9j\xe0")))
    if draw(st.booleans()):
        body = draw(st.binary(max_size=20))
        lines = [b"Content-Length: %d" % len(body)]
    else:
        body = draw(chunked_bodies())
        lines = [b"Transfer-Encoding: chunked"]
    start = b"HTTP/1.1 %d " % status + reason + b"\r\n"
    return start + draw(_field_block(lines)) + b"\r\n" + body


@st.composite
def mutated(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """A message with up to three pieces of trouble put in, put over others, or bytes taken out."""
    data = draw(messages)
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(data)))
        removed = draw(st.sampled_from((0, 0, 1, 2)))
        piece = draw(st.sampled_from((*_TROUBLE, b"")))
        data = data[:position] + piece + data[position + removed :]
    return data


def splits(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Ways in which the bytes may arrive."""

    def cut(places: list[int]) -> list[bytes]:
        edges = [0, *sorted(places), len(data)]
        return [data[a:b] for a, b in pairwise(edges) if a < b]

    return st.lists(st.integers(0, len(data)), max_size=6).map(cut)


def byte_by_byte(data: bytes) -> list[bytes]:
    """The slowest way."""
    return [data[i : i + 1] for i in range(len(data))]
