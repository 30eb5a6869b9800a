"""A path is read in one way or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.http.grammar import MalformedMessage
from gptproxy.http.target import parse_target


@pytest.mark.parametrize(
    ("target", "path", "query", "segments"),
    [
        (b"/", b"/", b"", ()),
        (b"/v1/models", b"/v1/models", b"", (b"v1", b"models")),
        (b"/v1/models/", b"/v1/models/", b"", (b"v1", b"models")),
        (b"/a?b=c&include[]=d?/../", b"/a", b"b=c&include[]=d?/../", (b"a",)),
        (b"/a?", b"/a", b"", (b"a",)),
        (b"/models/ft%3Agpt-4o", b"/models/ft%3Agpt-4o", b"", (b"models", b"ft:gpt-4o")),
        (b"/models/meta%2Fllama", b"/models/meta%2Fllama", b"", (b"models", b"meta/llama")),
        (b"/caf%C3%A9%20x", b"/caf%C3%A9%20x", b"", ("café x".encode(),)),
        (b"/a.b/...", b"/a.b/...", b"", (b"a.b", b"...")),
        (b"/a%25b", b"/a%25b", b"", (b"a%b",)),
    ],
)
def test_a_path_is_kept_as_sent_and_its_segments_are_decoded_once(
    target: bytes, path: bytes, query: bytes, segments: tuple[bytes, ...]
) -> None:
    parsed = parse_target(target)
    assert (parsed.path, parsed.query, parsed.segments) == (path, query, segments)


@pytest.mark.parametrize(
    "target",
    [
        b"//",
        b"//evil.example/v1",
        b"/a//b",
        b"/a//",
        b"/.",
        b"/..",
        b"/v1/../admin",
        b"/v1/./models",
        b"/v1/..?x",
        b"/v1/%2e%2e/admin",
        b"/v1/.%2E/admin",
        b"/v1/%2e",
        b"/v1/a%2F..%2Fb",
        b"/v1/a%2f",
        b"/v1/%2fb",
        b"/v1/a%2F%2Fb",
        b"/v1/a%5Cb",
        b"/v1/%00",
        b"/v1/a%0d%0ab",
        b"/v1/%7f",
        b"/v1/%252e%252e/admin",
        b"/v1/%252E",
        b"/v1/a%252fb",
        b"/v1/a%255cb",
        b"/v1/a%2500b",
        b"/v1/a%250ab",
        b"/v1/a%257Fb",
        b"/v1/%25252e%25252e/admin",
        b"/v1/%c0%ae%c0%ae/admin",
        b"/v1/%ff",
        b"/v1/%ed%a0%80",
    ],
)
def test_an_ambiguous_path_is_refused(target: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse_target(target)
    assert caught.value.status == 400


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from((b"a", b".", b"%2e", b"%2F", b"%25", b"2e", b"/", b"%61")), max_size=8)
)
def test_no_accepted_path_has_a_dot_or_an_empty_segment_even_if_it_is_decoded_again(
    parts: list[bytes],
) -> None:
    from urllib.parse import unquote_to_bytes

    try:
        target = parse_target(b"/" + b"".join(parts))
    except MalformedMessage:
        return
    for segment in target.segments:
        again = unquote_to_bytes(segment)
        assert not {b"", b".", b".."} & set(again.split(b"/"))
        assert again == unquote_to_bytes(again)
