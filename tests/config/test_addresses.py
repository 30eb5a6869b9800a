"""Tests of :mod:`gptproxy.config.addresses`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config.addresses import parse_address


@pytest.mark.parametrize(
    ("text", "form", "loopback"),
    [
        ("https://git.corp.com", "https://git.corp.com", False),
        ("HTTPS://Git.Corp.COM/", "https://git.corp.com", False),
        ("https://git.corp.com:8443/GitLab//", "https://git.corp.com:8443/GitLab", False),
        ("http://localhost:8080", "http://localhost:8080", True),
        ("http://127.0.0.1", "http://127.0.0.1", True),
        ("http://127.255.0.9:1/v1/", "http://127.255.0.9:1/v1", True),
        ("http://[::1]:65535", "http://[::1]:65535", True),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]", False),
        ("http://10.0.0.1", "http://10.0.0.1", False),
        ("http://localhost.corp.com", "http://localhost.corp.com", False),
        ("http://127.0.0.1.nip.io", "http://127.0.0.1.nip.io", False),
        ("http://node1", "http://node1", False),
        ("http://my_vllm:8000/v1", "http://my_vllm:8000/v1", False),
        ("https://x/a%20b", "https://x/a%20b", False),
    ],
)
def test_what_is_read(text: str, form: str, loopback: bool) -> None:
    """Scheme and host are put in lower case, slashes at the end are dropped."""
    address = parse_address(text)
    assert address is not None
    assert (str(address), address.loopback) == (form, loopback)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "git.corp.com",
        "ftp://git.corp.com",
        "https://",
        "https:///path",
        "https://user@git.corp.com",
        "https://user:secret@git.corp.com",
        "https://git.corp.com?x",
        "https://git.corp.com/?x=y",
        "https://git.corp.com#x",
        "https://git.corp.com:0",
        "https://git.corp.com:65536",
        "https://git.corp.com:",
        "https://git.corp.com:80a",
        "https://git corp.com",
        "https://git.corp.com\n",
        "https://g\u00eft.corp.com",
        "https://-git.corp.com",
        "https://git..com",
        "https://git.corp.com.",
        f"https://{'a' * 64}.com",
        "https://1.2.3",
        "https://127.1",
        "https://0x7f.0x1",
        "https://2130706433",
        "https://1.2.3.4.5",
        "https://256.1.1.1",
        "https://[::1",
        "https://[1.2.3.4]",
        "https://[::g]",
        "https://[fe80::1%eth0]",
        "https://x/../y",
        "https://x/./y",
        "https://x/a//b",
        "https://x/%zz",
        "https://x/a b",
        "https://x/\\y",
    ],
)
def test_what_is_refused(text: str) -> None:
    """What is no plain base address, or can be read in more than one way, is refused."""
    assert parse_address(text) is None


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"https?://[a-z0-9.:@/\[\]%-]*", fullmatch=True)))
def test_any_text(text: str) -> None:
    """Any text is refused, or its form reads as itself again."""
    address = parse_address(text)
    if address is not None:
        assert parse_address(str(address)) == address
