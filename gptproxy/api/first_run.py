"""
What a gateway that nobody has configured yet tells whoever looks at it: which line of which file to fill.

May import the config and HTTP rooms and Twisted. Only such a gateway has this page; a configured one has nothing on
``/``, and tells nobody where its files are.
"""

from __future__ import annotations

from html import escape

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from gptproxy.config import Settings
from gptproxy.http import IRenderedAtHeaders, answer_whole

__all__ = ["FirstRun", "still_to_fill"]

_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>gptproxy</title></head>
<body><h1>gptproxy runs, and is not configured yet</h1>
<ul>
{items}
</ul>
<p>Or run <code>gptproxy setup</code> on this machine: it asks, checks the answers, and writes the file.
Then: <code>systemctl restart gptproxy</code>.</p></body></html>
"""


def still_to_fill(settings: Settings, text: str) -> tuple[str, ...]:
    """
    :param settings: what was read.
    :param text: the file it was read from; "" where there is none.
    :return: a sentence for each thing that is missing; none where callers can be served.
    """
    if settings.upstreams or settings.access.pure_proxy:
        return ()
    found = [
        f"{_place(settings.source, text, '[[upstream]]')}: an [[upstream]], which answers: its name, kind and api_key"
    ]
    if settings.gitlab is None and not settings.user_tokens:
        found.append(
            f"{_place(settings.source, text, '[gitlab]')}: [gitlab] with its url, which says who may ask"
        )
    return tuple(found)


def _place(source: str, text: str, header: str) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip("# ").startswith(header):
            return f"{source}, line {number}"
    return f"{source}, at its end"


@implementer(IRenderedAtHeaders)
class FirstRun(Resource):
    """
    The page on ``/``.

    :param missing: what :func:`still_to_fill` found.
    """

    isLeaf = True

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__()
        items = "\n".join(f"<li>{escape(each)}</li>" for each in missing)
        self._page = _PAGE.format(items=items).encode()

    def render(self, request: Request) -> int:
        """
        Show it, with 503: nothing can be asked yet.

        :param request: whatever its method.
        :return: NOT_DONE_YET.
        """
        fields = (
            (b"content-type", b"text/html; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", b"default-src 'none'"),
        )
        answer_whole(request, 503, b"Service Unavailable", fields, self._page)
        return NOT_DONE_YET
