"""
The pages of the admin listener, and the two that the public one has too.

May import the HTTP room, this room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from gptproxy.admin.health import Health
from gptproxy.http import IRenderedAtHeaders, answer_whole

__all__ = ["HealthPage", "ReadinessPage", "admin_tree"]

_JSON = b"application/json"
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"


@implementer(IRenderedAtHeaders)
class _Page(Resource):
    """One page, read only."""

    isLeaf = True

    def render(self, request: Request) -> int:
        """
        :param request: its headers are complete.
        :return: NOT_DONE_YET; it is answered already.
        """
        if request.method not in (b"GET", b"HEAD"):
            fields = ((b"allow", b"GET, HEAD"), (b"content-type", b"text/plain"))
            answer_whole(request, 405, b"Method Not Allowed", fields, b"GET or HEAD only\n")
            return NOT_DONE_YET
        status, kind, body = self.content()
        fields = ((b"content-type", kind), (b"cache-control", b"no-store"))
        reason = b"OK" if status == 200 else b"Service Unavailable"
        answer_whole(request, status, reason, fields, body)
        return NOT_DONE_YET

    def content(self) -> tuple[int, bytes, bytes]:
        """:return: status, media type and body."""
        raise NotImplementedError


class HealthPage(_Page):
    """``/healthz``: whoever reads this answer knows that the event loop turns."""

    def content(self) -> tuple[int, bytes, bytes]:
        """:return: always the same."""
        return 200, _JSON, b'{"status":"ok"}'


class ReadinessPage(_Page):
    """
    ``/readyz``: 200 where callers can be served, else 503.

    :param health: asked.
    :param details: what each probe says goes with it: for the admin listener alone.
    """

    def __init__(self, health: Health, *, details: bool) -> None:
        super().__init__()
        self._health = health
        self._details = details

    def content(self) -> tuple[int, bytes, bytes]:
        """:return: what the probes say now."""
        conditions = self._health.conditions()
        ready = self._health.ready(conditions)
        said: dict[str, object] = {"status": "ready" if ready else "not ready"}
        if self._details:
            said["conditions"] = [
                {"name": each.name, "state": each.state.name.lower(), "detail": each.detail}
                for each in conditions
            ]
        return 200 if ready else 503, _JSON, orjson.dumps(said)


class _Made(_Page):
    """
    A page that is made when it is asked for.

    :param kind: media type.
    :param make: makes the body.
    """

    def __init__(self, kind: bytes, make: Callable[[], bytes]) -> None:
        super().__init__()
        self._kind = kind
        self._make = make

    def content(self) -> tuple[int, bytes, bytes]:
        """:return: what was made."""
        return 200, self._kind, self._make()


@implementer(IRenderedAtHeaders)
class _Index(Resource):
    """
    What there is, and 404 for the rest.

    :param pages: by path segment.
    """

    def __init__(self, pages: Mapping[bytes, Resource]) -> None:
        super().__init__()
        for name, page in pages.items():
            self.putChild(name, page)
        self._text = b"".join(b"/%b\n" % name for name in pages)

    def getChild(self, path: bytes, request: Request) -> Resource:
        """
        :param path: a segment that no page has.
        :param request: the request.
        :return: this.
        """
        return self

    def render(self, request: Request) -> int:
        """
        :param request: its headers are complete.
        :return: NOT_DONE_YET; it is answered already.
        """
        status, reason = (200, b"OK") if request.path == b"/" else (404, b"Not Found")
        answer_whole(request, status, reason, ((b"content-type", b"text/plain"),), self._text)
        return NOT_DONE_YET


def admin_tree(
    health: Health, metrics: Callable[[], bytes], status: Callable[[], object]
) -> Resource:
    """
    :param health: for ``/readyz``.
    :param metrics: makes the page for Prometheus.
    :param status: makes what ``gptproxy status`` shows: what orjson can write.
    :return: the admin listener's root.
    """
    return _Index(
        {
            b"healthz": HealthPage(),
            b"readyz": ReadinessPage(health, details=True),
            b"metrics": _Made(_METRICS, metrics),
            b"status": _Made(_JSON, lambda: orjson.dumps(status())),
        }
    )
