"""Forms taken apart in pieces, and refused where two readers may differ."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.wire import BrokenForm, FormScan, boundary_of

B = b"b0"


def part(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    head = b'--b0\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n' % (name, more)
    return head + value + b"\r\n"


END = b"--b0--\r\n"


def scanned(body: bytes, step: int = 1 << 20) -> FormScan:
    scan = FormScan(B)
    for start in range(0, len(body), step):
        scan.feed(body[start : start + step])
    scan.finish()
    return scan


@given(
    st.lists(
        st.tuples(
            st.sampled_from((b"model", b"file", b"a b", b"x[]")),
            st.binary(max_size=40).filter(lambda value: b"--b0" not in value)
            | st.sampled_from((b"\r\n", b"\r\n--", b"\r\n--b", b"--b", b"\r", b"")),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 60),
)
@settings(max_examples=100, deadline=None)
def test_parts_and_places(fields: list[tuple[bytes, bytes, bool]], step: int) -> None:
    """Whatever the pieces: names, values, and where they stand."""
    body = b"".join(
        part(name, value, b'; filename="a.bin"\r\nContent-Type: x/y' if is_file else b"")
        for name, value, is_file in fields
    )
    body += END
    scan = scanned(body, step)
    got = [(each.name.encode(), body[each.start : each.end], each.is_file) for each in scan.parts]
    assert got == fields
    assert [each.value for each in scan.parts] == [
        None if is_file else value for _, value, is_file in fields
    ]


def test_a_long_field_is_not_kept() -> None:
    """Its place is known all the same."""
    body = part(b"prompt", b"x" * 70_000) + END
    (got,) = scanned(body, 1000).parts
    assert (got.value, got.end - got.start) == (None, 70_000)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        END[:-4],
        b"x" + END,
        b"\r\n" + part(b"a", b"") + END,
        part(b"a", b""),
        part(b"a", b"") + END + b"x",
        part(b"a", b"") + END + b"\r\n",
        part(b"a", b"x\n--b0\r\n") + END,
        part(b"a", b"--b0\r\n") + END,
        part(b"a", b"\r\n--b0x") + END,
        part(b"a", b"--b0") + END,
        b"--b0\r\n\r\nvalue\r\n" + END,
        b"--b0\r\nX: y\r\n\r\nvalue\r\n" + END,
        b'--b0\r\nContent-Disposition: form-data; name="a"\n\r\n\r\nvalue\r\n' + END,
        b'--b0\r\n Content-Disposition: form-data; name="a"\r\n\r\nvalue\r\n' + END,
        part(b"a", b"", b'; name="b"') + END,
        part(b"a", b"", b"; name*=utf-8''b") + END,
        part(b"a", b"", b'\r\nContent-Disposition: form-data; name="b"') + END,
        part(b"a", b"", b"\r\nContent-Transfer-Encoding: base64") + END,
        part(b"\xff", b"") + END,
        b"--b0\r\nContent-Disposition: form-data\r\n\r\nvalue\r\n" + END,
        b'--b0\r\nContent-Disposition: attachment; name="a"\r\n\r\nvalue\r\n' + END,
        part(b"a" * 9000, b"") + END,
        part(b"a", b"") * 1025 + END,
    ],
)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_refused(body: bytes, step: int) -> None:
    """What one reader may take for one form, another for another."""
    with pytest.raises(BrokenForm):
        scanned(body, step)


@pytest.mark.parametrize("begin", [b'{"file_id":"f1"', b'\r\n ["f1"', b""])
@pytest.mark.parametrize("step", [1024, 1 << 20])
def test_a_long_field_that_may_be_json(begin: bytes, step: int) -> None:
    """Is refused: what it names would not be seen, padded so."""
    with pytest.raises(BrokenForm, match="JSON"):
        scanned(part(b"a", begin + b" " * 65_537) + END, step)


def test_spellings_that_clients_have() -> None:
    """Quoted pairs, no quotes, other fields, an empty file's name (which makes no file)."""
    body = (
        b'--b0\r\ncontent-disposition: form-data; name="a\\"b"; filename=""\r\n\r\n1\r\n'
        b"--b0\r\nContent-Type: text/plain\r\nContent-Disposition: form-data;name=c\r\n\r\n2\r\n"
        b"--b0\r\nContent-Disposition: form-data; name=f; filename*=utf-8''x\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n3\r\n--b0--"
    )
    assert [(each.name, each.is_file) for each in scanned(body).parts] == [
        ('a"b', False),
        ("c", False),
        ("f", True),
    ]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data;boundary="a b"; charset=utf-8', b"a b"),
        (b"application/json", b""),
        (b"", b""),
    ],
)
def test_boundaries(content_type: bytes, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data",
        b"multipart/form-data;",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=a; boundary=b",
        b'multipart/form-data; boundary="a',
        b'multipart/form-data; boundary="a "',
        b"multipart/form-data; boundary=" + b"a" * 71,
        b"multipart/form-data; boundary=a b",
        b"multipart/form-datax; boundary=a",
    ],
)
def test_boundaries_refused(content_type: bytes) -> None:
    with pytest.raises(BrokenForm):
        boundary_of(content_type)
