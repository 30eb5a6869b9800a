"""The sandbox's listeners and its own routes, by a client in memory."""

from __future__ import annotations

from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.sandbox import ROLES, Sandbox, listen


class ControlTests(SynchronousTestCase):
    """The sandbox's own routes, by a real client in memory."""

    def test_control_is_not_recorded(self) -> None:
        """Faults are asked for, requests seen, at any role's address."""
        sandbox = Sandbox(Clock())
        azure: Any = StubTreq(sandbox.resource("azure"))
        faults = [{"role": "gitlab", "fault": "status_500"}]
        posted = self.successResultOf(azure.post("http://a/sandbox/faults", json=faults))
        self.assertEqual(posted.code, 200)
        gitlab: Any = StubTreq(sandbox.resource("gitlab"))
        token = {"PRIVATE-TOKEN": "glpat-sandbox-alice"}
        for status in (500, 200):
            reply = self.successResultOf(gitlab.get("http://g/api/v4/user", headers=token))
            self.assertEqual(reply.code, status)
        reply = self.successResultOf(azure.get("http://a/sandbox/requests"))
        entries = self.successResultOf(reply.json())
        self.assertEqual([entry["role"] for entry in entries], ["gitlab"] * 2)
        self.assertIn(["private-token", "glpat-sandbox-alice"], entries[0]["headers"])
        self.assertEqual([entry["number"] for entry in entries], [1, 2])


class ListeningTests(SynchronousTestCase):
    """Listeners, without a socket."""

    def test_every_role_listens(self) -> None:
        """At the interface and the ports that are wanted; OpenAI's address ends in /v1."""
        for interface, host in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - what is tested
            ("::1", "[::1]"),
        ]:
            reactor = MemoryReactorClock()
            started = Deferred.fromCoroutine(
                listen(Sandbox(reactor), cast(Any, reactor), {"azure": 8001}, interface)
            )
            listeners = self.successResultOf(started)
            self.assertEqual(tuple(listeners.addresses), ROLES)
            self.assertEqual(len(reactor.tcpServers), 4)
            self.assertEqual(reactor.tcpServers[1][0], 8001)
            self.assertEqual(listeners.addresses["azure"], f"http://{host}:8001")
            self.assertTrue(listeners.addresses["openai"].endswith("/v1"))
            self.successResultOf(Deferred.fromCoroutine(listeners.close()))

    def test_a_port_in_use_closes_the_others(self) -> None:
        """All or none."""

        class Occupied(MemoryReactorClock):
            closed = 0

            def listenTCP(self, port: int, *more: Any, **named: Any) -> Any:
                if port == 8001:
                    raise CannotListenError("127.0.0.1", port, OSError("in use"))
                listening: Any = super().listenTCP(port, *more, **named)

                def stop() -> None:
                    self.closed += 1

                listening.stopListening = stop
                return listening

        reactor = Occupied()
        ports = {"azure_secondary": 8001}
        started = Deferred.fromCoroutine(
            listen(Sandbox(reactor), cast(Any, reactor), ports, "127.0.0.1")
        )
        self.failureResultOf(started, CannotListenError)
        self.assertEqual(reactor.closed, 2)
