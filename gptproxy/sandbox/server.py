"""Puts the stand-ins together and makes them listen, on Twisted's own HTTP server.

Deliberately plain `twisted.web`: what the sandbox makes of a gateway's requests, and what the
gateway makes of its answers, is a second opinion about HTTP.

May import: Twisted, and the modules of this room.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import BinaryIO, cast
from urllib.parse import parse_qs

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from gptproxy.sandbox.control import control_answer, is_control
from gptproxy.sandbox.faults import ROLES, FaultBook, word_fault
from gptproxy.sandbox.ledger import Counts, Ledger
from gptproxy.sandbox.messages import Call, Refusal, read_json
from gptproxy.sandbox.performance import Answerable, Performance
from gptproxy.sandbox.shelf import Shelf
from gptproxy.sandbox.staging import Staging, stage

__all__ = ["Listeners", "Sandbox", "SandboxReactor", "listen"]

_HEAD_BYTES = 65536  # what OpenAI documents for the fields of a request in total
_IDLE_SECONDS = 400  # an idle connection of OpenAI's content network lives about so long


class SandboxReactor(IReactorTCP, IReactorTime):
    """What `listen` needs of a reactor."""


class _Request(Request):
    """A request whose body is never parsed as a form: uploads are bytes like all others."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        cast(BinaryIO, self.content).seek(0)  # it is there from the end of the headers on
        self.args = {}
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.process()  # type: ignore[no-untyped-call]  # Twisted leaves it untyped


class _Channel(http.HTTPChannel):
    """Twisted's channel with room for the header fields that OpenAI accepts."""

    totalHeadersSize = _HEAD_BYTES
    MAX_LENGTH = _HEAD_BYTES


class _Site(Site):
    protocol = _Channel  # type: ignore[assignment]  # HTTP/1.1 alone, without the generic shell
    requestFactory = _Request

    def log(self, request: http.Request) -> None:
        """Requests are kept in the ledger, not in a log: they carry credentials."""


class _Front(Resource):
    """Everything that one stand-in answers."""

    isLeaf = True

    def __init__(self, sandbox: Sandbox, role: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted leaves it untyped
        self._sandbox = sandbox
        self._role = role

    def render(self, request: Request) -> int:
        """Answer any method."""
        self._sandbox.receive(self._role, request)
        return NOT_DONE_YET


class Sandbox:
    """The four stand-ins, their faults and their memory.

    :param clock: for pauses and for the time in answers.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.faults = FaultBook()
        self.ledger = Ledger()
        self.shelf = Shelf()
        self._clock = clock
        self._number = 0

    def resource(self, role: str) -> Resource:
        """
        :param role: one of `ROLES`.
        :return: a leaf that answers as that role does, for any twisted.web site.
        """
        return _Front(self, role)

    def site(self, role: str) -> Site:
        """
        :param role: one of `ROLES`.
        :return: a factory of HTTP connections to that role.
        """
        root = self.resource(role)
        return _Site(  # type: ignore[no-untyped-call]  # Twisted leaves it untyped
            root, timeout=_IDLE_SECONDS, reactor=self._clock
        )

    def receive(self, role: str, request: Request) -> None:
        """
        :param role: whose request it is.
        :param request: complete; is answered now or later.
        """
        call = self._call(role, request)
        answerable = cast(Answerable, request)  # Twisted leaves most of Request untyped
        if is_control(call):
            reply = control_answer(call, self.faults, self.ledger)
            staging = Staging(reply.status, reply.headers, (reply.body,), len(reply.body))
            Performance(answerable, staging, self._clock, Counts()).begin()
            return
        self.ledger.record(call)
        counts = self.ledger.counts(role)
        Performance(answerable, self._staged(call), self._clock, counts).begin()

    def _call(self, role: str, request: Request) -> Call:
        target = request.uri.decode("latin-1")
        control = target.startswith("/sandbox/")
        self._number += not control
        query = parse_qs(target.partition("?")[2], keep_blank_values=True)
        return Call(
            role=role,
            method=request.method.decode("latin-1"),
            target=target,
            query={name: tuple(values) for name, values in query.items()},
            headers=tuple(
                (name.decode("latin-1").lower(), value.decode("latin-1"))
                for name, values in request.requestHeaders.getAllRawHeaders()
                for value in values
            ),
            body=cast(BinaryIO, request.content).read(),
            number=self._number,
            now=self._clock.seconds(),
        )

    def _staged(self, call: Call) -> Staging:
        fault = self.faults.take(call.role, call.path)
        if fault is None and call.path.endswith("/completions"):
            with suppress(Refusal):  # of bad JSON, which the site refuses in its own form
                fault = word_fault(call, read_json(call.body))
        kept = self.shelf.answer(call) if fault is None else None
        if kept is not None:
            return Staging(kept.status, kept.headers, (kept.body,), len(kept.body))
        return stage(call, fault)


@frozen
class Listeners:
    """What listens.

    :param addresses: role to base URL; OpenAI's ends in /v1.
    """

    addresses: Mapping[str, str]
    _ports: tuple[IListeningPort, ...]

    async def close(self) -> None:
        """Accept no more connections."""
        await gatherResults([maybeDeferred(port.stopListening) for port in self._ports])


async def listen(
    sandbox: Sandbox, reactor: SandboxReactor, ports: Mapping[str, int], interface: str
) -> Listeners:
    """
    :param sandbox: whose roles are to be reached.
    :param ports: role to TCP port; a role that is not named takes a free one, as does 0.
    :param interface: the address to listen on.
    :return: the listeners, all of them up.
    :raise twisted.internet.error.CannotListenError: where one cannot; the others are closed.
    """
    up: dict[str, IListeningPort] = {}
    endpoint = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    try:
        for role in ROLES:
            place = endpoint(reactor, ports.get(role, 0), interface=interface)
            up[role] = await place.listen(  # type: ignore[no-untyped-call]  # Twisted's
                sandbox.site(role)
            )
    except BaseException:
        await Listeners({}, tuple(up.values())).close()
        raise
    addresses = {role: _address(port) for role, port in up.items()}
    addresses["openai"] += "/v1"
    return Listeners(addresses, tuple(up.values()))


def _address(port: IListeningPort) -> str:
    host = cast(IPv4Address | IPv6Address, port.getHost())  # we listen on TCP only
    any_of_mine = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - it is what we replace
    name = any_of_mine.get(host.host, host.host)
    return f"http://[{name}]:{host.port}" if ":" in name else f"http://{name}:{host.port}"
