"""The Site: Twisted's own but for its connections, its log and its protocols."""

from __future__ import annotations

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site as TwistedSite
from zope.interface.verify import verifyObject

from gptproxy.http import ServerTimeouts, Site
from gptproxy.http.channel import ServerChannel
from gptproxy.http.site import plain_refusal


def site() -> Site:
    return Site(Resource(), Clock())


def test_it_is_twisteds() -> None:
    assert isinstance(site(), TwistedSite)
    verifyObject(IProtocolFactory, site())


def test_its_connections_are_ours() -> None:
    assert isinstance(site().buildProtocol(None), ServerChannel)


def test_it_offers_http_1_1_alone_even_if_an_http_2_library_is_installed() -> None:
    """R5."""
    assert site().acceptableProtocols() == [b"http/1.1"]


def test_it_writes_no_log_of_its_own_and_leaves_no_timer() -> None:
    clock = Clock()
    quiet = Site(Resource(), clock)
    quiet.doStart()
    assert clock.getDelayedCalls() == []
    quiet.log(object())  # type: ignore[arg-type]  # it looks at nothing
    quiet.doStop()
    assert clock.getDelayedCalls() == []


def test_its_limits_have_defaults() -> None:
    assert site().timeouts == ServerTimeouts(header=30.0, body_idle=60.0, keep_alive_idle=90.0)
    assert site().header_limit_bytes == 65_536


def test_a_plain_refusal_is_text() -> None:
    fields, body = plain_refusal(400, "No.")
    assert dict(fields)[b"content-type"].startswith(b"text/plain")
    assert body == b"No.\n"
