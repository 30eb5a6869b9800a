"""
A channel as one of its site's: it is counted, and it comes to its end with the others.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from gptproxy.http.channel import Phase, ServerChannel
from gptproxy.http.connection_limit import Place
from gptproxy.http.immediate import has_unsent

if TYPE_CHECKING:
    from gptproxy.http.site import Site

__all__ = ["DRAIN_IDLE_SECONDS", "SiteChannel"]

DRAIN_IDLE_SECONDS: Final = 1.0
"""How long a connection without a request is kept when the site is drained: who asks often is told by an answer that
the connection ends with it, and meets no closed door (RFC 9112 9.5 leaves a race otherwise)."""


_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d{1,9})(?:\r|\Z)")


class SiteChannel(ServerChannel):
    """
    A channel that takes up a place as long as its connection lasts.

    :param site: whose resources answer.
    :param place: its own.
    """

    def __init__(self, site: Site, place: Place) -> None:
        super().__init__(site)
        self._place = place
        self._held = False

    def connectionMade(self) -> None:
        self._place.take()
        self.site.channels.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._place.leave()
        self.site.channels.discard(self)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """
        :param data: what comes next.
        """
        turnstile = self.site.turnstile
        if turnstile is not None and turnstile.shedding and self._is_plain_post(data):
            site = self.site
            if not site.draining and turnstile.turns_away(site.clock.seconds()):
                # A refusal that took as long as a call would leave no time for calls.
                self._out.write(site.busy_answer(site.held_back.seconds))
                self._hold_back()
                return
        super().dataReceived(data)

    def _is_plain_post(self, data: bytes) -> bool:
        """
        :return: this is one request, whole and with nothing behind it, whose body ends where each of its readers takes
            it to end. Whether all else about it follows the grammar matters to nobody, because nobody gets it.
        """
        if self._phase is not Phase.HEAD or not data.startswith(b"POST /") or self._reader.waiting:
            return False
        end = data.find(b"\r\n\r\n")
        head = data[:end].lower()
        length = _LENGTH.search(head)
        return (
            end > 0
            and length is not None
            and int(length[1]) == len(data) - end - 4
            and head.count(b"content-length") == 1
            and b"transfer-encoding" not in head
            and b"\r\nconnection:" not in head.replace(b"\r\nconnection: keep-alive", b"")
            and head.find(b" http/1.1\r\n") > 0
            and not self._out.write_side.paused
        )

    def _hold_back(self) -> None:
        """Read nothing for a moment: who asks again at once is to wait, and not to take time from others."""
        if self._held:
            return  # TLS: what had been read already
        self._held = True
        self._read_side.read(False)
        # What has been sent meanwhile is not seen: its sender is not to be taken for idle.
        self._timer.cancel()
        self.site.held_back.hold(self)

    def release(self) -> None:
        """The moment is over."""
        self._held = False
        if self._phase is Phase.HEAD:
            self._await_request()
        self._update_reading()

    def _update_reading(self) -> None:
        if not self._held:
            super()._update_reading()

    @property
    def busy(self) -> bool:
        """A request is answered, or may be on its way; or bytes of an answer have not left."""
        return self._phase is not Phase.CLOSING or has_unsent(self.transport)

    def drain(self) -> None:
        """No request is answered any more after the one under way, or that which is on its way."""
        if self._phase is Phase.HEAD:
            self._await_request()

    def close_unasked(self) -> None:
        """Close, unless a request is answered."""
        if self._phase is Phase.HEAD:
            self._close()

    def _await_request(self) -> None:
        super()._await_request()
        if self.site.draining and self._idle:
            self._timer.set(DRAIN_IDLE_SECONDS, self._look_once_more)

    def _look_once_more(self) -> None:
        """What came while the loop was busy is read before the connection is closed."""
        self._timer.set(0.0, self._close)
