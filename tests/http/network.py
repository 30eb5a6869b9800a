"""
A network in memory for the agent, whose names all have one address.

May import this room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import (
    IHostnameResolver,
    IOpenSSLClientConnectionCreator,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from gptproxy.http import (
    Agent,
    ClientTimeouts,
    Origin,
    Response,
)
from tests.http.asking import OK
from tests.http.memory import MemoryTransport

ORIGIN = Origin(False, "h.example", 8080)
SECURE = Origin(True, "h.example", 443)


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class Network(MemoryReactorClock):  # type: ignore[misc]  # Twisted's is not typed
    """
    A network in memory whose names all have one address.

    :ivar transports: one for each connection made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self
        self.known = True
        self.transports: list[MemoryTransport] = []

    def resolveHostName(
        self, receiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *_: object
    ) -> object:
        receiver.resolutionBegan(self)
        if self.known:
            receiver.addressResolved(IPv4Address("TCP", "192.0.2.9", portNumber))
        receiver.resolutionComplete()
        return self

    def accept(self) -> MemoryTransport:
        """:return: the far end of the connection that is being made."""
        factory = self.tcpClients[-1][2]
        transport = MemoryTransport()
        self.transports.append(transport)
        transport.connect(factory.buildProtocol(transport.getPeer()))
        return transport

    def refuse(self) -> None:
        """Nobody listens there."""
        factory, connector = self.tcpClients[-1][2], self.connectors[-1]
        factory.clientConnectionFailed(connector, Failure(Refused()))

    def check_nothing_is_left(self) -> None:
        """All leave, and nothing waits any more."""
        for transport in self.transports:
            transport.leave()
            assert transport.producer is None
        assert self.getDelayedCalls() == []


def no_trust(host: str) -> IOpenSSLClientConnectionCreator:
    raise AssertionError(f"nobody asked for TLS to {host}")


class AgentCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network()
        self.agent = self.made_with(no_trust)

    def tearDown(self) -> None:
        self.agent.close()
        for transport in self.network.transports:
            transport.settle()
        self.network.check_nothing_is_left()

    def made_with(self, trust: Callable[[str], IOpenSSLClientConnectionCreator]) -> Agent:
        timeouts = ClientTimeouts(connect=5.0, first_byte=600.0, idle=60.0)
        return Agent(self.network, trust, timeouts)

    def ask(
        self,
        body: IBodyProducer | None = None,
        *,
        method: bytes = b"POST",
        origin: Origin = ORIGIN,
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Deferred[Response]:
        return Deferred.fromCoroutine(self.agent.ask(method, origin, b"/v1?a=b", fields, body))

    def served(self, transport: MemoryTransport | None = None) -> MemoryTransport:
        """One request is asked and answered; its connection is kept."""
        asked = self.ask()
        transport = transport or self.network.accept()
        transport.settle()
        transport.take()
        transport.deliver(OK)
        self.assertEqual(self.successResultOf(asked).code, 200)
        return transport
