"""
The tree of routes.

May import the HTTP room, this room and Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request
from zope.interface import implementer

from gptproxy.api.endpoint import Endpoint
from gptproxy.http import IRenderedAtHeaders

__all__ = ["route_tree"]


@implementer(IRenderedAtHeaders)
class _Segment(Resource):
    """
    A path's segment with routes below it. A request that ends here is refused before its body is read, as all are.

    :param unknown: answers what is not below it.
    """

    def __init__(self, unknown: Endpoint) -> None:
        super().__init__()
        self._unknown = unknown

    def getChild(self, path: bytes, request: Request) -> IResource:
        """
        :param path: a segment that is not among the children.
        :param request: the request.
        :return: the unknown route.
        """
        return self._unknown

    def render(self, request: Request) -> int:
        """
        The path ends here, above the routes.

        :param request: the request.
        :return: NOT_DONE_YET.
        """
        return self._unknown.render(request)


def route_tree(endpoints: Mapping[str, Endpoint], unknown: Endpoint) -> Resource:
    """
    Build the tree; every route stands below ``/v1`` and without it, because clients are pointed at either.

    :param endpoints: OpenAI's paths, for example ``/chat/completions``, to what answers them.
    :param unknown: answers everything else.
    :return: the root.
    """
    root = _Segment(unknown)
    for route, endpoint in endpoints.items():
        resource: Resource = root
        *above, last = route.strip("/").encode().split(b"/")
        for segment in above:
            below = resource.children.get(segment)
            if below is None:
                below = _Segment(unknown)
                resource.putChild(segment, below)
            resource = below
        resource.putChild(last, endpoint)
    # Also for "/v1/v1/...", which comes of pasting a base address that has it already.
    root.putChild(b"v1", root)
    return root
