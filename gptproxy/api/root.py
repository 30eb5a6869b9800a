"""
The tree of routes.

May import the HTTP room, this room and Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request
from zope.interface import implementer

from gptproxy.api.calls import Calls
from gptproxy.api.endpoint import Endpoint, RefusedRoute
from gptproxy.api.gate import Gate
from gptproxy.http import IRenderedAtHeaders

__all__ = ["Endpoints", "route_tree"]

Endpoints = Mapping[str, Mapping[bytes, Endpoint]]
"""
By OpenAI's path, for example ``/files/{file}``, and method. What ends in ``{rest}`` takes any number of segments.
"""


@implementer(IRenderedAtHeaders)
class _Segment(Resource):
    """
    A path's segment: routes below it, and what ends here. A request is answered or refused before its body is read.

    :param unknown: answers what is not below it.
    """

    def __init__(self, unknown: Endpoint) -> None:
        super().__init__()
        self._unknown = unknown
        self._any: Resource | None = None
        self._other = unknown
        self.by_method: dict[bytes, Endpoint] = {}

    @property
    def gate(self) -> Gate | None:
        """Where calls come in: the same for all routes."""
        return self._unknown.gate

    @property
    def calls(self) -> Calls | None:
        """Who is told of calls: the same for all routes."""
        return self._unknown.calls

    def below(self, segment: str) -> _Segment:
        """
        :param segment: of a route; in braces it stands for any.
        :return: what is there, made where there is nothing yet.
        """
        if segment == "{rest}":
            self._any = self
            return self
        if segment.startswith("{"):
            if not isinstance(self._any, _Segment):
                self._any = _Segment(self._unknown)
            return self._any
        found = self.children.get(segment.encode())
        if not isinstance(found, _Segment):
            found = _Segment(self._unknown)
            self.putChild(segment.encode(), found)
        return found

    def end(self, route: str, endpoints: Mapping[bytes, Endpoint], clock: IReactorTime) -> None:
        """
        :param route: that ends here.
        :param endpoints: by method.
        :param clock: for durations.
        """
        self.by_method.update(endpoints)
        get = self.by_method.get(b"GET")
        if get is not None:
            self.by_method.setdefault(b"HEAD", get)
        methods = tuple(self.by_method)
        # Whoever comes with another method is told those.
        self._other = RefusedRoute(route, clock, 405, "", "", methods)
        self._other.calls, self._other.gate = self.calls, self.gate

    def getChild(self, path: bytes, request: Request) -> IResource:
        """
        :param path: a segment that is not among the children.
        :param request: the request.
        :return: what any segment leads to; itself where only a slash follows; else the unknown route.
        """
        if not path and not request.postpath:
            return self
        return self._any if path and self._any is not None else self._unknown

    def render(self, request: Request) -> int:
        """
        The path ends here.

        :param request: the request.
        :return: NOT_DONE_YET.
        """
        return self.by_method.get(request.method, self._other).render(request)


def route_tree(
    endpoints: Endpoints, unknown: Endpoint, in_deployments: Endpoints | None = None
) -> Resource:
    """
    Build the tree; every route stands below ``/v1`` and without it, because clients are pointed at either, and below
    ``/openai``, which Azure's put before it.

    :param endpoints: what answers.
    :param unknown: answers everything else; who is told of its calls is told of all.
    :param in_deployments: what answers below ``/openai/deployments/{model}``.
    :return: the root.
    """
    root = _planted(_Segment(unknown), endpoints, unknown.clock)
    # Also for "/v1/v1/...", which comes of pasting a base address that has it already.
    root.putChild(b"v1", root)
    azure = _Segment(unknown)
    root.putChild(b"openai", azure)
    azure.children = dict(root.children)
    deployment = azure.below("deployments").below("{model}")
    _planted(deployment, in_deployments or {}, unknown.clock)
    return root


def _planted(root: _Segment, endpoints: Endpoints, clock: IReactorTime) -> _Segment:
    for route, by_method in endpoints.items():
        place = root
        for segment in route.strip("/").split("/"):
            place = place.below(segment)
        for endpoint in by_method.values():
            endpoint.calls, endpoint.gate = root.calls, root.gate
        place.end(route.removesuffix("/{rest}"), by_method, clock)
    return root
