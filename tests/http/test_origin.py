"""An upstream's URL is taken apart in one way or not at all."""

from __future__ import annotations

import pytest

from gptproxy.http.origin import InvalidURL, Origin, split_url


@pytest.mark.parametrize(
    ("url", "origin", "target", "authority"),
    [
        (b"http://a", Origin(False, "a", 80), b"/", b"a"),
        (b"https://A.Example/", Origin(True, "a.example", 443), b"/", b"a.example"),
        (b"https://a:8443/v1?x=y", Origin(True, "a", 8443), b"/v1?x=y", b"a:8443"),
        (b"http://a:443?x", Origin(False, "a", 443), b"/?x", b"a:443"),
        (b"http://a:80/", Origin(False, "a", 80), b"/", b"a"),
        (b"http://127.0.0.1:1/%20", Origin(False, "127.0.0.1", 1), b"/%20", b"127.0.0.1:1"),
        (b"https://[::1]/a", Origin(True, "::1", 443), b"/a", b"[::1]"),
        (
            b"http://[2001:DB8::1]:65535/",
            Origin(False, "2001:db8::1", 65535),
            b"/",
            b"[2001:db8::1]:65535",
        ),
    ],
)
def test_a_plain_url_is_a_server_and_a_target(
    url: bytes, origin: Origin, target: bytes, authority: bytes
) -> None:
    assert split_url(url) == (origin, target)
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        b"",
        b"a",
        b"/v1",
        b"//a/",
        b"ftp://a/",
        b"HTTPS://a/",
        b"https:/a",
        b"https:///a",
        b"https://user@a/",
        b"https://user:password@a/",
        b"https://a@evil.example/",
        b"https://a/#fragment",
        b"https://evil.example/#.openai.azure.com/",
        b"https://evil.example\\.openai.azure.com/",
        b"https://a:/",
        b"https://a:0/",
        b"https://a:65536/",
        b"https://a:123456/",
        b"https://a:x/",
        b"https://-a/",
        b"https://.a/",
        b"https://a b/",
        b"https://a/ b",
        b"https://a/\r\nX: y",
        b"https://a\r\n/",
        b"https://a\t/",
        b"https://\xe9/",
        b"https://a/\xe9",
        b"https://a/%2",
        b"https://[::1/",
        b"https://::1/",
        b"https://[a.b]x/",
        b"https://[2001:1]/",
        b"https://[1:::2]/",
        b"https://[..]/",
        b"https://[1.2.3.4]/",
        b"https://a%2eb/",
        b"https://" + b"a" * 254 + b"/",
        b"https://a/\n",
    ],
)
def test_every_other_url_is_refused(url: bytes) -> None:
    """Security: parsers that disagree about a URL's host send keys to strangers."""
    with pytest.raises(InvalidURL):
        split_url(url)
